"""The dashboard "Celery by Flower: in depth", for the extras.

Flower's own families (`flower_events_total`, `flower_task_runtime_seconds`) are counters, so `rate` is correct for
them. They change once per push, not once per scrape of the Pushgateway, so the window must contain several pushes.
"""

from grafana_foundation_sdk.models import dashboard as model

from grafana.health_row import flowers, live_workers
from grafana.histogram_panels import apdex, apdex_variables, runtimes, waits
from grafana.layout import (
    Row,
    Variable,
    any_of,
    build_dashboard,
    choice,
    common_variables,
    flower_address,
    time_variables,
)
from grafana.panel_types import (
    GOOD_IS_HIGH,
    GREY,
    HALF,
    NEUTRAL,
    SECONDS,
    TILE,
    AnyPanel,
    Column,
    Link,
    PanelSpec,
    Query,
    Thresholds,
    ValueTexts,
    lines,
    not_pushed,
    numbers,
    table,
)
from grafana.problems_row import problem_panels
from grafana.queries import CHOSEN, fresh, fresh_window, most, of_live_workers, or_not_pushed, selector, workers

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
            Row("Workers", _activity()),
            Row("Extras", [_extras()], collapsed=True),
        ],
        variables=[*common_variables(), *_own_variables(), *time_variables(), flower_address()],
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
    _, seen = flowers()
    inactive = of_live_workers("celery_worker_active_tasks", call="{} == bool 0")
    failing = f"count({fresh('flower_scrape_extra_success')}) - sum({fresh('flower_scrape_extra_success')})"
    return [
        seen,
        live_workers(),
        _tile(
            "Tasks in queues",
            "Tasks that were sent and that no worker has fetched.",
            f"sum({fresh('celery_queue_length', QUEUE)})",
            "queues",
            unit="short",
        ),
        _tile(
            "Idle workers",
            "Live workers that ran no task at the last push. If a queue grows while workers are idle, check the "
            "queue's name and the workers' connection to the broker.",
            f"sum({inactive})",
            "activity",
        ),
        _tile(
            "Apdex",
            "(tasks within the target + tasks within the tolerated time) / 2 / tasks, for the finished tasks in "
            "Flower's list. 1 means that all tasks are within the target.",
            apdex(),
            "runtimes",
            thresholds=GOOD_IS_HIGH,
        ),
        _tile(
            "Failing extras",
            "Extras that the last push left out; their panels have a gap. The last row shows which. The job's log "
            "says why.",
            failing,
            "",
            thresholds=(("red", None),),
            texts={"0": ("none", "green")},
        ),
    ]


def _tile(
    title: str,
    description: str,
    known: str,
    extra: str,
    unit: str = "none",
    thresholds: Thresholds = NEUTRAL,
    texts: ValueTexts | None = None,
) -> AnyPanel:
    spec = PanelSpec(title, description, unit, width=TILE, height=5, thresholds=thresholds)
    missing = {"-1": (f"--with {extra}: not pushed" if extra else "no extra is pushed", GREY)}
    return numbers(spec, Query(or_not_pushed(known)), texts={**(texts or {}), **missing})


def _graph(title: str, description: str, unit: str, extra: str) -> PanelSpec:
    return PanelSpec(title, description, unit, width=HALF, height=8, empty=not_pushed(extra))


def _queues() -> list[AnyPanel]:
    length = _graph("Queue length", "Tasks that wait in each queue of the broker." + TEN, "short", "queues")
    against = _graph(
        "Queued, running, live workers",
        "If queued rises while running is flat, there are too few workers. If queued rises while running is 0, the "
        "workers are stuck or consume another queue.",
        "short",
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
    slope = fresh_window("deriv", "celery_queue_length", QUEUE)
    ten = most(10, selector("celery_queue_length", QUEUE), "queue")
    return [
        lines(length, Query(f"sum({fresh('celery_queue_length', QUEUE)}) by (queue) and {ten}", "{{queue}}")),
        lines(
            against,
            Query(f"sum({fresh('celery_queue_length', QUEUE)})", "queued"),
            Query(f"sum({of_live_workers('celery_worker_active_tasks')})", "running"),
            Query(f"sum({workers()})", "live workers"),
        ),
        lines(growth, Query(f"sum({slope}) by (queue) and {ten}", "{{queue}}")),
    ]


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
                SECONDS,
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
    processed = fresh_window("rate", "celery_worker_processed_tasks", WORKER)
    load = of_live_workers("celery_worker_load_average", WORKER, 'period="1m"')
    return [
        _by_worker(
            "Active tasks",
            "Running tasks of each worker. A worker is full if this stays at its concurrency.",
            "short",
            of_live_workers("celery_worker_active_tasks", WORKER),
            "celery_worker_active_tasks",
        ),
        _by_worker(
            "Tasks processed per second",
            "Rate over the window selected above. If it is 0 while the queue grows, the worker is stuck.",
            "none",
            processed,
            "celery_worker_processed_tasks",
        ),
        _by_worker(
            "Load average of the machine, 1 minute",
            "If it exceeds the number of cores, the machine is short of CPU.",
            "short",
            load,
            "celery_worker_load_average",
        ),
        _by_worker(
            "Prefetched tasks",
            "Tasks that each worker has fetched and not started. If one worker has many while others are idle, lower "
            "worker_prefetch_multiplier.",
            "short",
            of_live_workers("celery_worker_prefetched_tasks", WORKER),
            "celery_worker_prefetched_tasks",
        ),
        _by_worker(
            "Age of the last heartbeat",
            "If it rises, the worker is gone, frozen or disconnected from the broker.",
            SECONDS,
            fresh("celery_worker_last_heartbeat_age_seconds", WORKER),
            "celery_worker_last_heartbeat_age_seconds",
        ),
        _by_worker(
            "Prefetch wait of running tasks",
            "The longest time that a task which is now running had waited in the worker. 0 when no task runs. From "
            "Flower's /metrics.",
            SECONDS,
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
