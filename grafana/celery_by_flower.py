"""The main dashboard, in the order a person on call reads: is it broken, what is, since when, is it true."""

from grafana_foundation_sdk.models import dashboard as model

from grafana.frame import Row, common_variables, framed, one_of, time_variables
from grafana.panels import (
    UP,
    About,
    AnyPanel,
    Query,
    bars,
    coloured,
    column,
    lines,
    numbers,
    rows,
    timelines,
    two_values,
)
from grafana.queries import (
    CHOSEN,
    STATES,
    age,
    durations,
    fresh,
    fresh_window,
    in_state,
    mean_duration,
    selector,
    tasks,
    tasks_by_name,
    workers,
)

WHAT_A_STATE_MEANS = {
    "FAILURE": "Tasks that raised an exception, as far back as Flower remembers. A rising line fails now; a "
    "level one is history.",
    "RETRY": "Tasks that failed and wait for their next try.",
    "RECEIVED": "Tasks that a worker has fetched and not begun. Climbing: workers are too slow, too few or "
    "stuck. Tasks of a worker that died stay here until Flower forgets them.",
    "STARTED": "Tasks that run now. Tasks of a worker that died stay here until Flower forgets them.",
    "PENDING": "Tasks that were sent and that no worker has fetched. Flower knows of them only if the "
    "senders have task_send_sent_event on; otherwise this is 0.",
    "REVOKED": "Tasks that were cancelled, or that expired before they began.",
    "SUCCESS": "Tasks that finished, as far back as Flower remembers. It stops climbing when nothing gets "
    "done, and falls when a full Flower forgets its oldest tasks.",
}
"""Each state's graph; first what may need a hand."""

SLOW = (("green", None), ("orange", 60.0), ("red", 300.0))
"""Seconds that tasks wait on average: red where the alert CeleryTasksWaitTooLong begins."""

EACH_FLOWER = "{{job}} {{instance}}"


def celery_by_flower() -> model.Dashboard:
    """The dashboard "Celery by Flower"."""
    states = f"label_values(celery_task_types_by_state{{{CHOSEN}}}, state)"
    return framed(
        title="Celery by Flower",
        uid="celery-by-flower",
        description="Celery as Flower sees it, pushed by flower-push-job. Data that is too old is hidden.",
        rows=[
            Row("", _at_a_glance()),
            Row("Tasks by type, one graph a state", _tasks_by_type()),
            Row("Durations of the tasks in state $state", _durations()),
            Row("Workers", _workers()),
            Row("The push itself", _push()),
        ],
        variables=[*common_variables(), one_of("state", "State", states, "SUCCESS"), *time_variables()],
    )


def _at_a_glance() -> list[AnyPanel]:
    live = About(
        "Live workers",
        "Workers whose heartbeats Flower sees. Two Flowers on one broker each count the same workers: choose one.",
        "none",
        width=4,
        height=5,
        steps=UP,
    )
    in_flight = About(
        "Tasks in flight",
        "Tasks that are sent, fetched, running or waiting for a retry: PENDING, RECEIVED, STARTED and RETRY.",
        "short",
        width=4,
        height=5,
    )
    ratio = About(
        "Failure ratio",
        "FAILURE / (FAILURE + SUCCESS) of the tasks that Flower remembers, not of the last minutes. 0 while "
        "nothing has finished. Red where the alert CeleryFailureRatioHigh begins.",
        "percentunit",
        width=4,
        height=5,
        steps=(("green", None), ("orange", 0.05), ("red", 0.1)),
    )
    old = About(
        "Age of the data",
        "Time since each group's last push. Red: older than the limit chosen above, so that every other "
        "panel hides this Flower. Nothing pushes any more: look at the CronJob, or at push-job run.",
        "s",
        width=6,
        height=5,
    )
    up = About(
        "Each Flower",
        "Down: the last push could not scrape this Flower, and its graphs have a gap. Missing: its data is too old.",
        "none",
        width=6,
        height=5,
        steps=UP,
    )
    unfinished = tasks(in_state("PENDING", "RECEIVED", "STARTED", "RETRY"))
    finished, failed = tasks(in_state("FAILURE", "SUCCESS")), tasks(in_state("FAILURE"))
    ages = numbers(
        old,
        Query(age("< $max_age"), EACH_FLOWER),
        Query(age(">= $max_age"), f"HIDDEN {EACH_FLOWER}"),
        named=True,
    )
    return [
        numbers(live, Query(f"sum({workers()})")),
        numbers(in_flight, Query(f"sum({unfinished})"), filled=False),
        numbers(ratio, Query(f"sum({failed}) / (sum({finished}) > 0) or 0 * sum({finished})")),
        coloured(ages, "green", "red"),
        two_values(numbers(up, Query(fresh("flower_up"), EACH_FLOWER), named=True), "Up", "Down"),
    ]


def _tasks_by_type() -> list[AnyPanel]:
    panels: list[AnyPanel] = []
    for state, meaning in WHAT_A_STATE_MEANS.items():
        query = Query(f"sum({tasks(in_state(state))}) by (task_type)", "{{task_type}}")
        panels.append(lines(About(state, meaning, "short", width=6, height=8), query))
    others = tasks(f'state!~"{"|".join(STATES)}"')
    meaning = "REJECTED, and states that your own events make. Empty where there are none."
    query = Query(f"sum({others}) by (task_type, state)", "{{task_type}} {{state}}")
    return [*panels, lines(About("Other states", meaning, "short", width=6, height=8), query)]


