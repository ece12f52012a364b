"""The main dashboard, "Celery by Flower".

Its rows are in the order in which a person on call needs them: alerts and Flowers, workers, waiting tasks, failures,
time spent, pushes.
"""

from grafana_foundation_sdk.models import dashboard as model

from grafana.alert_limits import alert_limit
from grafana.health_row import (
    ALERTS_AND_FLOWERS,
    EACH_FLOWER,
    UP_OR_DOWN,
    alerts_that_fire,
    each_flower,
    flowers,
    live_workers,
)
from grafana.layout import Row, build_dashboard, common_variables, flower_address, one_of, time_variables
from grafana.panel_types import (
    HALF,
    SECONDS,
    TILE,
    UP,
    AnyPanel,
    Column,
    Link,
    PanelSpec,
    Query,
    lines,
    number_with_graph,
    table,
    timelines,
)
from grafana.queries import (
    CHOSEN,
    IN_RANGE,
    age,
    durations,
    fresh,
    fresh_window,
    in_state,
    mean_duration,
    most,
    or_unknown,
    selector,
    tasks,
    tasks_by_name,
    workers,
)
from grafana.task_type_panels import TEN, by_type, links, ranking, to_depth, to_flower
from push_job.flower.task import STATES

_WAIT_LIMIT = alert_limit("CeleryTasksWaitTooLong")
WAIT_THRESHOLDS = (("green", None), ("orange", _WAIT_LIMIT / 5), ("red", _WAIT_LIMIT))
"""Mean wait in seconds: red from the limit of the alert CeleryTasksWaitTooLong."""

_FAILURE_LIMIT = alert_limit("CeleryFailureRatioHigh")
FAILURE_THRESHOLDS = (("green", None), ("orange", _FAILURE_LIMIT / 2), ("red", _FAILURE_LIMIT))
"""Ratio of failed tasks: red from the limit of the alert CeleryFailureRatioHigh."""

UNFINISHED = in_state("PENDING", "RECEIVED", "STARTED", "RETRY")
WAITS = mean_duration(in_state("PENDING", "RECEIVED"), by="name, state")
FAILED = f"sum({tasks(in_state('FAILURE'))})"
FINISHED = f"sum({tasks(in_state('FAILURE', 'SUCCESS'))})"
OF_CHOSEN_STATE = 'state="$state"'
DURATION = "celery_task_duration_seconds_by_state"


def main_dashboard() -> model.Dashboard:
    """Return the dashboard "Celery by Flower"."""
    states = f"label_values(celery_task_types_by_state{{{CHOSEN}}}, state)"
    return build_dashboard(
        title="Celery by Flower",
        uid="celery-by-flower",
        description="Celery as Flower sees it, pushed by flower-push-job. Old data is hidden.",
        rows=[
            Row("", _at_a_glance()),
            Row(ALERTS_AND_FLOWERS, [alerts_that_fire(), each_flower()]),
            Row("Workers", _workers()),
            Row("Waiting tasks", _waiting()),
            Row("Failures", _failing()),
            Row("Time spent", _time()),
            Row("Pushes", _push(), collapsed=True),
        ],
        variables=[
            *common_variables(),
            one_of("state", "State", states, "SUCCESS"),
            *time_variables(),
            flower_address(),
        ],
    )


