"""The user's own dashboard queries, letter for letter, and how to fill in Grafana's variables.

Source: the notes on the Grafana dashboard that the project began with (its three panels, then "Cruft").
"""

from dataclasses import dataclass

STATES = ("FAILURE", "PENDING", "RECEIVED", "RETRY", "REVOKED", "STARTED", "SUCCESS")

# Some of the queries name this job where the others have $job.
JOB = "michel-flower-exporter"


@dataclass(frozen=True)
class Query:
    """A query as the notes have it, `raw`, and in a few words what it shows."""

    about: str
    raw: str

    def text(self, job: str = JOB, time_frame: str = "1m", state: str | None = None) -> str:
        """The query with $job and $TIME_FRAME replaced; `state` stands in for the notes' RECEIVED."""
        text = self.raw.replace("$job", job).replace("$TIME_FRAME", time_frame)
        return text if state is None else text.replace('state="RECEIVED"', f'state="{state}"')


WORKERS = Query("live workers", 'sum(celery_workers{job=~"$job"})')

# The notes say of this one and the next: one graph for each of the seven states.
TASKS_BY_STATE = Query(
    "tasks of each type in a state",
    'sum(celery_task_types_by_state{job=~"$job", state="RECEIVED"}) by (task_type)',
)
DURATIONS_BY_STATE = Query(
    "seconds of each type in a state", 'celery_task_duration_seconds_by_state{job=~"$job",state="RECEIVED"}'
)

CRUFT = (
    Query(
        "the 15 types with the most seconds of success",
        'topk(15, celery_task_duration_seconds_by_state{job="michel-flower-exporter", state="SUCCESS"})',
    ),
    Query(
        "the 15 types that have waited longest",
        'topk(15, sum(celery_task_duration_seconds_by_state{job=~"$job", state="RECEIVED"}) by (name))',
    ),
    Query(
        "the 15 types whose seconds of success grow fastest",
        'topk(15, sum(rate(celery_task_duration_seconds_by_state{job=~"$job", state="SUCCESS"}[$TIME_FRAME]))'
        " by (name))",
    ),
    Query(
        "the 7 types with the most seconds of success, over all Flowers",
        'topk(7, sum(celery_task_duration_seconds_by_state{job="michel-flower-exporter", state="SUCCESS"}) by (name))',
    ),
    Query("the 7 longest of all", "topk(7, celery_task_duration_seconds_by_state)"),
    Query("the 7 longest of each type: every one", "topk(7, celery_task_duration_seconds_by_state) by (name)"),
    Query("the 7 longest of each state", "topk(7, celery_task_duration_seconds_by_state) by (state)"),
    Query(
        "seconds of success, most first",
        'sort_desc(celery_task_duration_seconds_by_state{job=~"$job",state="SUCCESS"})',
    ),
)
