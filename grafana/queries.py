"""PromQL: selectors of the families, and the guard that hides old data.

The Pushgateway keeps a group for ever, and Prometheus scrapes it as if it were new. So every query has a guard:

    SERIES and ignoring (OWN LABELS) (
        time() - push_time_seconds < $max_age and flower_up == 1
        unless timestamp(push_time_seconds) - push_time_seconds > push_job_max_age_seconds
    )

`push_time_seconds` has only the grouping labels. So does a series if the labels of its family are ignored. Each group
is therefore matched with its own push, whatever grouping labels the user added. `and on (job, instance)` would not do
that: if two groups differ only in an added label, a stale one would pass because the other one is fresh.

`push-job run` pushes `push_job_max_age_seconds`, so that the numbers of a loop that has ended are hidden sooner. It is
compared with the age at the time of the scrape, so that a long scrape interval does not matter.

`flower_up` is the last family of each push, whatever its value. A group without it is incomplete.

A tile shows one series: its value is a level from UNKNOWN to BAD, its label `text` the text.
"""

import re
from functools import cache

from grafana.alert_limits import recorded_names
from push_job.metrics.extras import EXTRAS, families_with

#: Labels of Flower's own families, which the extra `flower-metrics` passes on.
FLOWER_LABELS = {
    "flower_events_total": ("worker", "type", "task"),
    "flower_task_runtime_seconds_bucket": ("worker", "task", "le"),
    "flower_task_prefetch_time_seconds": ("worker", "task"),
}


def own_labels(series: str) -> tuple[str, ...]:
    """Return the labels of a series that the guard has to ignore.

    Raises:
        ValueError: push-job pushes no family with such a series.
    """
    labels = _labels_by_series().get(series)
    if labels is None:
        raise ValueError(f"no family has the series {series}: see push_job/metrics and FLOWER_LABELS")
    return labels


@cache
def _labels_by_series() -> dict[str, tuple[str, ...]]:
    labels = dict(FLOWER_LABELS)
    for family in families_with(EXTRAS):
        for series in family.sample_names:
            labels[series] = (*family.labels, "le") if series.endswith("_bucket") else family.labels
    return labels


NOT_LATE = "unless timestamp(push_time_seconds) - push_time_seconds > push_job_max_age_seconds"

IN_TIME = f"(time() - push_time_seconds < $max_age {NOT_LATE})"
"""Groups that are not too old, including incomplete ones."""

PUSHED = f"(time() - push_time_seconds < $max_age and flower_up {NOT_LATE})"
"""Groups that are not too old, including those whose Flower is down."""

FRESH = f"(time() - push_time_seconds < $max_age and flower_up == 1 {NOT_LATE})"
"""Groups that are not too old and whose Flower is up."""

UNKNOWN, GOOD, ODD, BAD = -1, 0, 1, 2
"""Levels of a tile and of a row in a list: grey, green, orange and red."""

NO_DATA = "no fresh data"

IN_RANGE = "[$__range] @ end()"
"""Suffix of a selector: its values in the selected range, the same at every step of a graph."""

NAMED = 'app!=""'
"""Excludes the sample that stands for "no worker"."""

CHOSEN = 'job=~"$job", instance=~"$instance"'


def selector(family: str, *matchers: str) -> str:
    """Return a selector of a family for the selected jobs and Flowers."""
    return f"{family}{{{', '.join([CHOSEN, *matchers])}}}"


def in_state(*states: str) -> str:
    """Return a matcher for one or more states."""
    return f'state="{states[0]}"' if len(states) == 1 else f'state=~"{"|".join(states)}"'


def fresh(family: str, *matchers: str, call: str = "{}", guard: str = FRESH) -> str:
    """Return the series of a family in groups that pass the guard.

    `call` wraps the selector, e.g. `"{} == bool 0"`. For functions of a range, use `fresh_window`.

    Raises:
        ValueError: The family is unknown.
    """
    labels = own_labels(family)
    matching = f" ignoring ({', '.join(labels)})" if labels else ""
    return f"{call.format(selector(family, *matchers))} and{matching} {guard}"


def pushed(family: str) -> str:
    """Return the job's own families, which are pushed even if Flower is down."""
    return fresh(family, guard=PUSHED)


def fresh_window(call: str, family: str, *matchers: str, window: str = "$TIME_FRAME") -> str:
    """Return a function of a range, e.g. `deriv`, for groups with a fresh sample.

    Without that condition, a graph would continue for the length of the window after Flower went down.
    """
    series = selector(family, *matchers)
    return f"{call}({series}[{window}]) and {fresh(family, *matchers)}"


def workers(*matchers: str) -> str:
    """Return fresh `celery_workers`."""
    return fresh("celery_workers", *matchers)


def of_live_workers(family: str, *matchers: str, call: str = "{}") -> str:
    """Return a fresh family with a label `worker`, only for live workers."""
    live = 'label_replace(celery_workers == 1, "worker", "$1", "app", "(.*)")'
    others = ["app" if label == "worker" else label for label in own_labels(family)]
    return f"{fresh(family, *matchers, call=call)} and ignoring ({', '.join(others)}) {live}"


