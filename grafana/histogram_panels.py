"""Panels of the histograms of `--with runtimes,waits`, and Apdex.

Each push counts the tasks that are in Flower's list at that time, and a bucket shrinks when Flower drops tasks. So the
histograms are not counters: the panels use their quantiles without `rate`.
"""

from grafana.layout import Variable, one_of
from grafana.panel_types import (
    COUNT,
    GOOD_IS_HIGH,
    HALF,
    TILE,
    AnyPanel,
    Column,
    PanelSpec,
    Query,
    heatmap_panel,
    lines,
    not_pushed,
    table,
    tile,
)
from grafana.queries import (
    ADDED,
    CHOSEN,
    WINDOW,
    added_since,
    first_of,
    flowers_up,
    fresh,
    in_state,
    labelled,
    most,
    or_unknown,
    recorded,
    selector,
    tasks_by_name,
    with_numbers,
)

NAME = 'name=~"$task_type"'
BUCKETS = "celery_task_runtime_seconds_bucket"
ODD_SCORE, GOOD_SCORE = (start for _, start in GOOD_IS_HIGH if start is not None)
TEN = " Shows the ten types with most tasks in the selected range."
CURRENT_LIST = "Covers the tasks in Flower's list at the time of the push."


COUNTS = "celery_task_runtime_seconds_count"


def apdex_tile() -> AnyPanel:
    """Return the tile with the Apdex score of tasks that finished in the window."""
    within, tolerated, every = (
        f"sum({_added(family, NAME, *bound)})"
        for family, bound in ((BUCKETS, [_bound("target")]), (BUCKETS, [_bound("tolerated")]), (COUNTS, []))
    )
    failed = f"(sum({recorded(ADDED, in_state('FAILURE'))}) or 0 * {every})"
    score = f"({within} + {tolerated}) / 2 / ({every} + {failed} > 0)"
    level = f"({score} < bool {GOOD_SCORE}) + ({score} < bool {ODD_SCORE})"
    idle = labelled(f"0 * ({every} == 0)", text="nothing finished")
    spec = PanelSpec(
        f"Apdex ({WINDOW} min)",
        "(tasks within the target + tasks within the tolerated time) / 2 / finished tasks; failed tasks are never "
        f"within it. Green: from {GOOD_SCORE}. Orange: from {ODD_SCORE}. Red: less. Grey: not pushed, or a full Flower "
        "does not show it.",
        "none",
        width=TILE,
        height=4,
    )
    unknown = labelled(f"0 * sum({fresh(COUNTS)}) - 1", text="not known")
    missing_extra = labelled(f"0 * {flowers_up()} - 1", text="--with runtimes: not pushed")
    scored = with_numbers(f"({level})", text=f"round({score}, 0.01)")
    return tile(spec, or_unknown(first_of(scored, idle, unknown, missing_extra)))


def _added(family: str, *matchers: str) -> str:
    """Return the rise within the window of series of which nothing was forgotten."""
    fell = f"resets({selector(family, *matchers)}[{WINDOW}m]) > 0"
    return f"{added_since(family, *matchers)} and {fresh(family, *matchers)} unless {fell}"


def apdex_by_name() -> str:
    """Return the Apdex score of each type, for the tasks in Flower's list.

    Failed tasks are never within the target.
    """
    within, tolerated, every = (
        f"sum({fresh(family, NAME, *bound)}) by (name)"
        for family, bound in ((BUCKETS, [_bound("target")]), (BUCKETS, [_bound("tolerated")]), (COUNTS, []))
    )
    return f"({within} + {tolerated}) / 2 / ({every} + {tasks_by_name(in_state('FAILURE'))})"


