"""Panels of the histograms of `--with runtimes,waits`, and Apdex.

Each push counts the tasks that are in Flower's list at that time, and a bucket shrinks when Flower drops tasks. So the
histograms are not counters: the panels use their quantiles without `rate`.
"""

from grafana.layout import Variable, one_of
from grafana.panel_types import (
    GOOD_IS_HIGH,
    HALF,
    SECONDS,
    AnyPanel,
    Column,
    PanelSpec,
    Query,
    heatmap_panel,
    lines,
    not_pushed,
    table,
)
from grafana.queries import CHOSEN, fresh, most, selector

NAME = 'name=~"$task_type"'
BUCKETS = "celery_task_runtime_seconds_bucket"
TEN = " Shows the ten types with most tasks in the selected range."
CURRENT_LIST = "Covers the tasks in Flower's list at the time of the push."


def apdex(by: str = "") -> str:
    """Return the Apdex score; `by`, e.g. ` by (name)`, follows each sum."""
    within = fresh(BUCKETS, NAME, _bound("target"))
    tolerated = fresh(BUCKETS, NAME, _bound("tolerated"))
    every = fresh("celery_task_runtime_seconds_count", NAME)
    return f"(sum({within}){by} + sum({tolerated}){by}) / 2 / sum({every}){by}"


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
    by_name = f"bottomk(15, {apdex(' by (name)')})"
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
        _quantiles_of_all("Runtime of all selected types", "runtime"),
        table(
            worst,
            Query(by_name),
            columns=[Column("name", "Task type", short=True), score],
            sorted_by="Apdex",
            descending=False,
        ),
        lines(over_time, Query(f"{apdex(' by (name)')} and {_ten('runtime')}", "{{name}}"), maximum=1),
        _heat("Runtimes", "runtime"),
    ]


def waits() -> list[AnyPanel]:
    """Return the panels of the waits from received (or the ETA) to started."""
    return [
        _by_type("Wait by type: quantile $quantile", "wait"),
        _quantiles_of_all("Wait of all selected types", "wait"),
        _heat("Waits", "wait"),
    ]


def _by_type(title: str, kind: str) -> AnyPanel:
    spec = PanelSpec(title, CURRENT_LIST + TEN, SECONDS, width=HALF, height=9, empty=not_pushed(f"{kind}s"))
    return lines(spec, Query(f"{_quantile(kind, '$quantile', 'name, le')} and {_ten(kind)}", "{{name}}"))


def _ten(kind: str) -> str:
    return most(10, selector(f"celery_task_{kind}_seconds_count", NAME), "name")


def _quantile(kind: str, quantile: str, by: str) -> str:
    # The quantile of a type without tasks is NaN, which the comparison removes.
    return f"histogram_quantile({quantile}, sum({fresh(f'celery_task_{kind}_seconds_bucket', NAME)}) by ({by})) >= 0"


def _quantiles_of_all(title: str, kind: str) -> AnyPanel:
    shares = {"0.5": "median", "0.95": "95 %", "0.99": "99 %"}
    queries = [Query(_quantile(kind, share, "le"), legend) for share, legend in shares.items()]
    spec = PanelSpec(title, CURRENT_LIST, SECONDS, width=HALF, height=9, empty=not_pushed(f"{kind}s"))
    return lines(spec, *queries)


def _heat(title: str, kind: str) -> AnyPanel:
    spec = PanelSpec(
        f"{title}, heatmap",
        "Tasks in each bucket at each push. It shows the tasks in Flower's list, not arrivals.",
        "s",
        width=24,
        height=9,
        empty=not_pushed(f"{kind}s"),
    )
    return heatmap_panel(spec, Query(f"sum({fresh(f'celery_task_{kind}_seconds_bucket', NAME)}) by (le)", "{{le}}"))
