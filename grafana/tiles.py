"""The tiles in the top row: each shows one text in green, orange, red or grey.

A tile has one query. Its result has a label `text` and a level as value (`grafana/queries.py`).
"""

from grafana.alert_limits import alert_limit
from grafana.panel_types import TILE, AnyPanel, PanelSpec, tile
from grafana.queries import (
    ADDED,
    BAD,
    FAILED,
    FINISHED,
    NAMED,
    RULES_ARE_LOADED,
    WINDOW,
    added_since,
    age,
    first_of,
    flowers_up,
    fresh,
    in_state,
    joined,
    labelled,
    mean_duration,
    missing,
    or_odd_if_missing,
    or_unknown,
    recorded,
    reworded,
    selector,
    tasks,
    with_numbers,
    workers,
)
from push_job.explain.rules.failing import FAILURE_MINIMUM, FAILURES_OF_A_TYPE

WAIT_LIMIT = alert_limit("CeleryTasksWaitTooLong")
FAILURE_LIMIT = alert_limit("CeleryFailureRatioHigh")

WAITS = mean_duration(in_state("PENDING", "RECEIVED"), by="name, state")
NO_CONSUMER = (
    f"{fresh('celery_queue_length', call='{} > 0')} and {fresh('celery_queue_consumers', call='{} == 0')}"
    f" or {fresh('celery_queue_orphaned_tasks', call='{} > 0')}"
)
"""Queues in which tasks wait and that no live worker consumes."""

SUCCEEDED = "instance_type:celery_tasks_succeeded:sum"


def _tile(title: str, description: str, query: str) -> AnyPanel:
    return tile(PanelSpec(title, description, "none", width=TILE, height=4), or_unknown(query))


def firing(*matchers: str) -> str:
    """Return the firing alerts about the selected jobs and Flowers.

    Alerts about the Pushgateway are included.
    """
    more = "".join(f", {matcher}" for matcher in matchers)
    return (
        f'ALERTS{{alertstate="firing", alertname=~"(Celery|Flower).+", job=~"$job|", instance=~"$instance|"{more}}} '
        f'or ALERTS{{alertstate="firing", alertname=~"Pushgateway.+"{more}}}'
    )


def alerts() -> AnyPanel:
    """Return the tile with the number of firing alerts."""
    critical, every = (f"count({firing(*matcher)})" for matcher in (['severity="critical"'], []))
    level = f"(clamp_max({critical}, 1) + 1 or 0 * {every} + 1)"
    none = labelled(f"0 * count({RULES_ARE_LOADED})", text="none")
    return _tile(
        "Alerts",
        "Green: no alert fires. Orange: warnings fire. Red: a critical alert fires. Grey: Prometheus has not loaded "
        "the rules, or there is no fresh data.",
        first_of(with_numbers(level, text=every), none, labelled("vector(-1)", text="not known")),
    )


def flowers() -> AnyPanel:
    """Return the tile with the number of Flowers that have fresh data."""
    every = f"count({age()})"
    level = f"({BAD} * (count({missing()}) > bool 0) or 0 * {every})"
    numbers = with_numbers(level, seen=f"({flowers_up()} or 0 * {every})", all=every)
    return _tile(
        "Flowers",
        "Green: every Flower has fresh data. Red: a Flower is down or its data is too old, and the other panels "
        "exclude it. Grey: nothing was pushed.",
        first_of(joined(numbers, " of ", "seen", "all"), labelled("vector(-1)", text="nothing pushed")),
    )


def live_workers() -> AnyPanel:
    """Return the tile with the live workers of all known ones."""
    live = f"sum({workers()})"
    every = f"(count({workers(NAMED)}) or 0 * {live})"
    level = or_odd_if_missing(f"clamp_max(({live} < bool {every}) + {BAD} * ({live} == bool 0), {BAD})")
    numbers = joined(with_numbers(level, live=live, all=every), " of ", "live", "all")
    return _tile(
        "Workers",
        "Green: every known worker is live. Orange: a worker stopped sending heartbeats, or a Flower is missing. Red: "
        "no worker is live.",
        reworded(numbers, "0 of 0", "none"),
    )


