"""Panels by task type: a graph for each state, rankings, and the links of a type."""

from grafana.panel_types import COUNT, HALF, AnyPanel, Column, Link, PanelSpec, Query, lines, table
from grafana.queries import in_state, most, selector, tasks

STATE_DESCRIPTIONS = {
    "RECEIVED": "Tasks that a worker has fetched and not started. If it rises, the workers are too slow, too few or "
    "stuck. Tasks of a worker that died stay here until Flower drops them.",
    "PENDING": "Tasks that were sent and that no worker has fetched. Flower knows them only if the senders set "
    "task_send_sent_event.",
    "FAILURE": "Tasks that raised an exception, as far back as Flower's list reaches. A rising line means failures "
    "now, a flat line means past failures.",
    "RETRY": "Tasks that failed and wait for a retry.",
    "REVOKED": "Tasks that were revoked, or that expired before they started, and tasks in other states, such as "
    "REJECTED or custom states.",
    "STARTED": "Tasks that are running. Tasks of a worker that died stay here until Flower drops them.",
    "SUCCESS": "Tasks that succeeded, as far back as Flower's list reaches. A flat line means that no task succeeds. "
    "The line falls when a full Flower drops its oldest tasks.",
}
"""Description of the graph of each state."""

STATE_COLOURS = {"SUCCESS": "green", "FAILURE": "red", "REVOKED": "purple"}
"""Colours of the states in which a task has ended."""

TEN = " Shows the ten types with the highest values in the selected range. For others, select a task type at the top."


def to_type(name: str) -> Link:
    """Return a link to the page of a task type; `name` is a Grafana expression."""
    selection = "${__url_time_range}&${datasource:queryparam}&${job:queryparam}&${instance:queryparam}"
    return Link("Its page", f"/d/celery-by-flower-task-type?{selection}&var-task_type={name}")


def to_flower(name: str, state: str) -> Link:
    """Return a link from a task type to Flower's list of its tasks in a state."""
    return Link("Its tasks in Flower", f"${{flower_url}}/tasks?state={state}&name={name}")


def links(name: str, state: str) -> list[Link]:
    """Return both links of a task type."""
    return [to_type(name), to_flower(name, state)]


def by_type(state: str, *more: Query, title: str = "", wide: bool = False) -> AnyPanel:
    """Return the graph of one state, with `more` queries if given; `wide` fills a row."""
    family = selector("celery_task_types_by_state", 'task_type=~"$task_type"', in_state(state))
    query = f"sum({tasks(in_state(state))}) by (task_type) and {most(10, family, 'task_type')} > 0"
    width = 2 * HALF if wide else HALF
    spec = PanelSpec(title or state, STATE_DESCRIPTIONS[state] + TEN, COUNT, width, 9, empty="none in this range")
    to_pages = links("${__field.labels.task_type}", state)
    return lines(spec, Query(query, "{{task_type}}"), *more, links=to_pages, failures=state == "FAILURE")


def ranking(spec: PanelSpec, query: str, *columns: Column) -> AnyPanel:
    """Return a table of the 15 highest values, with `columns` before the bar."""
    name = Column("name", "Task type", link=to_type("${__value.raw}"), short=True)
    bar = Column("Value", "Seconds", width=140, bar=True, thresholds=spec.thresholds)
    return table(spec, Query(f"topk(15, {query})"), columns=[name, *columns, bar], sorted_by="Seconds")
