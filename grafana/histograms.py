"""The histograms of `--with runtimes,waits`: panels and Apdex.

They are pictures, not counters: each push counts the tasks that Flower remembers at that moment, and a bucket
shrinks when Flower forgets. So quantiles are taken of them as they are; a `rate` would mean nothing.
"""

from grafana.frame import Variable, one_of
from grafana.panels import GOOD_IS_HIGH, About, AnyPanel, Query, bars, heat, lines
from grafana.queries import CHOSEN, fresh

NAME = 'name=~"$task_type"'
BUCKETS = "celery_task_runtime_seconds_bucket"
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
    return [
        lines(
            About("Runtime by type: quantile $quantile", PICTURE, "s", width=8, height=9),
            Query(_quantile(BUCKETS, "$quantile", "name, le"), "{{name}}"),
        ),
        _quantiles_of_all("Runtime of all chosen types", BUCKETS),
        bars(
            About(
                "Apdex by type",
                "The 15 lowest. Target and tolerated time are chosen above, among the buckets' bounds; by "
                "custom the tolerated time is four times the target. " + PICTURE,
                "none",
                width=8,
                height=9,
                steps=GOOD_IS_HIGH,
            ),
            Query(f"bottomk(15, {apdex(' by (name)')})", "{{name}}"),
        ),
        _heat("Runtimes", BUCKETS, width=12),
        lines(
            About(
                "Apdex by type over time",
                "A step down tells when a type became slow. " + PICTURE,
                "none",
                width=12,
                height=9,
                steps=GOOD_IS_HIGH,
            ),
            Query(apdex(" by (name)"), "{{name}}"),
        ),
    ]


def waits() -> list[AnyPanel]:
    """How long tasks waited in a worker, from received (or the ETA) to started."""
    family = "celery_task_wait_seconds_bucket"
    return [
        lines(
            About("Wait by type: quantile $quantile", PICTURE, "s", width=8, height=9),
            Query(_quantile(family, "$quantile", "name, le"), "{{name}}"),
        ),
        _quantiles_of_all("Wait of all chosen types", family),
        _heat("Waits", family, width=8),
    ]


def _quantile(family: str, quantile: str, by: str) -> str:
    # Of a type without any task the quantile is NaN, which the comparison leaves out.
    return f"histogram_quantile({quantile}, sum({fresh(family, NAME)}) by ({by})) >= 0"


def _quantiles_of_all(title: str, family: str) -> AnyPanel:
    shares = {"0.5": "median", "0.95": "95 %", "0.99": "99 %"}
    asked = [Query(_quantile(family, share, "le"), legend) for share, legend in shares.items()]
    return lines(About(title, PICTURE, "s", width=8, height=9), *asked)


def _heat(title: str, family: str, width: int) -> AnyPanel:
    about = About(
        f"{title}, heatmap",
        "How many tasks are in each bucket at each push: a picture of Flower's memory, not of arrivals.",
        "s",
        width=width,
        height=9,
    )
    return heat(about, Query(f"sum({fresh(family, NAME)}) by (le)", "{{le}}"))
