"""Estimate how long a full scrape of a Flower takes."""

from __future__ import annotations

from push_job.checks.step import Step
from push_job.flower.api import TASK_LIMIT, Flower
from push_job.flower.page import SharedIndex
from push_job.settings import Settings
from push_job.terminal.formatting import format_duration

#: How exactly the number of tasks is determined, as a fraction of it.
_PRECISION = 0.05


def check_scrape_time(api: Flower, size: int, seconds: float, settings: Settings, until: float) -> Step:
    """Compare the time of a full scrape with the deadline.

    Args:
        api: the Flower. It lists more than `size` tasks.
        size: number of tasks of a page.
        seconds: seconds that a page of this size took.
        settings: the settings of the run.
        until: deadline on the clock of ``time.monotonic()``.

    Raises:
        TransportError: if Flower does not answer.
    """
    count = _number_of_tasks(api, size, until)
    needed, limit = seconds * count / size, settings.deadline - settings.push_reserve
    text = f"reading all of its about {count:,} tasks takes about {format_duration(needed)}"
    if needed < limit:
        return Step(True, text)
    return Step(
        False,
        f"{text}, and --deadline leaves {format_duration(limit)}; set --deadline to at least {2 * needed:.0f}, give"
        " Flower more CPU, or use run or --state-file, which read it in several cycles",
    )


def _number_of_tasks(api: Flower, known: int, until: float) -> int:
    """Return the number of tasks in Flower's list, within _PRECISION.

    The list has at least `known` tasks.
    """

    def has_task_at(offset: int) -> bool:
        return len(api.client.retrying(lambda: api.page(SharedIndex(), offset, 1, until), until)) > 0

    low, high = known, 2 * known
    while high < TASK_LIMIT and has_task_at(high):
        low, high = high, 2 * high
    while high - low > _PRECISION * low:
        middle = (low + high) // 2
        low, high = (middle, high) if has_task_at(middle) else (low, middle)
    return low
