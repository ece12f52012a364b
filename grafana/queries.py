"""PromQL: selectors of the families, and the guard that hides old data.

The Pushgateway keeps a group for ever, and Prometheus scrapes it as if it were new. So every query has a guard:

    SERIES and ignoring (OWN LABELS) (time() - push_time_seconds < $max_age and flower_up)

`push_time_seconds` has only the grouping labels. So does a series if the labels of its family are ignored. Each group
is therefore matched with its own push, whatever grouping labels the user added. `and on (job, instance)` would not do
that: if two groups differ only in an added label, a stale one would pass because the other one is fresh.

`flower_up` is the last family of each push, whatever its value. A group without it is incomplete.
"""

from functools import cache

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


FRESH = "(time() - push_time_seconds < $max_age and flower_up)"

IN_RANGE = "[$__range] @ end()"
"""Suffix of a selector: its values in the selected range, the same at every step of a graph."""

CHOSEN = 'job=~"$job", instance=~"$instance"'


def selector(family: str, *matchers: str) -> str:
    """Return a selector of a family for the selected jobs and Flowers."""
    return f"{family}{{{', '.join([CHOSEN, *matchers])}}}"


def in_state(*states: str) -> str:
    """Return a matcher for one or more states."""
    return f'state="{states[0]}"' if len(states) == 1 else f'state=~"{"|".join(states)}"'


def fresh(family: str, *matchers: str, call: str = "{}") -> str:
    """Return the series of a family in groups that are not older than `$max_age`.

    `call` wraps the selector, e.g. `"{} == bool 0"`. For functions of a range, use `fresh_window`.

    Raises:
        ValueError: The family is unknown.
    """
    labels = own_labels(family)
    matching = f" ignoring ({', '.join(labels)})" if labels else ""
    return f"{call.format(selector(family, *matchers))} and{matching} {FRESH}"


def fresh_window(call: str, family: str, *matchers: str, window: str = "$TIME_FRAME") -> str:
    """Return a function of a range, e.g. `rate`, for groups with a fresh sample.

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


def age(comparison: str = "") -> str:
    """Return the seconds since each group was pushed, filtered by `comparison`.

    `push_job_build_info` selects this job's groups, because other programs push to the same Pushgateway.
    """
    compared = f" {comparison}" if comparison else ""
    return f"time() - {selector('push_time_seconds')}{compared} and ignoring (version) push_job_build_info"


def flower_state() -> str:
    """Return for each group 1 (up), 0 (down), -1 (too old) or -2 (incomplete push)."""
    return f"{fresh('flower_up')} or 0 * ({age('>= $max_age')}) - 1 or 0 * ({age()}) - 2"


def missing() -> str:
    """Return the groups without fresh data: Flower is down, or the data is too old."""
    return f"({age()} unless ({fresh('flower_up')}) == 1)"


def count_as_label(count: str, label: str) -> str:
    """Return a series with a count as a label, for a legend."""
    return f'0 * count_values("{label}", count({count}))'


def or_unknown(known: str) -> str:
    """Return `known` or NaN, so that the last value of a range is never old."""
    return f"{known} or vector(NaN)"


def or_not_pushed(known: str) -> str:
    """Return `known`, or -1 if a Flower was scraped without this extra."""
    return f"{known} or sum({fresh('flower_up', call='{} == 1')}) * 0 - 1"
