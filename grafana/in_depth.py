"""The dashboard for what `push-job push --with queues,runtimes,waits,activity,flower-metrics` adds.

Flower's own families (`flower_events_total`, `flower_task_runtime_seconds`) are true counters, so their rates are
right. The window is `$TIME_FRAME` and not `$__rate_interval`: they change once a push, not once a scrape.
"""

from grafana_foundation_sdk.builders import dashboard
from grafana_foundation_sdk.models import dashboard as model

from grafana.frame import Row, Variable, any_of, common_variables, framed, option, time_variables
from grafana.histograms import PICTURE, apdex, apdex_variables, runtimes, waits
from grafana.panels import (
    GOOD_IS_HIGH,
    UP,
    About,
    AnyPanel,
    Query,
    coloured,
    lines,
    numbers,
    two_values,
)
from grafana.queries import CHOSEN, age, fresh, fresh_window, of_live_workers, workers

EACH_FLOWER = "{{job}} {{instance}}"
QUEUE = 'queue=~"$queue"'
WORKER = 'worker=~"$worker"'
TASK = 'task=~"$task_type"'


def in_depth() -> model.Dashboard:
    """The dashboard "Celery by Flower: in depth"."""
    return framed(
        title="Celery by Flower: in depth",
        uid="celery-by-flower-in-depth",
        description="What push-job adds with --with. Panels of an extra that was not asked for are empty.",
        rows=[
            Row("", _at_a_glance()),
            Row("Queues against workers", _queues()),
            Row("Runtimes of the tasks that Flower remembers", runtimes()),
            Row("Waits of the tasks that Flower remembers: from received (or its ETA) to started", waits()),
            Row("Rates from Flower's own counters, over $TIME_FRAME", _rates()),
            Row("Worker activity", _activity()),
        ],
        variables=[*common_variables(), *_own_variables(), *time_variables()],
    )


def _own_variables() -> list[Variable]:
    quantiles = {"median": "0.5", "90 %": "0.9", "95 %": "0.95", "99 %": "0.99"}
    quantile = dashboard.CustomVariable("quantile").label("Quantile")
    quantile.description("The share of tasks that are at least this quick.")
    quantile.values(", ".join(f"{text} : {value}" for text, value in quantiles.items()))
    quantile.options([option(text, value, selected=value == "0.95") for text, value in quantiles.items()])
    quantile.current(option("95 %", "0.95"))
    return [
        any_of("queue", "Queue", f"label_values(celery_queue_length{{{CHOSEN}}}, queue)"),
        any_of("worker", "Worker", f'label_values(celery_workers{{{CHOSEN}, app!=""}}, app)'),
        quantile,
        *apdex_variables(),
    ]


def _at_a_glance() -> list[AnyPanel]:
    waiting = About("Tasks in queues", "Sent, and no worker has fetched them.", "short", width=4, height=5)
    live = About(
        "Live workers",
        "Workers whose heartbeats Flower sees.",
        "none",
        width=4,
        height=5,
        steps=UP,
    )
    idle = About(
        "Idle workers",
        "Live workers that ran no task at the last push. Idle workers and a queue that grows: look at the "
        "queue's name and at the workers' connection to the broker.",
        "none",
        width=4,
        height=5,
    )
    score = About(
        "Apdex",
        "(tasks within the target + tasks within the tolerated time) / 2 / tasks. 1: all are quick. " + PICTURE,
        "none",
        width=4,
        height=5,
        steps=GOOD_IS_HIGH,
    )
    extras = About(
        "Extras",
        "Failed: the last push left this extra out, and its panels have a gap. The job's log says why.",
        "none",
        width=4,
        height=5,
        steps=UP,
    )
    old = About(
        "Age of the data",
        "Time since each group's last push. Red: older than the limit chosen above, so that every other "
        "panel hides this Flower.",
        "s",
        width=4,
        height=5,
    )
    ages = numbers(
        old,
        Query(age("< $max_age"), EACH_FLOWER),
        Query(age(">= $max_age"), f"HIDDEN {EACH_FLOWER}"),
        named=True,
    )
    inactive = of_live_workers("celery_worker_active_tasks", call="{} == bool 0")
    failing = Query(fresh("flower_scrape_extra_success"), "{{extra}} {{instance}}")
    return [
        numbers(waiting, Query(f"sum({fresh('celery_queue_length', QUEUE)})"), filled=False),
        numbers(live, Query(f"sum({workers()})")),
        numbers(idle, Query(f"sum({inactive})"), filled=False),
        numbers(score, Query(apdex())),
        two_values(numbers(extras, failing, named=True), "Read", "Failed"),
        coloured(ages, "green", "red"),
    ]


