"""The main dashboard, in the order a person on call reads: is the watching sound, are workers there, is work waiting,
is it failing, where does the time go.
"""

from grafana_foundation_sdk.models import dashboard as model

from grafana.by_type import TEN, by_type, links, ranking, to_depth, to_flower
from grafana.frame import Row, common_variables, flower_address, framed, one_of, time_variables
from grafana.panels import (
    HALF,
    SECONDS,
    TILE,
    UP,
    About,
    AnyPanel,
    Column,
    Link,
    Query,
    lines,
    spark,
    table,
    timelines,
)
from grafana.queries import (
    CHOSEN,
    IN_RANGE,
    STATES,
    age,
    durations,
    fresh,
    fresh_window,
    in_state,
    mean_duration,
    most,
    or_nobody_knows,
    selector,
    tasks,
    tasks_by_name,
    workers,
)
from grafana.sound import EACH_FLOWER, IS_IT_SOUND, UP_OR_DOWN, alerts_that_fire, each_flower, flowers, live_workers

SLOW = (("green", None), ("orange", 60.0), ("red", 300.0))
"""Seconds that tasks wait on average: red where the alert CeleryTasksWaitTooLong begins."""

FAILING = (("green", None), ("orange", 0.05), ("red", 0.1))
"""Shares of failed tasks: red where the alert CeleryFailureRatioHigh begins."""

UNFINISHED = in_state("PENDING", "RECEIVED", "STARTED", "RETRY")
WAITS = mean_duration(in_state("PENDING", "RECEIVED"), by="name, state")
FAILED = f"sum({tasks(in_state('FAILURE'))})"
FINISHED = f"sum({tasks(in_state('FAILURE', 'SUCCESS'))})"
OF_CHOSEN_STATE = 'state="$state"'
DURATION = "celery_task_duration_seconds_by_state"


def celery_by_flower() -> model.Dashboard:
    """The dashboard "Celery by Flower"."""
    states = f"label_values(celery_task_types_by_state{{{CHOSEN}}}, state)"
    return framed(
        title="Celery by Flower",
        uid="celery-by-flower",
        description="Celery as Flower sees it, pushed by flower-push-job. Data that is too old is hidden.",
        rows=[
            Row("", _at_a_glance()),
            Row(IS_IT_SOUND, [alerts_that_fire(), each_flower()]),
            Row("Are workers there?", _workers()),
            Row("Is work waiting, and for how long?", _waiting()),
            Row("Is it failing: what, since when?", _failing()),
            Row("Where does the time go?", _time()),
            Row("The push itself", _push(), collapsed=True),
        ],
        variables=[
            *common_variables(),
            one_of("state", "State", states, "SUCCESS"),
            *time_variables(),
            flower_address(),
        ],
    )


def _at_a_glance() -> list[AnyPanel]:
    in_flight = About(
        "Tasks in flight",
        "Tasks that are sent, fetched, running or waiting for a retry: PENDING, RECEIVED, STARTED and RETRY.",
        "short",
        width=TILE,
        height=5,
    )
    wait = About(
        "Longest mean wait",
        "Mean wait of the tasks that are sent or fetched and not begun, of the type that waits longest.",
        "s",
        width=TILE,
        height=5,
        steps=SLOW,
    )
    ratio = About(
        "Failure ratio",
        "FAILURE / (FAILURE + SUCCESS) of the tasks that Flower remembers, not of the last minutes. 0 while "
        "nothing has finished. Red where the alert CeleryFailureRatioHigh begins.",
        "percentunit",
        width=TILE,
        height=5,
        steps=FAILING,
    )
    none_waits = f"0 * count({fresh('flower_up', call='{} == 1')})"
    share = f"{FAILED} / ({FINISHED} > 0) or 0 * {FINISHED}"
    return [
        *flowers(),
        live_workers(),
        spark(in_flight, Query(or_nobody_knows(f"sum({tasks(UNFINISHED)})"))),
        spark(wait, Query(or_nobody_knows(f"max({WAITS}) or {none_waits}"))),
        spark(ratio, Query(or_nobody_knows(share))),
    ]


def _workers() -> list[AnyPanel]:
    over_time = About(
        "Workers over time",
        "The 20 workers that changed most of those that were up at some time of the shown range. A gap: Flower was "
        "down, or the data too old.",
        "none",
        width=14,
        height=12,
        steps=UP,
        empty="no worker was up in this range",
    )
    now = About(
        "Workers now",
        "Each worker that Flower knows, those that are down first. One that went away stays until Flower restarts.",
        "none",
        width=10,
        height=12,
        steps=UP,
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
        Column("Value", "Now", width=70, words=UP_OR_DOWN),
        Column("instance", "Flower", width=150),
    ]
    return [
        timelines(over_time, timeline, UP_OR_DOWN),
        table(now, Query(f"sort({workers(named)})"), columns=listed, sorted_by="Now", falling=False),
    ]


