"""The dashboard "Celery by Flower: task type", the page of one or more task types."""

from grafana_foundation_sdk.models import dashboard as model

from grafana.histogram_panels import quantiles_of_all
from grafana.layout import Row, build_dashboard, common_variables, max_age
from grafana.panel_types import COUNT, HALF, AnyPanel, PanelSpec, Query, lines
from grafana.problems_row import failures, oldest
from grafana.queries import ADDED, FAILED, FINISHED, WINDOW, durations, recorded, tasks
from grafana.task_type_panels import STATE_COLOURS
from push_job.explain.rules.failing import FAILURE_MINIMUM


def task_type_dashboard() -> model.Dashboard:
    """Return the dashboard "Celery by Flower: task type"."""
    return build_dashboard(
        title="Celery by Flower: task type",
        uid="celery-by-flower-task-type",
        description="One task type, or the sum of the selected ones.",
        rows=[
            Row(
                "",
                [
                    *_by_state(),
                    failures(),
                    oldest(),
                    quantiles_of_all("Runtime", "runtime"),
                    quantiles_of_all("Wait", "wait"),
                ],
            )
        ],
        variables=[*common_variables(), max_age()],
    )


def _by_state() -> list[AnyPanel]:
    finished = PanelSpec(
        f"Finished per minute ({WINDOW} min)",
        f"Tasks that finished within {WINDOW} minutes, per minute. It has a gap while Flower forgets tasks.",
        COUNT,
        width=HALF,
        height=8,
    )
    ratio = PanelSpec(
        f"Failure ratio ({WINDOW} min)",
        f"Failed tasks of those that finished within {WINDOW} minutes. It is not reliable for fewer than "
        f"{FAILURE_MINIMUM} tasks.",
        "percentunit",
        width=HALF,
        height=8,
    )
    counts = PanelSpec("Tasks by state", "Tasks in Flower's list.", COUNT, width=HALF, height=8)
    mean = PanelSpec(
        "Mean duration by state",
        "Finished tasks: the runtime, which Celery reports only for SUCCESS. Unfinished tasks: the time in the state.",
        "s",
        width=HALF,
        height=8,
    )
    return [
        lines(finished, Query(f"sum by (state) ({recorded(ADDED)}) / {WINDOW}", "{{state}}"), colours=STATE_COLOURS),
        lines(ratio, Query(f"sum({recorded(FAILED)}) / sum({recorded(FINISHED)})", "failed"), maximum=1, failures=True),
        lines(counts, Query(f"sum by (state) ({tasks()})", "{{state}}"), colours=STATE_COLOURS),
        lines(
            mean,
            Query(f"sum by (state) ({durations()}) / (sum by (state) ({tasks()}) > 0) > 0", "{{state}}"),
            colours=STATE_COLOURS,
        ),
    ]
