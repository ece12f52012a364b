"""The main dashboard, "Celery by Flower".

Its first screen says what is wrong: six tiles, two lists and four graphs. The rows below are collapsed; they
show why.
"""

from grafana_foundation_sdk.models import dashboard as model

from grafana.health_row import alerts_that_fire, monitoring_health
from grafana.layout import Row, build_dashboard, common_variables, flower_address, max_age
from grafana.panel_types import (
    COUNT,
    HALF,
    UP,
    UP_OR_DOWN,
    AnyPanel,
    Column,
    Link,
    PanelSpec,
    Query,
    lines,
    table,
    timelines,
)
from grafana.queries import (
    ADDED,
    IN_RANGE,
    NAMED,
    NO_DATA,
    WINDOW,
    durations,
    fresh,
    in_state,
    mean_duration,
    most,
    or_row,
    recorded,
    selector,
    tasks,
    tasks_by_name,
    workers,
)
from grafana.task_type_panels import STATE_COLOURS, TEN, by_type, links, ranking, to_flower, to_type
from grafana.tiles import WAIT_LIMIT, WAITS, alerts, failing, flowers, live_workers, throughput, waiting
from grafana.wrong_now import what_is_wrong_now
from push_job.flower.task import STATES

WAIT_THRESHOLDS = (("green", None), ("orange", WAIT_LIMIT / 5), ("red", WAIT_LIMIT))
"""Mean wait in seconds: red from the limit of the alert CeleryTasksWaitTooLong."""

WORKER_COLOURS = {"live": "green", "stopped": "red"}

DURATION = "celery_task_duration_seconds_by_state"
SUCCESS = in_state("SUCCESS")
FAILED = f"sum({tasks(in_state('FAILURE'))})"
FINISHED = f"sum({tasks(in_state('FAILURE', 'SUCCESS'))})"


def main_dashboard() -> model.Dashboard:
    """Return the dashboard "Celery by Flower"."""
    return build_dashboard(
        title="Celery by Flower",
        uid="celery-by-flower",
        description="Celery as Flower sees it, pushed by flower-push-job. Old data is hidden.",
        rows=[
            Row("", first_screen()),
            Row("Workers", _workers(), collapsed=True),
            Row("Waiting and running tasks", _waiting(), collapsed=True),
            Row("Failures", _failing(), collapsed=True),
            Row("Time spent", _time(), collapsed=True),
            Row("Monitoring health", monitoring_health(), collapsed=True),
        ],
        variables=[*common_variables(), max_age(), flower_address()],
    )


def first_screen() -> list[AnyPanel]:
    """Return the panels that fit on one screen.

    They are tiles, then two lists on the left and four graphs on the right.
    """
    return [
        alerts(),
        flowers(),
        live_workers(),
        waiting(),
        failing(),
        throughput(),
        what_is_wrong_now(),
        _finished_per_minute(),
        _failures_per_minute(),
        alerts_that_fire(),
        _waiting_now(),
        _live_and_stopped(),
    ]


