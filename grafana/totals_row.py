"""The row of `--with totals`: counters of ended tasks.

They continue when Flower forgets tasks or restarts.
"""

from grafana.panel_types import HALF, AnyPanel, PanelSpec, Query, lines, not_pushed
from grafana.queries import fresh_window, most, selector

NAME = 'name=~"$task_type"'
TASKS, FAILURES = "celery_tasks_total", "celery_task_failures_total"
FAILED, FINISHED = 'state="FAILURE"', 'state=~"FAILURE|SUCCESS"'


def totals() -> list[AnyPanel]:
    """Return the panels."""
    ten = most(10, selector(FAILURES, NAME), "exception")
    per_day = fresh_window("increase", FAILURES, NAME, window="1d")
    return [
        lines(
            _spec(
                "Failures by exception per day",
                "Tasks that failed within 24 hours, by exception class, also those that Flower has forgotten. Shows "
                "the ten classes with most failures in the selected range.",
                "none",
            ),
            Query(f"sum({per_day}) by (exception) and {ten}", "{{exception}}"),
        ),
        lines(
            _spec("Ended per second", "Tasks that ended, by the state in which they ended.", "none"),
            Query(f"sum({fresh_window('rate', TASKS, NAME)}) by (state)", "{{state}}"),
        ),
        lines(
            _spec(
                "Failed share of the finished tasks",
                "The error budget burns where a line is above the share of tasks that may fail, by default 1 %. "
                "CeleryErrorBudgetBurnsFast: the hour is above 14.4 times that share. CeleryErrorBudgetBurns: the six "
                "hours are above 6 times that share.",
                "percentunit",
            ),
            Query(_failed_share("1h"), "1 hour"),
            Query(_failed_share("6h"), "6 hours"),
            maximum=1,
        ),
        lines(
            _spec(
                "Not counted within 24 hours",
                "Missed: tasks that ended and that Flower forgot before the next push; push more often, or give Flower "
                "a larger --max_tasks. Unwatched: seconds in which no Flower ran.",
                "none",
            ),
            Query(f"sum({fresh_window('increase', 'flower_scrape_missed_events_total', window='1d')})", "missed"),
            Query(
                f"sum({fresh_window('increase', 'flower_scrape_unwatched_seconds_total', window='1d')})", "unwatched"
            ),
        ),
    ]


def _spec(title: str, description: str, unit: str) -> PanelSpec:
    return PanelSpec(title, description, unit, width=HALF, height=8, empty=not_pushed("totals"))


def _failed_share(window: str) -> str:
    failed, finished = (fresh_window("increase", TASKS, NAME, state, window=window) for state in (FAILED, FINISHED))
    return f"sum({failed}) / (sum({finished}) > 0)"