def _queues() -> list[AnyPanel]:
    length = About(
        "Queue length", "Tasks that wait in each queue of the broker. 0 is well.", "short", width=8, height=8
    )
    against = About(
        "Queued, running, live workers",
        "Queued climbs while running is level: too few workers. Queued climbs while running is 0: workers "
        "are stuck, or consume another queue.",
        "short",
        width=8,
        height=8,
    )
    growth = About(
        "Growth of each queue over $TIME_FRAME",
        "Tasks that come per second less those that go. Above 0 for long: it will not drain by itself.",
        "none",
        width=8,
        height=8,
    )
    slope = fresh_window("deriv", "celery_queue_length", QUEUE)
    return [
        lines(length, Query(f"sum({fresh('celery_queue_length', QUEUE)}) by (queue)", "{{queue}}")),
        lines(
            against,
            Query(f"sum({fresh('celery_queue_length', QUEUE)})", "queued"),
            Query(f"sum({of_live_workers('celery_worker_active_tasks')})", "running"),
            Query(f"sum({workers()})", "live workers"),
        ),
        lines(growth, Query(f"sum({slope}) by (queue)", "{{queue}}")),
    ]


def _rates() -> list[AnyPanel]:
    events = _counted()
    failed, ended = _counted('type="task-failed"'), _counted('type=~"task-failed|task-succeeded"')
    all_ended = f"sum({ended}) by (task)"
    runtime = fresh_window("rate", "flower_task_runtime_seconds_bucket", TASK)
    return [
        lines(
            About(
                "Events per second",
                "Received above succeeded for long: work piles up in the workers.",
                "none",
                width=6,
                height=9,
            ),
            Query(f"sum({events}) by (type)", "{{type}}"),
        ),
        lines(
            About("Finished per second by type", "Tasks that succeeded or failed.", "none", width=6, height=9),
            Query(all_ended, "{{task}}"),
        ),
        lines(
            About(
                "Failure ratio by type",
                "Failed / (failed + succeeded) within the window: what fails now, not what Flower "
                "remembers. A counter begins with its first event, so a type's very first failure does not "
                "show.",
                "percentunit",
                width=6,
                height=9,
                steps=(("green", None), ("orange", 0.05), ("red", 0.1)),
            ),
            Query(f"(sum({failed}) by (task) or 0 * {all_ended}) / ({all_ended} > 0)", "{{task}}"),
        ),
        lines(
            About(
                "Recent runtime: quantile $quantile",
                "Of the tasks that finished within the window, from Flower's own histogram and its own "
                "buckets: above the last of them (10 s unless Flower is told otherwise) it reads no further.",
                "s",
                width=6,
                height=9,
            ),
            Query(f"histogram_quantile($quantile, sum({runtime}) by (task, le)) >= 0", "{{task}}"),
        ),
    ]


def _counted(*matchers: str) -> str:
    return fresh_window("rate", "flower_events_total", TASK, WORKER, *matchers)


def _activity() -> list[AnyPanel]:
    processed = fresh_window("rate", "celery_worker_processed_tasks", WORKER)
    load = of_live_workers("celery_worker_load_average", WORKER, 'period="1m"')
    return [
        _by_worker(
            "Active tasks",
            "Tasks that each worker runs. Level at its concurrency: it is full.",
            "short",
            of_live_workers("celery_worker_active_tasks", WORKER),
        ),
        _by_worker(
            "Tasks processed per second over $TIME_FRAME",
            "0 while its queue grows: this worker is stuck.",
            "none",
            processed,
        ),
        _by_worker("Load of its machine, 1 minute", "Above the machine's cores: it is short of CPU.", "short", load),
        _by_worker(
            "Prefetched tasks",
            "Tasks that each worker has fetched and not started. Many here while other workers are idle: "
            "lower worker_prefetch_multiplier.",
            "short",
            of_live_workers("celery_worker_prefetched_tasks", WORKER),
        ),
        _by_worker(
            "Age of the last heartbeat",
            "Climbing: the worker is gone, frozen or cut off from the broker.",
            "s",
            fresh("celery_worker_last_heartbeat_age_seconds", WORKER),
        ),
        _by_worker(
            "Prefetch wait of what runs now",
            "How long the longest waiting of the tasks that run now had waited in this worker; 0 once they "
            "are done. From Flower's own /metrics.",
            "s",
            fresh("flower_task_prefetch_time_seconds", WORKER, TASK),
        ),
    ]


def _by_worker(title: str, description: str, unit: str, series: str) -> AnyPanel:
    query = Query(f"max({series}) by (worker)", "{{worker}}")
    return lines(About(title, description, unit, width=8, height=8), query)
