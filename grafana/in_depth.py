"""The dashboard for what the extras of `push-job push --with …` add.

Flower's own families (`flower_events_total`, `flower_task_runtime_seconds`) are true counters, so their rates are
right. They change once a push, not once a scrape: the window has to hold several pushes.
"""

from grafana_foundation_sdk.models import dashboard as model

from grafana.frame import Row, Variable, any_of, choice, common_variables, flower_address, framed, time_variables
from grafana.histograms import apdex, apdex_variables, runtimes, waits
from grafana.panels import (
    GOOD_IS_HIGH,
    GREY,
    HALF,
    NEUTRAL,
    SECONDS,
    TILE,
    About,
    AnyPanel,
    Column,
    Link,
    Query,
    Steps,
    Words,
    lines,
    not_pushed,
    numbers,
    table,
)
from grafana.queries import CHOSEN, fresh, fresh_window, most, of_live_workers, or_not_pushed, selector, workers
from grafana.sound import flowers, live_workers
from grafana.trouble import trouble

QUEUE = 'queue=~"$queue"'
WORKER = 'worker=~"$worker"'
TASK = 'task=~"$task_type"'
EVENTS = "flower_events_total"
ENDED = 'type=~"task-failed|task-succeeded"'
TEN = " The ten with most in the shown range."


def in_depth() -> model.Dashboard:
    """The dashboard "Celery by Flower: in depth"."""
    return framed(
        title="Celery by Flower: in depth",
        uid="celery-by-flower-in-depth",
        description="What push-job adds with --with. Panels of an extra that was not asked for say so.",
        rows=[
            Row("", _at_a_glance()),
            Row("What is wrong? Stuck, failing, overdue, full", trouble()),
            Row("Do the workers keep up with the queues?", _queues()),
            Row("How long do tasks run? Of those that Flower remembers", runtimes()),
            Row("How long do they wait, from received (or the ETA) to started?", waits()),
            Row("What happens now? Rates from Flower's own counters", _rates()),
            Row("What does each worker do?", _activity()),
            Row("The extras themselves", [_extras()], collapsed=True),
        ],
        variables=[*common_variables(), *_own_variables(), *time_variables(), flower_address()],
    )


def _own_variables() -> list[Variable]:
    quantile = choice("quantile", "Quantile", {"median": "0.5", "90 %": "0.9", "95 %": "0.95", "99 %": "0.99"}, "95 %")
    quantile.description("The share of tasks that are at least this quick.")
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
            "Sent, and no worker has fetched them.",
            f"sum({fresh('celery_queue_length', QUEUE)})",
            "queues",
            unit="short",
        ),
        _tile(
            "Idle workers",
            "Live workers that ran no task at the last push. Idle workers and a queue that grows: look at the queue's "
            "name and at the workers' connection to the broker.",
            f"sum({inactive})",
            "activity",
        ),
        _tile(
            "Apdex",
            "(tasks within the target + tasks within the tolerated time) / 2 / tasks, of the finished tasks that "
            "Flower remembers. 1: all are quick.",
            apdex(),
            "runtimes",
            steps=GOOD_IS_HIGH,
        ),
        _tile(
            "Extras that fail",
            "The last push left them out, and their panels have a gap. The last row says which, the job's log why.",
            failing,
            "",
            steps=(("red", None),),
            words={"0": ("none", "green")},
        ),
    ]


def _tile(
    title: str,
    description: str,
    known: str,
    extra: str,
    unit: str = "none",
    steps: Steps = NEUTRAL,
    words: Words | None = None,
) -> AnyPanel:
    about = About(title, description, unit, width=TILE, height=5, steps=steps)
    missing = {"-1": (f"--with {extra}: not pushed" if extra else "no extra is pushed", GREY)}
    return numbers(about, Query(or_not_pushed(known)), words={**(words or {}), **missing})


def _graph(title: str, description: str, unit: str, extra: str) -> About:
    return About(title, description, unit, width=HALF, height=8, empty=not_pushed(extra))