def waiting_count() -> str:
    """Return the number of waiting tasks.

    Queues contain the PENDING ones, and others that sent no event.
    """
    queued, sent = f"sum({fresh('celery_queue_length')})", f"sum({tasks(in_state('PENDING'))})"
    return f"(sum({tasks(in_state('RECEIVED'))}) + ({sent} > {queued} or {queued} or {sent}) or 0 * {flowers_up()})"


def waiting() -> AnyPanel:
    """Return the tile with the number of waiting tasks and the longest mean wait."""
    wait = f"(max({WAITS}) or 0 * {flowers_up()})"
    no_consumer = f"(count({NO_CONSUMER}) > bool 0 or vector(0))"
    level = f"({wait} >= bool {WAIT_LIMIT / 5:g}) + ({wait} >= bool {WAIT_LIMIT:g}) + {BAD} * {no_consumer}"
    numbers = with_numbers(
        or_odd_if_missing(f"clamp_max({level}, {BAD})"), tasks=waiting_count(), minutes=f"floor({wait} / 60)"
    )
    text = reworded(joined(numbers, ", ", "tasks", "minutes"), "(.*)", "$1 min")
    return _tile(
        "Waiting",
        "Tasks that are sent or fetched and not started, and the longest mean wait of a type. Green: less than "
        f"{WAIT_LIMIT / 5:g} s. Orange: from {WAIT_LIMIT / 5:g} s, or a Flower is missing. Red: from {WAIT_LIMIT:g} s, "
        "or no worker consumes a queue with tasks.",
        reworded(reworded(text, "(.*), 0 min", "$1"), "0", "none"),
    )


def failing_types() -> str:
    """Return the types that fail more often than half the limit.

    The value is the number of recent failures.
    """
    failed, finished = recorded(FAILED), recorded(FINISHED)
    return f"{failed} >= {FAILURES_OF_A_TYPE} and {failed} / {finished} > {FAILURE_LIMIT / 2:g}"


def failing_types_for_sure() -> str:
    """Return the types that fail more often than the limit for certain.

    Enough of their tasks have finished.
    """
    finished = f"({recorded(FINISHED)} >= {FAILURE_MINIMUM})"
    return f"{recorded(FAILED)} / {finished} > {FAILURE_LIMIT:g}"


def failing() -> AnyPanel:
    """Return the tile with the number of task types that fail now."""
    known = f"0 * count({recorded('instance:celery_workers:sum')})"
    odd, bad, every = (
        f"(count(count by (task_type) ({types})) or {known})"
        for types in (failing_types(), failing_types_for_sure(), recorded(FINISHED))
    )
    level = or_odd_if_missing(f"({odd} > bool 0) + ({bad} > bool 0)")
    numbers = joined(with_numbers(level, bad=odd, all=every), " of ", "bad", "all")
    return _tile(
        f"Failing now ({WINDOW} min)",
        f"Task types that fail. Green: at most {FAILURE_LIMIT / 2:.0%} of the tasks of each type that finished within "
        f"{WINDOW} minutes. Orange: more, or a Flower is missing. Red: more than {FAILURE_LIMIT:.0%} of at least "
        f"{FAILURE_MINIMUM} tasks. Of a full Flower, it covers all tasks in its list.",
        first_of(
            reworded(reworded(numbers, "(.*)", "$1 types"), "0 of .*", "none"),
            labelled(f"0 * {flowers_up()} - 1", text="rules not loaded"),
        ),
    )


