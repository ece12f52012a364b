"""PromQL in one place: what the series are called, and the guard that keeps old numbers off the panels.

The Pushgateway keeps a group for ever and Prometheus scrapes it as if new. So every query has a guard:

    SERIES and ignoring (THE FAMILY'S OWN LABELS) (time() - push_time_seconds < $max_age and flower_up)

`push_time_seconds` carries the grouping labels and nothing else, and so does a series once its family's own labels are
ignored: each group is matched with its own push and no other, whatever grouping labels the user added. The shorter
`and on (job, instance)` would not do that: where two groups differ only in an added label, one that nobody pushes any
more would pass because the other is fresh.

`flower_up` is the last family of each push, whatever its value: a group without it is only a part of one.
"""

OWN_LABELS = {
    "celery_workers": "app",
    "celery_task_types_by_state": "task_type, state",
    "celery_task_duration_seconds_by_state": "name, state",
    "flower_up": "",
    "flower_scrape_duration_seconds": "",
    "flower_scrape_tasks": "",
    "flower_scrape_extra_success": "extra",
    "celery_queue_length": "queue",
    "celery_queue_consumers": "queue",
    "celery_task_oldest_seconds": "name, state",
    "celery_task_failures": "name, exception",
    "celery_task_last_success_timestamp_seconds": "name",
    "celery_task_interval_seconds": "name",
    "celery_task_queue_wait_seconds_bucket": "name, le",
    "celery_task_runtime_seconds_bucket": "name, le",
    "celery_task_runtime_seconds_count": "name",
    "celery_task_wait_seconds_bucket": "name, le",
    "celery_worker_active_tasks": "worker",
    "celery_worker_pool_processes": "worker",
    "celery_worker_processed_tasks": "worker",
    "celery_worker_load_average": "worker, period",
    "celery_worker_prefetched_tasks": "worker",
    "celery_worker_last_heartbeat_age_seconds": "worker",
    "flower_events_total": "worker, type, task",
    "flower_task_runtime_seconds_bucket": "worker, task, le",
    "flower_task_prefetch_time_seconds": "worker, task",
}
"""Each family's labels beside the grouping labels: what the guard has to ignore."""

FRESH = "(time() - push_time_seconds < $max_age and flower_up)"

IN_RANGE = "[$__range] @ end()"
"""After a selector: what it was within the shown range, the same at every step of a graph."""

CHOSEN = 'job=~"$job", instance=~"$instance"'

STATES = ("FAILURE", "PENDING", "RECEIVED", "RETRY", "REVOKED", "STARTED", "SUCCESS")
"""The states that every task type has a sample for."""


def selector(family: str, *matchers: str) -> str:
    """The family's series for the chosen jobs and Flowers: `family{job=~"$job", instance=~"$instance"}`."""
    return f"{family}{{{', '.join([CHOSEN, *matchers])}}}"


def in_state(*states: str) -> str:
    """The matcher for one state or several."""
    return f'state="{states[0]}"' if len(states) == 1 else f'state=~"{"|".join(states)}"'


def fresh(family: str, *matchers: str, call: str = "{}") -> str:
    """The family's series, but for groups whose last push is older than `$max_age`.

    `call` wraps the bare series, e.g. `"{} == bool 0"`. For a call that looks back there is `fresh_window`.

    Raises `KeyError` for a family whose own labels nobody wrote down.
    """
    own_labels = OWN_LABELS[family]
    matching = f" ignoring ({own_labels})" if own_labels else ""
    return f"{call.format(selector(family, *matchers))} and{matching} {FRESH}"


def fresh_window(call: str, family: str, *matchers: str, window: str = "$TIME_FRAME") -> str:
    """A call over the family's last `window`, e.g. `rate`, where there is a fresh sample at its end too.

    Without that, a graph would go on for the length of the window after Flower went down.
    """
    series = selector(family, *matchers)
    return f"{call}({series}[{window}]) and {fresh(family, *matchers)}"


def workers(*matchers: str) -> str:
    """Fresh `celery_workers`."""
    return fresh("celery_workers", *matchers)


def of_live_workers(family: str, *matchers: str, call: str = "{}") -> str:
    """A fresh family with a label `worker`, without the workers that are down: Flower keeps their last numbers."""
    live = 'label_replace(celery_workers == 1, "worker", "$1", "app", "(.*)")'
    others = OWN_LABELS[family].replace("worker", "app")
    return f"{fresh(family, *matchers, call=call)} and ignoring ({others}) {live}"


def tasks(*matchers: str) -> str:
    """Fresh `celery_task_types_by_state` of the chosen task types."""
    return fresh("celery_task_types_by_state", 'task_type=~"$task_type"', *matchers)


def durations(*matchers: str) -> str:
    """Fresh `celery_task_duration_seconds_by_state` of the chosen task types."""
    return fresh("celery_task_duration_seconds_by_state", 'name=~"$task_type"', *matchers)


def tasks_by_name(state: str, by: str = "name") -> str:
    """How many tasks match `state`, under the duration family's label `name`, so that they divide."""
    renamed = f'label_replace({tasks(state)}, "name", "$1", "task_type", "(.*)")'
    return f"sum({renamed}) by ({by})"


def mean_duration(state: str, by: str = "name") -> str:
    """Seconds per task of those that match `state`: both families add up, so their quotient is the mean."""
    return f"sum({durations(state)}) by ({by}) / {tasks_by_name(state, by)}"


def most(count: int, series: str, by: str) -> str:
    """The labels `by` of the largest within the shown range; `series` is bare.

    The same few at every step: a topk of each step's own would make lines come and go.
    """
    return f"topk({count}, sum(max_over_time({series}{IN_RANGE})) by ({by}))"


def age(comparison: str = "") -> str:
    """Seconds since each group of this job was pushed; `comparison` keeps some, e.g. `>= $max_age`.

    Other programs push to the same Pushgateway: `push_job_build_info` tells which groups are ours.
    """
    compared = f" {comparison}" if comparison else ""
    return f"time() - {selector('push_time_seconds')}{compared} and ignoring (version) push_job_build_info"


def flower_state() -> str:
    """Of each group 1 (up), 0 (down), -1 (its data is too old) or -2 (only a part of a push is there): worst first."""
    return f"{fresh('flower_up')} or 0 * ({age('>= $max_age')}) - 1 or 0 * ({age()}) - 2"


def missing() -> str:
    """The groups that nothing is known of now: Flower is down, or the data is too old."""
    return f"({age()} unless ({fresh('flower_up')}) == 1)"


def in_words(count: str, label: str) -> str:
    """A label whose text is a number, for a legend: nothing if `count` answers nothing."""
    return f'0 * count_values("{label}", count({count}))'


def or_nobody_knows(known: str) -> str:
    """NaN where `known`, without labels, answers nothing: then the last of a range is never an old number."""
    return f"{known} or vector(NaN)"


def or_not_pushed(known: str) -> str:
    """-1 where `known`, without labels, answers nothing although some Flower was scraped: its extra is not pushed."""
    return f"{known} or sum({fresh('flower_up', call='{} == 1')}) * 0 - 1"