def _queues() -> list[AnyPanel]:
    length = _graph("Queue length", "Tasks that wait in each queue of the broker. 0 is well." + TEN, "short", "queues")
    against = _graph(
        "Queued, running, live workers",
        "Queued climbs while running is level: too few workers. Queued climbs while running is 0: workers "
        "are stuck, or consume another queue.",
        "short",
        "queues,activity",
    )
    growth = About(
        "Growth of each queue",
        "Tasks that come per second less those that go, over the window chosen above. Above 0 for long: it will not "
        "drain by itself." + TEN,
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
    failed, ended = _counted('type="task-failed"'), _counted(ENDED)
    all_ended = f"sum({ended}) by (task)"
    runtime = fresh_window("rate", "flower_task_runtime_seconds_bucket", TASK)
    ten = most(10, selector(EVENTS, TASK, WORKER, ENDED), "task")
    ratio = f"(sum({failed}) by (task) or 0 * {all_ended}) / ({all_ended} > 0)"
    quantile = f"histogram_quantile($quantile, sum({runtime}) by (task, le)) >= 0"
    return [
        lines(
            _graph(
                "Events per second", "Received above succeeded for long: work piles up in the workers.", "none", extra
            ),
            Query(f"sum({_counted()}) by (type)", "{{type}}"),
        ),
        lines(
            _graph("Finished per second by type", "Tasks that succeeded or failed." + TEN, "none", extra),
            Query(_named(f"{all_ended} and {ten}"), "{{task}}"),
        ),
        lines(
            _graph(
                "Failure ratio by type",
                "Failed / (failed + succeeded) within the window: what fails now, not what Flower remembers. A counter "
                "begins with its first event, so a type's very first failure does not show." + TEN,
                "percentunit",
                extra,
            ),
            Query(_named(f"{ratio} and {ten}"), "{{task}}"),
            most=1,
        ),
        lines(
            _graph(
                "Recent runtime: quantile $quantile",
                "Of the tasks that finished within the window, from Flower's own histogram and its own "
                "buckets: above the last of them (10 s unless Flower is told otherwise) it reads no further." + TEN,
                SECONDS,
                extra,
            ),
            Query(_named(f"{quantile} and {ten}"), "{{task}}"),
        ),
    ]


def _counted(*matchers: str) -> str:
    return fresh_window("rate", EVENTS, TASK, WORKER, *matchers)


def _named(series: str) -> str:
    """A Flower that restarted does not know the names of earlier tasks: Grafana would call their series "Value"."""
    return f'label_replace({series}, "task", "unknown", "task", "")'


def _activity() -> list[AnyPanel]:
    processed = fresh_window("rate", "celery_worker_processed_tasks", WORKER)
    load = of_live_workers("celery_worker_load_average", WORKER, 'period="1m"')
    return [
        _by_worker(
            "Active tasks",
            "Tasks that each worker runs. Level at its concurrency: it is full.",
            "short",
            of_live_workers("celery_worker_active_tasks", WORKER),
            "celery_worker_active_tasks",
        ),
        _by_worker(
            "Tasks processed per second",
            "Over the window chosen above. 0 while its queue grows: this worker is stuck.",
            "none",
            processed,
            "celery_worker_processed_tasks",
        ),
        _by_worker(
            "Load of its machine, 1 minute",
            "Above the machine's cores: it is short of CPU.",
            "short",
            load,
            "celery_worker_load_average",
        ),
        _by_worker(
            "Prefetched tasks",
            "Tasks that each worker has fetched and not started. Many here while other workers are idle: "
            "lower worker_prefetch_multiplier.",
            "short",
            of_live_workers("celery_worker_prefetched_tasks", WORKER),
            "celery_worker_prefetched_tasks",
        ),
        _by_worker(
            "Age of the last heartbeat",
            "Climbing: the worker is gone, frozen or cut off from the broker.",
            SECONDS,
            fresh("celery_worker_last_heartbeat_age_seconds", WORKER),
            "celery_worker_last_heartbeat_age_seconds",
        ),
        _by_worker(
            "Prefetch wait of what runs now",
            "How long the longest waiting of the tasks that run now had waited in this worker; 0 once they "
            "are done. From Flower's own /metrics.",
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
    about = About(
        "Extras",
        "Failed: the last push left this extra out. The job's log says why.",
        "none",
        width=24,
        height=8,
        empty="no fresh data, or no extra is pushed",
    )
    read = {"0": ("Failed", "red"), "1": ("Read", "green")}
    columns = [
        Column("extra", "Extra"),
        Column("Value", "Last push", width=100, words=read),
        Column("instance", "Flower", width=200),
        Column("job", "Job", width=150),
    ]
    query = Query(fresh("flower_scrape_extra_success"))
    return table(about, query, columns=columns, sorted_by="Last push", falling=False)
