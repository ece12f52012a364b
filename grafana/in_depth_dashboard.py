"""The dashboard "Celery by Flower: in depth", for the extras.

Flower's own families (`flower_events_total`, `flower_task_runtime_seconds`) are counters, so `rate` is correct for
them. They change once per push, not once per scrape of the Pushgateway, so the window must contain several pushes.
"""

from grafana_foundation_sdk.models import dashboard as model

from grafana.histogram_panels import apdex_tile, apdex_variables, runtimes, waits
from grafana.layout import (
    Row,
    Variable,
    any_of,
    build_dashboard,
    choice,
    common_variables,
    flower_address,
    max_age,
    window,
)
from grafana.panel_types import (
    COUNT,
    HALF,
    AnyPanel,
    Column,
    Link,
    PanelSpec,
    Query,
    lines,
    not_pushed,
    table,
)
from grafana.problems_row import problem_panels
from grafana.queries import CHOSEN, fresh, fresh_window, in_state, most, of_live_workers, selector, workers
from grafana.tiles import alerts, flowers, idle_workers, live_workers, tasks_in_queues
from grafana.totals_row import totals

QUEUE = 'queue=~"$queue"'
WORKER = 'worker=~"$worker"'
TASK = 'task=~"$task_type"'
EVENTS = "flower_events_total"
ENDED = 'type=~"task-failed|task-succeeded"'
TEN = " Shows the ten highest in the selected range."


def in_depth_dashboard() -> model.Dashboard:
    """Return the dashboard "Celery by Flower: in depth"."""
    return build_dashboard(
        title="Celery by Flower: in depth",
        uid="celery-by-flower-in-depth",
        description="The extras of push-job (--with). A panel says so if its extra is not pushed.",
        rows=[
            Row("", _at_a_glance()),
            Row("Problems", problem_panels()),
            Row("Queues", _queues()),
            Row("Runtimes", runtimes()),
            Row("Waits", waits()),
            Row("Rates", _rates()),
            Row("Totals", totals()),
            Row("Workers", _activity()),
            Row("Extras", [_extras()], collapsed=True),
        ],
        variables=[*common_variables(), *_own_variables(), window(), max_age(), flower_address()],
    )


def _own_variables() -> list[Variable]:
    quantile = choice("quantile", "Quantile", {"median": "0.5", "90 %": "0.9", "95 %": "0.95", "99 %": "0.99"}, "95 %")
    quantile.description("The share of tasks that take at most the displayed time.")
    return [
        any_of("queue", "Queue", f"label_values(celery_queue_length{{{CHOSEN}}}, queue)"),
        any_of("worker", "Worker", f'label_values(celery_workers{{{CHOSEN}, app!=""}}, app)'),
        quantile,
        *apdex_variables(),
    ]


def _at_a_glance() -> list[AnyPanel]:
    return [alerts(), flowers(), live_workers(), tasks_in_queues(), idle_workers(), apdex_tile()]


def _graph(title: str, description: str, unit: str, extra: str) -> PanelSpec:
    return PanelSpec(title, description, unit, width=HALF, height=8, empty=not_pushed(extra))


def _queues() -> list[AnyPanel]:
    length = _graph("Queue length", "Tasks that wait in each queue of the broker." + TEN, COUNT, "queues")
    against = _graph(
        "Queued, running, live workers",
        "If queued rises while running is flat, there are too few workers. If queued rises while running is 0, the "
        "workers are stuck or consume another queue.",
        COUNT,
        "queues,activity",
    )
    growth = PanelSpec(
        "Growth of each queue",
        "Arriving minus leaving tasks per second, over the window selected above. If it stays above 0, the "
        "queue will not drain." + TEN,
        "none",
        width=24,
        height=8,
        empty=not_pushed("queues"),
    )
    by_queue = _graph(
        "Unfinished tasks by queue",
        "PENDING, RECEIVED, STARTED and RETRY tasks by routing key, which is the name of the queue by default. Tasks "
        "without a task-sent event (task_send_sent_event) are in unknown." + TEN,
        COUNT,
        "by-queue",
    )
    orphaned = _graph(
        "Orphaned tasks by queue",
        "PENDING tasks with a routing key that no live worker consumes. Above 0, they are never run: the name is "
        "misspelled, or its worker is missing. A gap: the queues of a live worker are not known. Needs "
        "task_send_sent_event." + TEN,
        COUNT,
        "by-queue",
    )
    unfinished = in_state("PENDING", "RECEIVED", "STARTED", "RETRY")
    slope = fresh_window("deriv", "celery_queue_length", QUEUE)
    ten = most(10, selector("celery_queue_length", QUEUE), "queue")
    return [
        _by_queue(length, "celery_queue_length", QUEUE),
        lines(
            against,
            Query(f"sum({fresh('celery_queue_length', QUEUE)})", "queued"),
            Query(f"sum({of_live_workers('celery_worker_active_tasks')})", "running"),
            Query(f"sum({workers()})", "live workers"),
        ),
        _by_queue(by_queue, "celery_tasks_by_queue", QUEUE, unfinished),
        _by_queue(orphaned, "celery_queue_orphaned_tasks", QUEUE),
        lines(growth, Query(f"sum({slope}) by (queue) and {ten}", "{{queue}}")),
    ]


def _by_queue(spec: PanelSpec, family: str, *matchers: str) -> AnyPanel:
    ten = most(10, selector(family, *matchers), "queue")
    return lines(spec, Query(f"sum({fresh(family, *matchers)}) by (queue) and {ten}", "{{queue}}"))