def _small_graph(title: str, description: str, empty: str = NO_DATA) -> PanelSpec:
    return PanelSpec(title, description, COUNT, width=HALF // 2, height=8, empty=empty)


def _finished_per_minute() -> AnyPanel:
    spec = _small_graph(
        f"Finished per minute ({WINDOW} min)",
        f"Tasks that finished within {WINDOW} minutes, per minute, by state. It has a gap while Flower forgets tasks.",
    )
    rate = f"sum by (state) ({recorded(ADDED)}) / {WINDOW}"
    return lines(spec, Query(rate, "{{state}}"), colours=STATE_COLOURS)


def _failures_per_minute() -> AnyPanel:
    spec = _small_graph(
        f"Failures per minute ({WINDOW} min)",
        f"Tasks that failed within {WINDOW} minutes, per minute, for the five types with most failures in the range.",
        "nothing failed in this range",
    )
    failed = recorded(ADDED, in_state("FAILURE"))
    rate = f"sum by (task_type) ({failed}) / {WINDOW} and {most(5, failed, 'task_type')} > 0"
    to_pages = links("${__field.labels.task_type}", "FAILURE")
    return lines(spec, Query(rate, "{{task_type}}"), links=to_pages, failures=True)


def _waiting_now() -> AnyPanel:
    spec = _small_graph(
        "Waiting tasks",
        "The five types of which most tasks are sent or fetched and not started, and the three longest queues.",
        "nothing waits in this range",
    )
    waits = in_state("PENDING", "RECEIVED")
    family = selector("celery_task_types_by_state", 'task_type=~"$task_type"', waits)
    five = f"{most(5, family, 'task_type')} > 0"
    three = f"{most(3, selector('celery_queue_length'), 'queue')} > 0"
    return lines(
        spec,
        Query(f"sum by (task_type) ({tasks(waits)}) and {five}", "{{task_type}}"),
        Query(f"sum by (queue) ({fresh('celery_queue_length')}) and {three}", "queue {{queue}}"),
    )


def _live_and_stopped() -> AnyPanel:
    spec = _small_graph("Workers over time", "Live workers, and workers that stopped without shutting down.")
    stopped = f"count({fresh('celery_workers', NAMED, call='{} == 0')}) or 0 * sum({workers()})"
    return lines(spec, Query(f"sum({workers()})", "live"), Query(stopped, "stopped"), colours=WORKER_COLOURS)


def _workers() -> list[AnyPanel]:
    over_time = PanelSpec(
        "Each worker over time",
        "The 20 workers that changed most, of those that were up in the selected range. Grey: Flower was down or the "
        "data too old.",
        "none",
        width=14,
        height=12,
        thresholds=UP,
    )
    now = PanelSpec(
        "Workers now",
        "All workers that Flower knows, those that are down first.",
        "none",
        width=10,
        height=12,
        thresholds=UP,
    )
    family = selector("celery_workers", NAMED)
    was_up = f"max_over_time({family}{IN_RANGE}) > 0"
    changed = f"topk(20, max(changes({family}{IN_RANGE})) by (app) and max({was_up}) by (app))"
    timeline = f"max({workers(NAMED)} and {was_up}) by (app) and {changed}"
    here = "/d/celery-by-flower-in-depth?${__url_time_range}&${datasource:queryparam}&${job:queryparam}"
    to_worker = Link("Its graphs", f"{here}&var-worker=${{__value.raw}}")
    listed = [
        Column("app", "Worker", link=to_worker),
        Column("Value", "Now", width=70, texts=UP_OR_DOWN),
        Column("instance", "Flower", width=150),
    ]
    return [
        timelines(over_time, Query(or_row(timeline, "app", NO_DATA, -1), "{{app}}"), UP_OR_DOWN),
        table(now, Query(f"sort({workers(NAMED)})"), columns=listed, sorted_by="Now", descending=False),
    ]


def _waiting() -> list[AnyPanel]:
    waiting_longest = PanelSpec(
        "Waiting longest: PENDING, RECEIVED",
        "Mean wait of the tasks that are sent or fetched and not started, if at least one second. A task with an ETA "
        "counts from its ETA.",
        "s",
        width=HALF,
        height=9,
        thresholds=WAIT_THRESHOLDS,
        empty="nothing waits, or no fresh data",
    )
    running = PanelSpec(
        "Running longest: STARTED",
        "Mean time since the start of running tasks. Flower lists the tasks of a worker that stopped as STARTED until "
        "it drops them.",
        "s",
        width=HALF,
        height=9,
        empty="nothing runs, or no fresh data",
    )
    return [
        by_type("RECEIVED"),
        by_type("PENDING"),
        ranking(waiting_longest, f"{WAITS} >= 1", Column("state", "State", width=90)),
        ranking(running, f"{mean_duration(in_state('STARTED'))} > 0"),
        by_type("STARTED", wide=True),
    ]


def _failing() -> list[AnyPanel]:
    most_failures = PanelSpec(
        "Most failures",
        "Tasks in FAILURE and their share of the finished tasks, for all tasks in Flower's list.",
        COUNT,
        width=HALF,
        height=9,
    )
    worst = f"topk(15, {FAILED} by (task_type) > 0)"
    columns = [
        Column("task_type", "Task type", link=to_flower("${__value.raw}", "FAILURE"), short=True),
        Column("Value #A", "Failed", width=120, bar=True, thresholds=(("red", None),)),
        Column("Value #B", "Ratio", width=70, unit="percentunit"),
    ]
    share = f"{FAILED} by (task_type) / ({FINISHED} by (task_type) > 0) and {worst}"
    others = tasks(f'state!~"{"|".join(STATES)}"')
    other = Query(f"sum({others}) by (task_type, state)", "{{task_type}} {{state}}")
    counted = Query(or_row(worst, "task_type", "nothing failed, or no fresh data"))
    return [
        by_type("FAILURE"),
        table(most_failures, counted, Query(share), columns=columns, sorted_by="Failed"),
        by_type("RETRY"),
        by_type("REVOKED", other, title="REVOKED and other states"),
    ]


def _time() -> list[AnyPanel]:
    total_time = PanelSpec(
        "Total runtime by type",
        "Sum of the runtimes of the tasks in SUCCESS in Flower's list, which Celery reports only for SUCCESS." + TEN,
        "s",
        width=HALF,
        height=9,
    )
    mean = PanelSpec("Mean runtime by type", "Seconds per task in SUCCESS." + TEN, "s", width=HALF, height=9)
    family = selector(DURATION, 'name=~"$task_type"', SUCCESS)
    to_pages = links("${__field.labels.name}", "SUCCESS")
    ten = f"{most(10, family, 'name')} > 0"
    return [
        by_type("SUCCESS"),
        _work_per_second(),
        lines(total_time, Query(f"sum({durations(SUCCESS)}) by (name) and {ten}", "{{name}}"), links=to_pages),
        lines(mean, Query(f"{mean_duration(SUCCESS)} and {ten}", "{{name}}"), links=to_pages),
        _table_of_durations(),
    ]


def _work_per_second() -> AnyPanel:
    spec = PanelSpec(
        "Busy processes by type",
        f"Increase of the total runtime per second, within {WINDOW} minutes: approximately the number of processes "
        "that a type keeps busy. Types of which Flower forgot tasks are left out, because their total falls.",
        "none",
        width=HALF,
        height=9,
        empty=f"{NO_DATA}, or Flower forgets tasks",
    )
    # The sum is a gauge, for which Prometheus 3 warns about rate. The slope is the same while it does not fall.
    matchers = 'name=~"$task_type"', SUCCESS
    fell = f"resets({selector(DURATION)}[{WINDOW}m]) > 0"
    slope = f"deriv({selector(DURATION, *matchers)}[{WINDOW}m]) and {durations(SUCCESS)} unless {fell}"
    fifteen = most(15, selector(DURATION, *matchers), "name")
    query = Query(f"sum({slope}) by (name) and {fifteen}", "{{name}}")
    return lines(spec, query, links=links("${__field.labels.name}", "SUCCESS"))


def _table_of_durations() -> AnyPanel:
    spec = PanelSpec(
        "Runtime of every type",
        "Every task type of every Flower. Click a heading to sort.",
        "s",
        width=24,
        height=10,
    )
    by = "job, instance, name"
    columns = [
        Column("name", "Task type", link=to_type("${__value.raw}")),
        Column("Value #A", "Total", width=100),
        Column("Value #B", "Tasks", width=100, unit=COUNT),
        Column("Value #C", "Mean", width=100),
        Column("instance", "Flower", width=180),
        Column("job", "Job", width=120),
    ]
    total = f"sort_desc(sum({durations(SUCCESS)}) by ({by}))"
    return table(
        spec,
        Query(or_row(total, "name", "nothing succeeded, or no fresh data")),
        Query(f"{tasks_by_name(SUCCESS, by)} > 0"),
        Query(mean_duration(SUCCESS, by)),
        columns=columns,
        sorted_by="Total",
    )