def apdex_variables() -> list[Variable]:
    """Return the variables `$target` and `$tolerated`, each a bound of the buckets."""
    bounds = f"label_values({BUCKETS}{{{CHOSEN}}}, le)"
    # Prometheus 3 writes 10 as 10.0. The regular expression excludes +Inf.
    number = r"/^(\d+(?:\.\d*[1-9])?)(?:\.0)?$/"
    return [
        one_of("target", "Apdex: satisfied within (s)", bounds, "2.5", only=number),
        one_of("tolerated", "Apdex: tolerated within (s)", bounds, "10", only=number),
    ]


def _bound(variable: str) -> str:
    return f"le=~`${{{variable}:regex}}(\\.0)?`"


def runtimes() -> list[AnyPanel]:
    """Return the panels of the runtimes of finished tasks."""
    extra = "runtimes"
    by_name = f"bottomk(15, {apdex_by_name()})"
    worst = PanelSpec(
        "Apdex by type",
        "The 15 types with the lowest score. Select the target and the tolerated time, usually four "
        "times the target, at the top. " + CURRENT_LIST,
        "none",
        width=HALF,
        height=9,
        thresholds=GOOD_IS_HIGH,
        empty=not_pushed(extra),
    )
    score = Column("Value", "Apdex", width=140, bar=True, maximum=1)
    over_time = PanelSpec(
        "Apdex by type over time",
        "A step down shows when a type became slow. " + CURRENT_LIST + TEN,
        "none",
        width=HALF,
        height=9,
        empty=not_pushed(extra),
    )
    return [
        _by_type("Runtime by type: quantile $quantile", "runtime"),
        quantiles_of_all("Runtime of all selected types", "runtime"),
        table(
            worst,
            Query(by_name),
            columns=[Column("name", "Task type", short=True), score],
            sorted_by="Apdex",
            descending=False,
        ),
        lines(over_time, Query(f"{apdex_by_name()} and {_ten('runtime')}", "{{name}}"), maximum=1),
        _heat("Runtimes", "runtime"),
    ]


def waits() -> list[AnyPanel]:
    """Return the panels of the waits from received (or the ETA) to started."""
    return [
        _by_type("Wait by type: quantile $quantile", "wait"),
        quantiles_of_all("Wait of all selected types", "wait"),
        _heat("Waits", "wait"),
    ]


def _by_type(title: str, kind: str) -> AnyPanel:
    spec = PanelSpec(title, CURRENT_LIST + TEN, "s", width=HALF, height=9, empty=not_pushed(f"{kind}s"))
    return lines(spec, Query(f"{_quantile(kind, '$quantile', 'name, le')} and {_ten(kind)}", "{{name}}"))


def _ten(kind: str) -> str:
    return most(10, selector(f"celery_task_{kind}_seconds_count", NAME), "name")


def _quantile(kind: str, quantile: str, by: str) -> str:
    # The quantile of a type without tasks is NaN, which the comparison removes.
    return f"histogram_quantile({quantile}, sum({fresh(f'celery_task_{kind}_seconds_bucket', NAME)}) by ({by})) >= 0"


def quantiles_of_all(title: str, kind: str) -> AnyPanel:
    """Return a graph of three quantiles; `kind` is `runtime` or `wait`."""
    shares = {"0.5": "median", "0.95": "95 %", "0.99": "99 %"}
    queries = [Query(_quantile(kind, share, "le"), legend) for share, legend in shares.items()]
    spec = PanelSpec(title, CURRENT_LIST, "s", width=HALF, height=9, empty=not_pushed(f"{kind}s"))
    return lines(spec, *queries)


def _heat(title: str, kind: str) -> AnyPanel:
    spec = PanelSpec(
        f"{title}, heatmap",
        "Tasks in each bucket at each push. It shows the tasks in Flower's list, not arrivals.",
        COUNT,
        width=24,
        height=9,
        empty=not_pushed(f"{kind}s"),
    )
    return heatmap_panel(spec, Query(f"sum({fresh(f'celery_task_{kind}_seconds_bucket', NAME)}) by (le)", "{{le}}"))