def finished_per_minute(offset: str = "") -> str:
    """Return the tasks that finished per minute, within the window.

    The counts of a full Flower do not show it, the workers' own counts (`--with activity`) do.
    """
    moved = f" {offset}" if offset else ""
    added = f"{recorded(ADDED, in_state('FAILURE', 'SUCCESS'))}{moved}"
    known = f"{recorded(ADDED, in_state('SUCCESS'))}{moved}"
    types = f"{recorded(SUCCEEDED)}{moved}"
    counted = f"sum({added}) unless on () ({types} unless ignoring (state) {known})"
    no_task = f"0 * count({recorded('instance:celery_workers:sum')}{moved}) unless on () {types}"
    processed = added_since("celery_worker_processed_tasks", offset=offset)
    by_workers = f"sum({processed} and {fresh('celery_worker_processed_tasks')})"
    return f"({counted} or {by_workers} or {no_task}) / {WINDOW}"


def throughput() -> AnyPanel:
    """Return the tile with the tasks that finish per minute, now and an hour ago."""
    now, before = finished_per_minute(), finished_per_minute("offset 1h")
    fell = f"({now} < bool 0.5 * (({before}) >= 1) or 0 * ({now}))"
    stuck = f"{BAD} * (({now}) == bool 0) * ({waiting_count()} > bool 0)"
    numbers = with_numbers(
        or_odd_if_missing(f"clamp_max({fell} + {stuck}, {BAD})"),
        now=f"round({now}, 0.1)",
        before=f"(round({before}, 0.1) or vector(-1))",
    )
    text = reworded(joined(numbers, " ", "now", "before"), "(.*) (.*)", "$1/min, was $2")
    return _tile(
        f"Throughput ({WINDOW} min)",
        "Tasks that finished per minute, now and an hour ago. Green: at least half of an hour ago. Orange: less. Red: "
        "no task finishes although tasks wait. Grey: a full Flower does not show it; push --with activity.",
        first_of(reworded(text, "(.*), was -1", "$1"), labelled(f"0 * {flowers_up()} - 1", text="not known")),
    )


def tasks_in_queues() -> AnyPanel:
    """Return the tile with the tasks in the broker's queues."""
    queue = 'queue=~"$queue"'
    family = selector("celery_queue_length", queue)
    length = f"sum({fresh('celery_queue_length', queue)})"
    grows = f"(count({family} - {family} offset 10m > 0 and min_over_time({family}[10m]) > 0) > bool 0 or vector(0))"
    no_consumer = f"(count({NO_CONSUMER}) > bool 0 or vector(0))"
    level = f"clamp_max(0 * {length} + {grows} + {BAD} * {no_consumer}, {BAD})"
    return _tile(
        "Tasks in queues",
        "Tasks that were sent and that no worker has fetched. Green: no queue grows. Orange: a queue grew within ten "
        "minutes. Red: no worker consumes a queue with tasks.",
        first_of(with_numbers(or_odd_if_missing(level), text=length), _not_pushed("queues")),
    )


def idle_workers() -> AnyPanel:
    """Return the tile with the idle workers."""
    active = fresh("celery_worker_active_tasks", call="{} == bool 0")
    live = 'label_replace(celery_workers == 1, "worker", "$1", "app", "(.*)")'
    idle, every = (f"{call}({active} and ignoring (app) {live})" for call in ("sum", "count"))
    waits = f"(sum(min_over_time({selector('celery_queue_length')}[10m])) > bool 0 or vector(0))"
    numbers = with_numbers(or_odd_if_missing(f"({idle} > bool 0) * on () {waits}"), idle=idle, all=every)
    return _tile(
        "Idle workers",
        "Live workers that ran no task at the last push. Green: no task has waited in a queue for ten minutes. Orange: "
        "tasks wait while workers are idle; check the queue's name and the workers' connection to the broker.",
        first_of(joined(numbers, " of ", "idle", "all"), _not_pushed("activity")),
    )


def _not_pushed(extra: str) -> str:
    return labelled(f"0 * {flowers_up()} - 1", text=f"--with {extra}: not pushed")
