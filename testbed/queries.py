"""The dashboard queries in the user's notes, with Grafana's variables replaced.

Source: the notes on the Grafana dashboard with which the project started (three panels, then "Cruft").
"""

from dataclasses import dataclass

STATES = ("FAILURE", "PENDING", "RECEIVED", "RETRY", "REVOKED", "STARTED", "SUCCESS")

# Some queries contain this job instead of $job.
JOB = "michel-flower-exporter"


@dataclass(frozen=True)
class Query:
    """A query of the notes, `raw`, with a short description, `about`."""

    about: str
    raw: str

    def text(self, job: str = JOB, time_frame: str = "1m", state: str | None = None) -> str:
        """Return the query with its variables replaced, for another state if given."""
        text = self.raw.replace("$job", job).replace("$TIME_FRAME", time_frame)
        return text if state is None else text.replace('state="RECEIVED"', f'state="{state}"')


WORKERS = Query("live workers", 'sum(celery_workers{job=~"$job"})')

# In the notes, this query and the next one have a graph for each of the seven states.
TASKS_BY_STATE = Query(
    "tasks by type in a state",
    'sum(celery_task_types_by_state{job=~"$job", state="RECEIVED"}) by (task_type)',
)
DURATIONS_BY_STATE = Query(
    "seconds by type in a state", 'celery_task_duration_seconds_by_state{job=~"$job",state="RECEIVED"}'
)

CRUFT = (
    Query(
        "the 15 types with the most seconds of success",
        'topk(15, celery_task_duration_seconds_by_state{job="michel-flower-exporter", state="SUCCESS"})',
    ),
    Query(
        "the 15 types with the longest waits",
        'topk(15, sum(celery_task_duration_seconds_by_state{job=~"$job", state="RECEIVED"}) by (name))',
    ),
    Query(
        "the 15 types with the fastest growing seconds of success",
        'topk(15, sum(rate(celery_task_duration_seconds_by_state{job=~"$job", state="SUCCESS"}[$TIME_FRAME]))'
        " by (name))",
    ),
    Query(
        "the 7 types with the most seconds of success, over all Flowers",
        'topk(7, sum(celery_task_duration_seconds_by_state{job="michel-flower-exporter", state="SUCCESS"}) by (name))',
    ),
    Query("the 7 longest durations", "topk(7, celery_task_duration_seconds_by_state)"),
    Query("the 7 longest durations of each type", "topk(7, celery_task_duration_seconds_by_state) by (name)"),
    Query("the 7 longest durations of each state", "topk(7, celery_task_duration_seconds_by_state) by (state)"),
    Query(
        "seconds of success, in descending order",
        'sort_desc(celery_task_duration_seconds_by_state{job=~"$job",state="SUCCESS"})',
    ),
)
