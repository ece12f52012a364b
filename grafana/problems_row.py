"""Panels about problems of task types, queues and workers, from the extras."""

from grafana.alert_limits import alert_limit
from grafana.histogram_panels import NAME
from grafana.panel_types import COUNT, HALF, AnyPanel, Column, PanelSpec, Query, Thresholds, lines, not_pushed, table
from grafana.queries import IN_RANGE, fresh, most, of_live_workers, or_row, selector

WORKER = 'worker=~"$worker"'
QUEUE = 'queue=~"$queue"'
LAST, INTERVAL = "celery_task_last_success_timestamp_seconds", "celery_task_interval_seconds"
PROCESSES, CONSUMERS = "celery_worker_pool_processes", "celery_queue_consumers"

OVERDUE_LIMIT = alert_limit("CeleryPeriodicTaskOverdue")
OVERDUE_THRESHOLDS: Thresholds = (("green", None), ("orange", OVERDUE_LIMIT - 1), ("red", OVERDUE_LIMIT))
"""Intervals since the last success: red from the limit of the alert CeleryPeriodicTaskOverdue."""


def problem_panels() -> list[AnyPanel]:
    """Return the panels about stuck, failing and overdue tasks and full workers."""
    return [oldest(), failures(), _overdue(), _saturation(), _waits_and_runtimes(), _consumers()]


def _spec(title: str, description: str, unit: str, extra: str) -> PanelSpec:
    return PanelSpec(title, description, unit, width=HALF, height=8, empty=not_pushed(extra))


def _ten_lines(spec: PanelSpec, call: str, family: str, matcher: str, *by: str) -> AnyPanel:
    """Return a graph of the ten highest series, aggregated with `call` by `by`."""
    labels, legend = ", ".join(by), " ".join(f"{{{{{label}}}}}" for label in by)
    ten = most(10, selector(family, matcher), labels)
    return lines(spec, Query(f"{call}({fresh(family, matcher)}) by ({labels}) and {ten}", legend))


def oldest() -> AnyPanel:
    """Return the graph of the oldest task of each type."""
    spec = _spec(
        "Oldest task by type",
        "Time of the oldest task in its state; a task with an ETA counts from its ETA. If one line rises steadily "
        "while the means are normal, that task is stuck. Shows the ten oldest in the selected range.",
        "s",
        "ages",
    )
    return _ten_lines(spec, "max", "celery_task_oldest_seconds", NAME, "name", "state")


def failures() -> AnyPanel:
    """Return the graph of the failures by exception."""
    spec = _spec(
        "Failures by exception",
        "Tasks in FAILURE in Flower's list, by exception class. A new line or a step up shows what started to fail, "
        "and when. Shows the ten classes with most failures in the selected range.",
        COUNT,
        "failures",
    )
    return _ten_lines(spec, "sum", "celery_task_failures", NAME, "exception")


def _overdue() -> AnyPanel:
    spec = _spec(
        "Overdue types",
        "Task types that run at regular intervals: the number of intervals since the last success. Red: overdue, the "
        "type no longer runs or no longer succeeds.",
        "none",
        "last-run",
    )
    columns = [
        Column("name", "Task type", short=True),
        Column("Value #A", "Intervals", width=120, bar=True, maximum=6, thresholds=OVERDUE_THRESHOLDS),
        Column("Value #B", "Last success", width=105, unit="s"),
        Column("Value #C", "Interval", width=75, unit="s"),
    ]
    return table(
        spec,
        Query(or_row(overdue_intervals(), "name", "no type runs regularly, or not pushed: --with last-run")),
        Query(f"max({_since_last_success()} and ({fresh(INTERVAL, NAME)})) by (name)"),
        Query(f"max({fresh(INTERVAL, NAME)}) by (name)"),
        columns=columns,
        sorted_by="Intervals",
    )


def overdue_intervals() -> str:
    """Return the number of intervals since the last success of each periodic type."""
    return f"max({_since_last_success()} / ({fresh(INTERVAL, NAME)})) by (name)"


def _since_last_success() -> str:
    # Relative to the push, because later tasks are not known yet.
    return f"(-({fresh(LAST, NAME, call='({} - ignoring (name) group_left () push_time_seconds)')}))"


def _saturation() -> AnyPanel:
    running = of_live_workers("celery_worker_active_tasks", WORKER)
    processes = of_live_workers(PROCESSES, WORKER)
    ten = most(10, selector(PROCESSES, WORKER), "worker")
    spec = _spec(
        "Saturation: running / processes",
        "Running tasks divided by pool processes. If it stays at 100 % while tasks wait, there are too few workers "
        "or tasks hang. Shows the ten largest workers and the total of all selected workers.",
        "percentunit",
        "activity,pools",
    )
    # Excludes workers whose number of processes is not known.
    known = f"({running}) and ({processes})"
    return lines(
        spec,
        Query(f"sum({known}) / sum(({processes}) and ({running}))", "all workers"),
        Query(f"sum({known}) by (worker) / sum({processes}) by (worker) and {ten}", "{{worker}}"),
        maximum=1,
    )


def _waits_and_runtimes() -> AnyPanel:
    spec = _spec(
        "Queue wait and runtime: quantile $quantile",
        "Time from sent (or the ETA) to started, and the runtime. If the wait is longer, add workers. If the runtime "
        "is longer, make the tasks faster. Waits need task_send_sent_event. Covers the tasks in Flower's list.",
        "s",
        "waits,runtimes",
    )
    families = {"waits": "celery_task_queue_wait_seconds_bucket", "runs": "celery_task_runtime_seconds_bucket"}
    return lines(
        spec,
        *(
            Query(f"histogram_quantile($quantile, sum({fresh(family, NAME)}) by (le)) >= 0", legend)
            for legend, family in families.items()
        ),
    )


def _consumers() -> AnyPanel:
    spec = _spec(
        "Consumers of each queue",
        "Live workers that consume the queue. 0 means that its tasks are never run: compare its name with the "
        "workers' -Q option and with task_routes. Empty while the queues of a live worker are not known. Shows the "
        "ten queues with the fewest consumers in the selected range.",
        COUNT,
        "pools",
    )
    fewest = f"bottomk(10, sum(min_over_time({selector(CONSUMERS, QUEUE)}{IN_RANGE})) by (queue))"
    return lines(spec, Query(f"sum({fresh(CONSUMERS, QUEUE)}) by (queue) and {fewest}", "{{queue}}"))