def tasks(*matchers: str) -> str:
    """Return fresh `celery_task_types_by_state` of the selected task types."""
    return fresh("celery_task_types_by_state", 'task_type=~"$task_type"', *matchers)


def durations(*matchers: str) -> str:
    """Return fresh `celery_task_duration_seconds_by_state` of the selected task types."""
    return fresh("celery_task_duration_seconds_by_state", 'name=~"$task_type"', *matchers)


def tasks_by_name(state: str, by: str = "name") -> str:
    """Return the number of tasks that match `state`, with the label `name`."""
    renamed = f'label_replace({tasks(state)}, "name", "$1", "task_type", "(.*)")'
    return f"sum({renamed}) by ({by})"


def mean_duration(state: str, by: str = "name") -> str:
    """Return the mean seconds of the tasks that match `state`."""
    return f"sum({durations(state)}) by ({by}) / {tasks_by_name(state, by)}"


def most(count: int, series: str, by: str) -> str:
    """Return the labels `by` of the highest series in the selected range.

    They are the same at every step of a graph. A `topk` per step would make lines appear and disappear.
    """
    return f"topk({count}, sum(max_over_time({series}{IN_RANGE})) by ({by}))"


def age() -> str:
    """Return the seconds since each group was pushed.

    `push_job_build_info` selects this job's groups, because other programs push to the same Pushgateway.
    """
    return f"time() - {selector('push_time_seconds')} and ignoring (version) push_job_build_info"


def flower_state() -> str:
    """Return for each group 1 (up), 0 (down), -1 (too old) or -2 (incomplete push)."""
    return f"{pushed('flower_up')} or 0 * ({too_old()}) - 1 or 0 * ({age()}) - 2"


def too_old() -> str:
    """Return the age of the groups that are too old."""
    return f"{age()} unless {IN_TIME}"


def missing() -> str:
    """Return the groups without fresh data: Flower is down, or the data is too old."""
    return f"({age()} unless ({fresh('flower_up')}))"


def flowers_up() -> str:
    """Return the number of Flowers with fresh data; empty if there is none."""
    return f"count({fresh('flower_up')})"


def recorded(name: str, *matchers: str) -> str:
    """Return a selector of a recorded series of the selected jobs and Flowers.

    Its rule has the guard.

    Raises:
        ValueError: prometheus/rules does not record it.
    """
    if name not in recorded_names():
        raise ValueError(f"prometheus/rules has no record {name}")
    by_type = ['task_type=~"$task_type"'] if name.startswith("instance_type") else []
    return selector(name, *by_type, *matchers)


ADDED = "instance_type_state:celery_tasks:added15m"
FAILED, FINISHED = "instance_type:celery_tasks_failed:recent", "instance_type:celery_tasks_finished:recent"
RULES_ARE_LOADED = "instance:celery_workers:sum"
"""Recorded by the rules while a group is fresh. If it and all alerts are missing, the rules are not loaded."""

WINDOW = int("".join(re.findall(r"added(\d+)m", ADDED)))
"""Minutes that the numbers about failures and finished tasks cover."""


def added_since(family: str, *matchers: str, offset: str = "") -> str:
    """Return the rise of a gauge within the window.

    After a reset, it is the rise since then.
    """
    series, moved = selector(family, *matchers), f" {offset}" if offset else ""
    return f"({series}{moved} - min_over_time({series}[{WINDOW}m]{moved}))"


def labelled(series: str, **labels: str) -> str:
    """Return series with constant labels."""
    for label, text in labels.items():
        series = f'label_replace({series}, "{label}", "{text}", "", "")'
    return series


def reworded(series: str, pattern: str, text: str, source: str = "text") -> str:
    """Return series with their label `text` replaced.

    It is replaced if the label `source` matches the pattern.
    """
    return f'label_replace({series}, "text", "{text}", "{source}", "{pattern}")'


def with_numbers(series: str, **numbers: str) -> str:
    """Return one series without labels, with a label for each number."""
    for label, number in numbers.items():
        series = f'{series} + on () group_left ({label}) 0 * count_values("{label}", {number})'
    return series


def joined(series: str, separator: str, *labels: str) -> str:
    """Return series whose label `text` consists of other labels."""
    sources = ", ".join(f'"{label}"' for label in labels)
    return f'label_join({series}, "text", "{separator}", {sources})'


def first_of(*series: str) -> str:
    """Return the first of some expressions that has a result."""
    return " or on () ".join(series)


def or_unknown(known: str, text: str = NO_DATA) -> str:
    """Return a tile's series, or the level UNKNOWN with a text."""
    return first_of(known, labelled(f"vector({UNKNOWN})", text=text))


def or_odd_if_missing(level: str) -> str:
    """Return a level that is at least ODD while a Flower has no fresh data.

    The numbers are incomplete then.
    """
    return f"clamp_min({level}, scalar(count({missing()}) > bool 0 or vector(0)))"


def or_row(series: str, label: str, text: str, value: float = 0) -> str:
    """Return series, or a row with a text.

    Grafana shows no text in a table whose several queries are all empty.
    """
    return first_of(series, labelled(f"vector({value})", **{label: text}))