def _durations() -> list[AnyPanel]:
    by_name = About(
        "Duration by name: $state",
        "Seconds, summed over the tasks that Flower remembers in this state. Finished tasks: the runtime. "
        "Others: how long each has been in the state.",
        "s",
        width=12,
        height=9,
    )
    mean = About("Mean duration by type: $state", "Those seconds by their tasks.", "s", width=12, height=9)
    top = About("Top 15 by duration: $state", "Where the time goes: seconds, summed.", "s", width=8, height=10)
    waiting = About(
        "Waiting longest: PENDING, RECEIVED",
        "Mean wait of the tasks that are sent or fetched and not begun. A task with an ETA waits from its ETA on.",
        "s",
        width=8,
        height=10,
        steps=SLOW,
    )
    running = About("Running longest: STARTED", "Mean time that running tasks run.", "s", width=8, height=10)
    chosen = 'state="$state"'
    waits = mean_duration(in_state("PENDING", "RECEIVED"), by="name, state")
    return [
        lines(by_name, Query(durations(chosen), "{{name}}")),
        lines(mean, Query(mean_duration(chosen), "{{name}}")),
        bars(top, Query(f"topk(15, sum({durations(chosen)}) by (name))", "{{name}}")),
        bars(waiting, Query(f"topk(15, {waits})", "{{name}} {{state}}")),
        bars(running, Query(f"topk(15, {mean_duration(in_state('STARTED'))})", "{{name}}")),
        _work_per_second(chosen),
        _table_of_durations(chosen),
    ]


def _work_per_second(chosen: str) -> AnyPanel:
    about = About(
        "Work per second over $TIME_FRAME: $state",
        "Seconds of duration gained per second; for SUCCESS, about how many processes a type keeps busy. "
        "When a full Flower forgets tasks the sum falls, which a rate takes for a restart: a type that fell "
        "within the window is left out. Rates that never need this are on the in-depth dashboard.",
        "none",
        width=10,
        height=10,
    )
    family = "celery_task_duration_seconds_by_state"
    rate = fresh_window("rate", family, 'name=~"$task_type"', chosen)
    fell = f"resets({selector(family)}[$TIME_FRAME]) > 0"
    return lines(about, Query(f"topk(15, sum({rate} unless {fell}) by (name))", "{{name}}"))


def _table_of_durations(chosen: str) -> AnyPanel:
    about = About(
        "By duration: $state",
        "Each task type of each Flower. Click a heading to sort by it.",
        "s",
        width=14,
        height=10,
    )
    by = "job, instance, name"
    panel = rows(
        about,
        Query(f"sort_desc(sum({durations(chosen)}) by ({by}))"),
        Query(f"{tasks_by_name(chosen, by)} > 0"),
        Query(mean_duration(chosen, by)),
        columns={
            "name": "Name",
            "Value #A": "In all",
            "Value #B": "Tasks",
            "Value #C": "Mean",
            "instance": "Flower",
            "job": "Job",
        },
        sorted_by="In all",
    )
    return column(panel, "Tasks", unit="short")


def _workers() -> list[AnyPanel]:
    over_time = About(
        "Workers over time",
        "Each worker that was up at some time of the shown range. A gap: Flower was down, or the data too old.",
        "none",
        width=16,
        height=10,
        steps=UP,
    )
    now = About(
        "Workers now",
        "Each worker that Flower knows, those that are down first. One that went away stays until Flower restarts.",
        "none",
        width=8,
        height=10,
        steps=UP,
    )
    named = 'app!=""'
    was_up = f"max_over_time({selector('celery_workers', named)}[$__range] @ end()) > 0"
    timeline = timelines(over_time, Query(f"max({workers(named)} and {was_up}) by (app)", "{{app}}"))
    listed = rows(
        now,
        Query(f"sort({workers(named)})"),
        columns={"app": "Worker", "Value": "Now", "instance": "Flower"},
        sorted_by="Now",
        falling=False,
    )
    in_colour = {"custom.displayMode": "color-text"}
    return [two_values(timeline, "Up", "Down"), column(two_values(listed, "Up", "Down"), "Now", **in_colour)]


def _push() -> list[AnyPanel]:
    over_time = About(
        "Age of the data over time",
        "A saw: it climbs until the next push. Not hidden when old, so that it tells since when.",
        "s",
        width=8,
        height=7,
    )
    scrape = About(
        "Time a scrape takes",
        "Time that the job needs to read this Flower. Near --timeout or --deadline it will fail soon: give "
        "Flower more CPU or a smaller --max-tasks.",
        "s",
        width=8,
        height=7,
    )
    remembered = About(
        "Tasks that Flower remembers",
        "How many tasks the other panels stand on. Level at Flower's --max-tasks: it forgets the oldest.",
        "short",
        width=8,
        height=7,
    )
    return [
        lines(over_time, Query(age(), EACH_FLOWER)),
        lines(scrape, Query(fresh("flower_scrape_duration_seconds"), EACH_FLOWER)),
        lines(remembered, Query(fresh("flower_scrape_tasks"), EACH_FLOWER)),
    ]