def _at_a_glance() -> list[AnyPanel]:
    in_flight = PanelSpec(
        "Tasks in flight",
        "Unfinished tasks: PENDING, RECEIVED, STARTED and RETRY.",
        "short",
        width=TILE,
        height=5,
    )
    wait = PanelSpec(
        "Longest mean wait",
        "The highest mean wait of a task type, for tasks that are sent or fetched and not started. Red from the "
        "limit of the alert CeleryTasksWaitTooLong.",
        "s",
        width=TILE,
        height=5,
        thresholds=WAIT_THRESHOLDS,
    )
    ratio = PanelSpec(
        "Failure ratio",
        "FAILURE / (FAILURE + SUCCESS) of all tasks in Flower's list, not only recent ones. 0 if no task has "
        "finished. Red from the limit of the alert CeleryFailureRatioHigh.",
        "percentunit",
        width=TILE,
        height=5,
        thresholds=FAILURE_THRESHOLDS,
    )
    none_waits = f"0 * count({fresh('flower_up', call='{} == 1')})"
    share = f"{FAILED} / ({FINISHED} > 0) or 0 * {FINISHED}"
    return [
        *flowers(),
        live_workers(),
        number_with_graph(in_flight, Query(or_unknown(f"sum({tasks(UNFINISHED)})"))),
        number_with_graph(wait, Query(or_unknown(f"max({WAITS}) or {none_waits}"))),
        number_with_graph(ratio, Query(or_unknown(share))),
    ]


def _workers() -> list[AnyPanel]:
    over_time = PanelSpec(
        "Workers over time",
        "The 20 workers that changed most, of those that were up in the selected range. A gap means that Flower was "
        "down or the data too old.",
        "none",
        width=14,
        height=12,
        thresholds=UP,
        empty="no worker was up in this range",
    )
    now = PanelSpec(
        "Workers now",
        "All workers that Flower knows, those that are down first.",
        "none",
        width=10,
        height=12,
        thresholds=UP,
    )
    named = 'app!=""'
    family = selector("celery_workers", named)
    was_up = f"max_over_time({family}{IN_RANGE}) > 0"
    changed = f"topk(20, max(changes({family}{IN_RANGE})) by (app) and max({was_up}) by (app))"
    timeline = Query(f"max({workers(named)} and {was_up}) by (app) and {changed}", "{{app}}")
    here = "/d/celery-by-flower-in-depth?${__url_time_range}&${datasource:queryparam}&${job:queryparam}"
    to_worker = Link("Its graphs", f"{here}&var-worker=${{__value.raw}}")
    listed = [
        Column("app", "Worker", link=to_worker),
        Column("Value", "Now", width=70, texts=UP_OR_DOWN),
        Column("instance", "Flower", width=150),
    ]
    return [
        timelines(over_time, timeline, UP_OR_DOWN),
        table(now, Query(f"sort({workers(named)})"), columns=listed, sorted_by="Now", descending=False),
    ]


def _waiting() -> list[AnyPanel]:
    waiting = PanelSpec(
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
        "Mean time since the start of running tasks.",
        "s",
        width=HALF,
        height=9,
        empty="nothing runs, or no fresh data",
    )
    runs = f"{mean_duration(in_state('STARTED'))} > 0"
    return [
        by_type("RECEIVED"),
        by_type("PENDING"),
        ranking(waiting, f"{WAITS} >= 1", Column("state", "State", width=90)),
        ranking(running, runs),
    ]


