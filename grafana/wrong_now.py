"""The table "What is wrong now": causes in plain words.

The causes come from the pushed data, before an alert fires.

Each row has the labels `what`, `which` and `amount`, and a level as value.
"""

from grafana.alert_limits import alert_limit
from grafana.panel_types import LEVEL_TEXTS, AnyPanel, Column, PanelSpec, Query, table
from grafana.problems_row import OVERDUE_LIMIT, overdue_intervals
from grafana.queries import (
    BAD,
    FAILED,
    NAMED,
    ODD,
    PUSHED,
    UNKNOWN,
    first_of,
    flowers_up,
    fresh,
    labelled,
    missing,
    recorded,
    selector,
    workers,
)
from grafana.tiles import NO_CONSUMER, WAIT_LIMIT, WAITS, failing_types, failing_types_for_sure
from push_job.explain.rules.capacity import BUSY_RATIO

ROWS = 5
"""Rows of one cause, so that it does not hide another one."""

STUCK_LIMIT = alert_limit("CeleryTaskStuck")


def what_is_wrong_now() -> AnyPanel:
    """Return the table, which is never empty."""
    spec = PanelSpec(
        "What is wrong now",
        "From the pushed data, before an alert fires. Green: nothing is wrong. Orange: it may become a problem. Red: "
        "it is a problem. Grey: nothing is known.",
        "none",
        width=12,
        height=8,
    )
    columns = [
        Column("Value", "Level", width=75, texts=LEVEL_TEXTS),
        Column("what", "What", width=130),
        Column("which", "Which", short=True),
        Column("amount", "How much", width=100),
    ]
    causes = " or ".join([*_flowers(), *_workers(), *_failing(), *_waits(), *_from_extras()])
    nothing = labelled(f"0 * {flowers_up()}", what="nothing")
    unknown = labelled(f"vector({UNKNOWN})", what="nothing pushed")
    return table(spec, Query(first_of(causes, nothing, unknown)), columns=columns, sorted_by="Level")


def _cause(level: int, what: str, which: str, series: str, unit: str = "") -> str:
    """Return the rows of one cause, at most ROWS.

    Args:
        level: level of the rows.
        what: the cause.
        which: label of the series that names what has the cause.
        series: numbers; their highest value of each name is the amount.
        unit: unit of the amount, with a space before it; if empty, there is no amount.
    """
    worst = f"topk({ROWS}, max by ({which}) ({series}))"
    if unit:
        amounts = f'count_values by ({which}) ("amount", floor({worst}))'
        rows = f'label_replace({amounts}, "amount", "$1{unit}", "amount", "(.*)")'
    else:
        rows = worst
    named = f'label_replace({rows}, "which", "$1", "{which}", "(.*)")'
    return f"0 * max by (what, which, amount) ({labelled(named, what=what)}) + {level}"


def _flowers() -> list[str]:
    down = fresh("flower_up", call="{} == 0", guard=PUSHED)
    return [
        _cause(BAD, "Flower is down", "instance", down),
        _cause(BAD, "no fresh push", "instance", f"({missing()} unless ({down})) / 60", " min"),
    ]


def _workers() -> list[str]:
    none = f"sum by (instance) ({workers()}) == 0"
    stopped = f"{fresh('celery_workers', NAMED, call='{} == 0')} unless on (instance) ({none})"
    return [_cause(BAD, "no live worker", "instance", none), _cause(ODD, "worker stopped", "app", stopped)]


def _failing() -> list[str]:
    sure = failing_types_for_sure()
    return [
        _cause(BAD, "tasks fail", "task_type", f"{recorded(FAILED)} and {sure}", " failed"),
        _cause(ODD, "tasks fail", "task_type", f"{failing_types()} unless {sure}", " failed"),
    ]


def _waits() -> list[str]:
    long = f"({WAITS} >= {WAIT_LIMIT:g}) / 60"
    short = f"({WAITS} >= {WAIT_LIMIT / 5:g} < {WAIT_LIMIT:g}) / 60"
    return [_cause(level, "tasks wait", "name", waits, " min") for level, waits in ((BAD, long), (ODD, short))]


def _from_extras() -> list[str]:
    """Return the causes that need extras.

    The extras are `--with queues,pools,by-queue,activity,ages,last-run`.
    """
    stuck = fresh("celery_task_oldest_seconds", 'name=~"$task_type"', call=f"{{}} / 60 > {STUCK_LIMIT / 60:g}")
    running = selector("celery_task_oldest_seconds", 'state!~"PENDING|RECEIVED|RETRY"')
    # As in the alert: a success of the type has taken a third of the time.
    stuck += f" unless {running} < ignoring (state) group_left () (3 * celery_task_longest_success_seconds)"
    overdue = f"{overdue_intervals()} > {OVERDUE_LIMIT:g}"
    active, processes = (
        f"sum by (instance) ({fresh(family)})"
        for family in ("celery_worker_active_tasks", "celery_worker_pool_processes")
    )
    queued = f"sum by (instance) ({fresh('celery_queue_length')}) > 0"
    return [
        _cause(BAD, "no consumer", "queue", NO_CONSUMER, " tasks"),
        _cause(ODD, "task is stuck", "name", stuck, " min"),
        _cause(ODD, "task is overdue", "name", overdue, " intervals"),
        _cause(
            ODD,
            "workers are full",
            "instance",
            f"100 * {active} / {processes} >= {100 * BUSY_RATIO:g} and {queued}",
            " %",
        ),
    ]
