"""The histograms of `--with runtimes,waits`: panels and Apdex.

They are pictures, not counters: each push counts the tasks that Flower remembers at that moment, and a bucket
shrinks when Flower forgets. So quantiles are taken of them as they are; a `rate` would mean nothing.
"""

from grafana.frame import Variable, one_of
from grafana.panels import GOOD_IS_HIGH, HALF, SECONDS, About, AnyPanel, Column, Query, heat, lines, not_pushed, table
from grafana.queries import CHOSEN, fresh, most, selector

NAME = 'name=~"$task_type"'
BUCKETS = "celery_task_runtime_seconds_bucket"
TEN = " The ten types with most tasks in the shown range."
PICTURE = "Of the finished tasks that Flower remembers now, as far back as that is."


def apdex(by: str = "") -> str:
    """The Apdex score of what Flower remembers; `by`, e.g. ` by (name)`, follows each sum."""
    within = fresh(BUCKETS, NAME, _bound("target"))
    tolerated = fresh(BUCKETS, NAME, _bound("tolerated"))
    every = fresh("celery_task_runtime_seconds_count", NAME)
    return f"(sum({within}){by} + sum({tolerated}){by}) / 2 / sum({every}){by}"


def apdex_variables() -> list[Variable]:
    """`$target` and `$tolerated`, each one of the buckets' bounds."""
    bounds = f"label_values({BUCKETS}{{{CHOSEN}}}, le)"
    # Prometheus 3 writes 10 as 10.0; +Inf is no target.
    number = r"/^(\d+(?:\.\d*[1-9])?)(?:\.0)?$/"
    return [
        one_of("target", "Apdex: satisfied within (s)", bounds, "2.5", only=number),
        one_of("tolerated", "Apdex: tolerated within (s)", bounds, "10", only=number),
    ]


def _bound(variable: str) -> str:
    return f"le=~`${{{variable}:regex}}(\\.0)?`"


def runtimes() -> list[AnyPanel]:
    """How long finished tasks ran."""
    extra = "runtimes"
    by_name = f"bottomk(15, {apdex(' by (name)')})"
    worst = About(
        "Apdex by type",
        "The 15 lowest. Target and tolerated time are chosen above, among the buckets' bounds; by custom the tolerated "
        "time is four times the target. " + PICTURE,
        "none",
        width=HALF,
        height=9,
        steps=GOOD_IS_HIGH,
        empty=not_pushed(extra),
    )
    score = Column("Value", "Apdex", width=140, bar=True, most=1)
    over_time = About(
        "Apdex by type over time",
        "A step down tells when a type became slow. " + PICTURE + TEN,
        "none",
        width=HALF,
        height=9,
        empty=not_pushed(extra),
    )
    return [
        _by_type("Runtime by type: quantile $quantile", "runtime"),
        _quantiles_of_all("Runtime of all chosen types", "runtime"),
        table(
            worst,
            Query(by_name),
            columns=[Column("name", "Task type", short=True), score],
            sorted_by="Apdex",
            falling=False,
        ),
        lines(over_time, Query(f"{apdex(' by (name)')} and {_ten('runtime')}", "{{name}}"), most=1),
        _heat("Runtimes", "runtime"),
    ]


def waits() -> list[AnyPanel]:
    """How long tasks waited in a worker, from received (or the ETA) to started."""
    return [
        _by_type("Wait by type: quantile $quantile", "wait"),
        _quantiles_of_all("Wait of all chosen types", "wait"),
        _heat("Waits", "wait"),
    ]


def _by_type(title: str, kind: str) -> AnyPanel:
    about = About(title, PICTURE + TEN, SECONDS, width=HALF, height=9, empty=not_pushed(f"{kind}s"))
    return lines(about, Query(f"{_quantile(kind, '$quantile', 'name, le')} and {_ten(kind)}", "{{name}}"))


def _ten(kind: str) -> str:
    return most(10, selector(f"celery_task_{kind}_seconds_count", NAME), "name")


def _quantile(kind: str, quantile: str, by: str) -> str:
    # Of a type without any task the quantile is NaN, which the comparison leaves out.
    return f"histogram_quantile({quantile}, sum({fresh(f'celery_task_{kind}_seconds_bucket', NAME)}) by ({by})) >= 0"


def _quantiles_of_all(title: str, kind: str) -> AnyPanel:
    shares = {"0.5": "median", "0.95": "95 %", "0.99": "99 %"}
    asked = [Query(_quantile(kind, share, "le"), legend) for share, legend in shares.items()]
    about = About(title, PICTURE, SECONDS, width=HALF, height=9, empty=not_pushed(f"{kind}s"))
    return lines(about, *asked)


def _heat(title: str, kind: str) -> AnyPanel:
    about = About(
        f"{title}, heatmap",
        "How many tasks are in each bucket at each push: a picture of Flower's memory, not of arrivals.",
        "s",
        width=24,
        height=9,
        empty=not_pushed(f"{kind}s"),
    )
    return heat(about, Query(f"sum({fresh(f'celery_task_{kind}_seconds_bucket', NAME)}) by (le)", "{{le}}"))
