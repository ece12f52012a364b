"""What is wrong with single task types, queues and pools: one panel for each question, from what the extras push."""

from grafana.histograms import NAME
from grafana.panels import HALF, SECONDS, About, AnyPanel, Column, Query, Steps, lines, not_pushed, table
from grafana.queries import IN_RANGE, fresh, most, of_live_workers, selector

WORKER = 'worker=~"$worker"'
QUEUE = 'queue=~"$queue"'
LAST, INTERVAL = "celery_task_last_success_timestamp_seconds", "celery_task_interval_seconds"
PROCESSES, CONSUMERS = "celery_worker_pool_processes", "celery_queue_consumers"

OVERDUE: Steps = (("green", None), ("orange", 2.0), ("red", 3.0))


def trouble() -> list[AnyPanel]:
    """Stuck, failing, overdue, full."""
    return [_oldest(), _failures(), _overdue(), _saturation(), _waits_and_runtimes(), _consumers()]


def _about(title: str, description: str, unit: str, extra: str) -> About:
    return About(title, description, unit, width=HALF, height=8, empty=not_pushed(extra))


def _ten_lines(about: About, call: str, family: str, matcher: str, *by: str) -> AnyPanel:
    """Of the series with the same labels `by` one line, their `call` (`max`, `sum`); the ten largest in the range."""
    labels, legend = ", ".join(by), " ".join(f"{{{{{label}}}}}" for label in by)
    ten = most(10, selector(family, matcher), labels)
    return lines(about, Query(f"{call}({fresh(family, matcher)}) by ({labels}) and {ten}", legend))


def _oldest() -> AnyPanel:
    about = _about(
        "Oldest task by type",
        "How long the oldest task has been in its state, an ETA counted from its ETA. One line that climbs for ever, "
        "while the means are well: that task is stuck. The ten oldest in the shown range.",
        SECONDS,
        "ages",
    )
    return _ten_lines(about, "max", "celery_task_oldest_seconds", NAME, "name", "state")


def _failures() -> AnyPanel:
    about = _about(
        "Failures by exception",
        "Tasks in FAILURE that Flower remembers, by the class of their exception. A new line, or a step up: what "
        "began to fail, and when. The ten with most in the shown range.",
        "short",
        "failures",
    )
    return _ten_lines(about, "sum", "celery_task_failures", NAME, "exception")


def _overdue() -> AnyPanel:
    about = _about(
        "Overdue types",
        "Types that come regularly: how many of their own intervals the last success lies back. 3 and above: overdue, "
        "it stopped coming or stopped succeeding.",
        "none",
        "last-run",
    )
    interval = fresh(INTERVAL, NAME)
    # As of the push: what came after it is not known yet.
    ago = f"(-({fresh(LAST, NAME, call='({} - ignoring (name) group_left () push_time_seconds)')}))"
    columns = [
        Column("name", "Task type", short=True),
        Column("Value #A", "Intervals since", width=120, bar=True, most=6, steps=OVERDUE),
        Column("Value #B", "Last success", width=105, unit="s"),
        Column("Value #C", "Interval", width=75, unit="s"),
    ]
    return table(
        about,
        Query(f"max({ago} / ({interval})) by (name)"),
        Query(f"max({ago} and ({interval})) by (name)"),
        Query(f"max({interval}) by (name)"),
        columns=columns,
        sorted_by="Intervals since",
    )


def _saturation() -> AnyPanel:
    running = of_live_workers("celery_worker_active_tasks", WORKER)
    processes = of_live_workers(PROCESSES, WORKER)
    ten = most(10, selector(PROCESSES, WORKER), "worker")
    about = _about(
        "Saturation: running / processes",
        "Which part of what the workers can run at once is busy. At 100 % for long while tasks wait: too few workers, "
        "or tasks that hang. The ten largest workers, and all chosen ones together.",
        "percentunit",
        "activity,pools",
    )
    # Without those that tell no number of processes.
    known = f"({running}) and ({processes})"
    return lines(
        about,
        Query(f"sum({known}) / sum(({processes}) and ({running}))", "all workers"),
        Query(f"sum({known}) by (worker) / sum({processes}) by (worker) and {ten}", "{{worker}}"),
        most=1,
    )


def _waits_and_runtimes() -> AnyPanel:
    about = _about(
        "Queue wait beside runtime: quantile $quantile",
        "From sent (or the ETA) to started, and the runtime. The wait above the runtime: more workers help. The "
        "runtime above the wait: quicker tasks do. Waits need task_send_sent_event. Of what Flower remembers now.",
        SECONDS,
        "waits,runtimes",
    )
    asked = {"waits": "celery_task_queue_wait_seconds_bucket", "runs": "celery_task_runtime_seconds_bucket"}
    return lines(
        about,
        *(
            Query(f"histogram_quantile($quantile, sum({fresh(family, NAME)}) by (le)) >= 0", legend)
            for legend, family in asked.items()
        ),
    )


def _consumers() -> AnyPanel:
    about = _about(
        "Consumers of each queue",
        "Live workers that consume the queue. 0: what is sent there waits for ever; compare its name with the workers' "
        "-Q and with task_routes. Nothing while a live worker has never said what it consumes. The ten with fewest in "
        "the shown range.",
        "short",
        "pools",
    )
    fewest = f"bottomk(10, sum(min_over_time({selector(CONSUMERS, QUEUE)}{IN_RANGE})) by (queue))"
    return lines(about, Query(f"sum({fresh(CONSUMERS, QUEUE)}) by (queue) and {fewest}", "{{queue}}"))
