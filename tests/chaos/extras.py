"""The expected samples of extras, computed without push-job's code.

Each extra is complete, with ``flower_scrape_extra_success`` 1, or absent, with 0.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tests.chaos.values import OWN_FAMILIES, Values, labelled

SUCCESS = "flower_scrape_extra_success"

#: Prefixes of the names of each extra's samples.
PREFIXES = {
    "queues": "celery_queue_length",
    "runtimes": "celery_task_runtime_seconds_",
    "waits": "celery_task_wait_seconds_",
    "activity": "celery_worker_",
    "flower-metrics": "flower_",
}

IN_FLIGHT = {"PENDING", "RECEIVED", "RETRY", "STARTED"}


@dataclass(frozen=True)
class ExtrasTruth:
    """Expected histograms of the tasks that do not change: seconds by task type."""

    runtimes: Mapping[str, list[float]]
    waits: Mapping[str, list[float]]

    @classmethod
    def of(cls, tasks: Iterable[dict[str, Any]]) -> "ExtrasTruth":
        """Compute it from tasks as Flower answers them."""
        runtimes: dict[str, list[float]] = defaultdict(list)
        waits: dict[str, list[float]] = defaultdict(list)
        for task in tasks:
            if task["state"] not in IN_FLIGHT and task["runtime"] is not None:
                runtimes[task["name"]].append(task["runtime"])
            if task["started"]:
                waits[task["name"]].append(max(0.0, task["started"] - max(task["received"] or 0, task["sent"] or 0)))
        return cls(runtimes, waits)

    def lies(self, values: Values, asked: Iterable[str], except_type: str) -> list[str]:
        """Return the errors in the extras' samples of a group.

        The task type `except_type` is left out.
        """
        success = {labels["extra"]: value for labels, value in labelled(values, SUCCESS)}
        if success.keys() != set(asked):
            return [f"{SUCCESS} of {sorted(success)} and not of {sorted(asked)}"]
        found = []
        for extra, value in success.items():
            found_samples = of_extra(values, extra)
            if value not in (0.0, 1.0) or bool(found_samples) != bool(value):
                found.append(f"{SUCCESS} of {extra} is {value}, with {len(found_samples)} samples of it")
        for extra, wanted in (("runtimes", self.runtimes), ("waits", self.waits)):
            if success.get(extra) == 1.0:
                found += _false_histogram(of_extra(values, extra), PREFIXES[extra], wanted, except_type)
        return found


def of_extra(values: Values, extra: str) -> Values:
    """Return the samples of one extra."""
    prefix = PREFIXES[extra]
    others = {*OWN_FAMILIES, "flower_scrape_tasks", "flower_scrape_window_seconds", SUCCESS}
    return {key: value for key, value in values.items() if key[0].startswith(prefix) and key[0] not in others}


def without_extras(values: Values) -> Values:
    """Return the samples that every push has."""
    extra = {key for name in PREFIXES for key in of_extra(values, name)}
    return {key: value for key, value in values.items() if key not in extra and key[0] != SUCCESS}


def _false_histogram(values: Values, prefix: str, wanted: Mapping[str, list[float]], except_type: str) -> Iterator[str]:
    counts, sums = (
        {labels["name"]: value for labels, value in labelled(values, prefix + what) if labels["name"] != except_type}
        for what in ("count", "sum")
    )
    if counts != {name: len(seconds) for name, seconds in wanted.items()}:
        yield f"{prefix}count: {counts}"
    for name, seconds in wanted.items():
        if not math.isclose(sums.get(name, math.nan), math.fsum(seconds), rel_tol=1e-9, abs_tol=1e-9):
            yield f"{prefix}sum of {name}: {sums.get(name)} and not {math.fsum(seconds)}"