def _failing() -> list[AnyPanel]:
    failing = PanelSpec(
        "Most failures",
        "Tasks in FAILURE and their share of the finished tasks, for all tasks in Flower's list.",
        "short",
        width=HALF,
        height=9,
        empty="nothing failed, or no fresh data",
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
    return [
        by_type("FAILURE"),
        table(failing, Query(worst), Query(share), columns=columns, sorted_by="Failed"),
        by_type("RETRY"),
        by_type("REVOKED", other, title="REVOKED and other states"),
    ]


def _time() -> list[AnyPanel]:
    measured = (
        "Finished tasks: the runtime, which Celery reports only for SUCCESS. Unfinished tasks: the time in the state."
    )
    by_name = PanelSpec(
        "Duration by name: $state",
        f"Sum of the seconds of the tasks in this state. {measured}{TEN}",
        SECONDS,
        width=HALF,
        height=9,
        empty="no durations in this state",
    )
    mean = PanelSpec(
        "Mean duration by type: $state",
        f"Seconds per task in this state. {measured}{TEN}",
        SECONDS,
        width=HALF,
        height=9,
        empty="no durations in this state",
    )
    top = PanelSpec("Top 15 by duration: $state", "Sum of the seconds.", "s", width=HALF, height=9)
    family = selector(DURATION, 'name=~"$task_type"', OF_CHOSEN_STATE)
    to_type = links("${__field.labels.name}", "${state}")
    total = f"sum({durations(OF_CHOSEN_STATE)}) by (name)"
    ten = f"{most(10, family, 'name')} > 0"
    return [
        by_type("STARTED"),
        by_type("SUCCESS"),
        lines(by_name, Query(f"{total} and {ten}", "{{name}}"), links=to_type),
        lines(mean, Query(f"{mean_duration(OF_CHOSEN_STATE)} and {ten}", "{{name}}"), links=to_type),
        ranking(top, total),
        _work_per_second(),
        _table_of_durations(),
    ]


def _work_per_second() -> AnyPanel:
    spec = PanelSpec(
        "Work per second: SUCCESS",
        "Increase of the summed runtime per second of the selected window: approximately the number of processes "
        "that a type keeps busy. When a full Flower drops tasks, the sum falls, and rate would be wrong; such types "
        "are left out. The in-depth dashboard has rates of counters.",
        "none",
        width=HALF,
        height=9,
    )
    success = in_state("SUCCESS")
    rate = fresh_window("rate", DURATION, 'name=~"$task_type"', success)
    decreased = f"resets({selector(DURATION)}[$TIME_FRAME]) > 0"
    fifteen = most(15, selector(DURATION, 'name=~"$task_type"', success), "name")
    query = Query(f"sum({rate} unless {decreased}) by (name) and {fifteen}", "{{name}}")
    return lines(spec, query, links=links("${__field.labels.name}", "SUCCESS"))


def _table_of_durations() -> AnyPanel:
    spec = PanelSpec(
        "By duration: $state",
        "Every task type of every Flower. Click a heading to sort.",
        "s",
        width=24,
        height=10,
    )
    by = "job, instance, name"
    columns = [
        Column("name", "Task type", link=to_depth("${__value.raw}")),
        Column("Value #A", "Total", width=100),
        Column("Value #B", "Tasks", width=80, unit="short"),
        Column("Value #C", "Mean", width=100),
        Column("instance", "Flower", width=180),
        Column("job", "Job", width=120),
    ]
    return table(
        spec,
        Query(f"sort_desc(sum({durations(OF_CHOSEN_STATE)}) by ({by}))"),
        Query(f"{tasks_by_name(OF_CHOSEN_STATE, by)} > 0"),
        Query(mean_duration(OF_CHOSEN_STATE, by)),
        columns=columns,
        sorted_by="Total",
    )


def _push() -> list[AnyPanel]:
    over_time = PanelSpec(
        "Age of the data over time",
        "Rises until the next push. Not hidden when old, so that it shows since when pushes are missing.",
        SECONDS,
        width=HALF,
        height=8,
        empty="nothing was pushed in this range",
    )
    scrape = PanelSpec(
        "Scrape duration",
        "Time that the job needs to scrape this Flower. If it approaches --timeout or --deadline, give Flower more "
        "CPU or a smaller --max-tasks.",
        SECONDS,
        width=HALF,
        height=8,
    )
    listed = PanelSpec(
        "Tasks in Flower's list",
        "Number of tasks that the other panels cover. If it stays at Flower's --max-tasks, Flower drops the oldest "
        "tasks.",
        "short",
        width=24,
        height=8,
    )
    return [
        lines(over_time, Query(age(), EACH_FLOWER)),
        lines(scrape, Query(fresh("flower_scrape_duration_seconds"), EACH_FLOWER)),
        lines(listed, Query(fresh("flower_scrape_tasks"), EACH_FLOWER)),
    ]