def _rates() -> list[AnyPanel]:
    extra = "flower-metrics"
    failed, ended = _event_rate('type="task-failed"'), _event_rate(ENDED)
    all_ended = f"sum({ended}) by (task)"
    runtime = fresh_window("rate", "flower_task_runtime_seconds_bucket", TASK)
    ten = most(10, selector(EVENTS, TASK, WORKER, ENDED), "task")
    ratio = f"(sum({failed}) by (task) or 0 * {all_ended}) / ({all_ended} > 0)"
    quantile = f"histogram_quantile($quantile, sum({runtime}) by (task, le)) >= 0"
    return [
        lines(
            _graph(
                "Events per second",
                "If received stays above succeeded, tasks accumulate in the workers.",
                "none",
                extra,
            ),
            Query(f"sum({_event_rate()}) by (type)", "{{type}}"),
        ),
        lines(
            _graph("Finished per second by type", "Tasks that succeeded or failed." + TEN, "none", extra),
            Query(_with_unknown_task(f"{all_ended} and {ten}"), "{{task}}"),
        ),
        lines(
            _graph(
                "Failure ratio by type",
                "Failed / (failed + succeeded) within the window. A counter starts with its first event, so the first "
                "failure of a type is not visible." + TEN,
                "percentunit",
                extra,
            ),
            Query(_with_unknown_task(f"{ratio} and {ten}"), "{{task}}"),
            maximum=1,
        ),
        lines(
            _graph(
                "Recent runtime: quantile $quantile",
                "Runtimes of the tasks that finished within the window, from Flower's histogram. The highest "
                "possible value is the last bound of Flower's buckets, by default 10 s." + TEN,
                "s",
                extra,
            ),
            Query(_with_unknown_task(f"{quantile} and {ten}"), "{{task}}"),
        ),
    ]


def _event_rate(*matchers: str) -> str:
    return fresh_window("rate", EVENTS, TASK, WORKER, *matchers)


def _with_unknown_task(series: str) -> str:
    """Label tasks without a name "unknown"; Grafana would show "Value"."""
    return f'label_replace({series}, "task", "unknown", "task", "")'


def _activity() -> list[AnyPanel]:
    # The number is a gauge, for which Prometheus 3 warns about rate. It falls when a worker restarts.
    processed = fresh_window("deriv", "celery_worker_processed_tasks", WORKER)
    processed += f" unless resets({selector('celery_worker_processed_tasks', WORKER)}[$TIME_FRAME]) > 0"
    load = of_live_workers("celery_worker_load_average", WORKER, 'period="1m"')
    return [
        _by_worker(
            "Active tasks",
            "Running tasks of each worker. A worker is full if this stays at its concurrency.",
            COUNT,
            of_live_workers("celery_worker_active_tasks", WORKER),
            "celery_worker_active_tasks",
        ),
        _by_worker(
            "Tasks processed per second",
            "If it is 0 while the queue grows, the worker is stuck. A gap: it restarted.",
            "none",
            processed,
            "celery_worker_processed_tasks",
        ),
        _by_worker(
            "Load average of the machine, 1 minute",
            "If it exceeds the number of cores, the machine is short of CPU.",
            COUNT,
            load,
            "celery_worker_load_average",
        ),
        _by_worker(
            "Prefetched tasks",
            "Tasks that each worker has fetched and not started. If one worker has many while others are idle, lower "
            "worker_prefetch_multiplier.",
            COUNT,
            of_live_workers("celery_worker_prefetched_tasks", WORKER),
            "celery_worker_prefetched_tasks",
        ),
        _by_worker(
            "Age of the last heartbeat",
            "If it rises, the worker is gone, frozen or disconnected from the broker.",
            "s",
            fresh("celery_worker_last_heartbeat_age_seconds", WORKER),
            "celery_worker_last_heartbeat_age_seconds",
        ),
        _by_worker(
            "Prefetch wait of running tasks",
            "The longest time that a task which is now running had waited in the worker. 0 when no task runs. From "
            "Flower's /metrics.",
            "s",
            fresh("flower_task_prefetch_time_seconds", WORKER, TASK),
            "flower_task_prefetch_time_seconds",
            extra="flower-metrics",
        ),
    ]


def _by_worker(title: str, description: str, unit: str, series: str, family: str, extra: str = "activity") -> AnyPanel:
    ten = most(10, selector(family, WORKER), "worker")
    query = Query(f"max({series}) by (worker) and {ten}", "{{worker}}")
    page = Link("Its page in Flower", "${flower_url}/worker/${__field.labels.worker}")
    return lines(_graph(title, description + TEN, unit, extra), query, links=[page])


def _extras() -> AnyPanel:
    spec = PanelSpec(
        "Extras",
        "Failed: the last push left out this extra. The job's log says why.",
        "none",
        width=24,
        height=8,
        empty="no fresh data, or no extra is pushed",
    )
    read = {"0": ("Failed", "red"), "1": ("Read", "green")}
    columns = [
        Column("extra", "Extra"),
        Column("Value", "Last push", width=100, texts=read),
        Column("instance", "Flower", width=200),
        Column("job", "Job", width=150),
    ]
    query = Query(fresh("flower_scrape_extra_success"))
    return table(spec, query, columns=columns, sorted_by="Last push", descending=False)