def _waiting() -> list[AnyPanel]:
    waiting = About(
        "Waiting longest: PENDING, RECEIVED",
        "Mean wait of the tasks that are sent or fetched and not begun, from a second on. A task with an ETA waits "
        "from its ETA on.",
        "s",
        width=HALF,
        height=9,
        steps=SLOW,
        empty="nothing waits, or no fresh data",
    )
    running = About(
        "Running longest: STARTED",
        "Mean time that running tasks run.",
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
    failing = About(
        "Failed most",
        "Tasks in FAILURE, and their share of the finished ones, as far back as Flower remembers.",
        "short",
        width=HALF,
        height=9,
        empty="nothing failed, or no fresh data",
    )
    worst = f"topk(15, {FAILED} by (task_type) > 0)"
    columns = [
        Column("task_type", "Task type", link=to_flower("${__value.raw}", "FAILURE"), short=True),
        Column("Value #A", "Failed", width=120, bar=True, steps=(("red", None),)),
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
    measured = "Finished tasks: the runtime, reported for SUCCESS only. Others: how long each has been in the state."
    by_name = About(
        "Duration by name: $state",
        f"Seconds, summed over the tasks that Flower remembers in this state. {measured}{TEN}",
        SECONDS,
        width=HALF,
        height=9,
        empty="no durations in this state",
    )
    mean = About(
        "Mean duration by type: $state",
        f"Those seconds by their tasks. {measured}{TEN}",
        SECONDS,
        width=HALF,
        height=9,
        empty="no durations in this state",
    )
    top = About("Top 15 by duration: $state", "Seconds, summed.", "s", width=HALF, height=9)
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
    about = About(
        "Work per second: SUCCESS",
        "Seconds of runtime gained per second of the window chosen at the top: about how many processes a type keeps "
        "busy. When a full Flower forgets tasks the sum falls, which a rate takes for a restart: a type that fell "
        "within the window is left out. Rates that never need this are on the in-depth dashboard.",
        "none",
        width=HALF,
        height=9,
    )
    success = in_state("SUCCESS")
    rate = fresh_window("rate", DURATION, 'name=~"$task_type"', success)
    fell = f"resets({selector(DURATION)}[$TIME_FRAME]) > 0"
    fifteen = most(15, selector(DURATION, 'name=~"$task_type"', success), "name")
    query = Query(f"sum({rate} unless {fell}) by (name) and {fifteen}", "{{name}}")
    return lines(about, query, links=links("${__field.labels.name}", "SUCCESS"))


def _table_of_durations() -> AnyPanel:
    about = About(
        "By duration: $state",
        "Each task type of each Flower. Click a heading to sort by it.",
        "s",
        width=24,
        height=10,
    )
    by = "job, instance, name"
    columns = [
        Column("name", "Task type", link=to_depth("${__value.raw}")),
        Column("Value #A", "In all", width=100),
        Column("Value #B", "Tasks", width=80, unit="short"),
        Column("Value #C", "Mean", width=100),
        Column("instance", "Flower", width=180),
        Column("job", "Job", width=120),
    ]
    return table(
        about,
        Query(f"sort_desc(sum({durations(OF_CHOSEN_STATE)}) by ({by}))"),
        Query(f"{tasks_by_name(OF_CHOSEN_STATE, by)} > 0"),
        Query(mean_duration(OF_CHOSEN_STATE, by)),
        columns=columns,
        sorted_by="In all",
    )


def _push() -> list[AnyPanel]:
    over_time = About(
        "Age of the data over time",
        "A saw: it climbs until the next push. Not hidden when old, so that it tells since when.",
        SECONDS,
        width=HALF,
        height=8,
        empty="nothing was pushed in this range",
    )
    scrape = About(
        "Time a scrape takes",
        "Time that the job needs to read this Flower. Near --timeout or --deadline it will fail soon: give "
        "Flower more CPU or a smaller --max-tasks.",
        SECONDS,
        width=HALF,
        height=8,
    )
    remembered = About(
        "Tasks that Flower remembers",
        "How many tasks the other panels stand on. Level at Flower's --max-tasks: it forgets the oldest.",
        "short",
        width=24,
        height=8,
    )
    return [
        lines(over_time, Query(age(), EACH_FLOWER)),
        lines(scrape, Query(fresh("flower_scrape_duration_seconds"), EACH_FLOWER)),
        lines(remembered, Query(fresh("flower_scrape_tasks"), EACH_FLOWER)),
    ]
