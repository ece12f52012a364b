"""Panels by task type: a graph for each state, rankings, and where a click on a type leads."""

from grafana.panels import HALF, About, AnyPanel, Column, Link, Query, lines, table
from grafana.queries import in_state, most, selector, tasks

WHAT_A_STATE_MEANS = {
    "RECEIVED": "Tasks that a worker has fetched and not begun. Climbing: workers are too slow, too few or "
    "stuck. Tasks of a worker that died stay here until Flower forgets them.",
    "PENDING": "Tasks that were sent and that no worker has fetched. Flower knows of them only if the "
    "senders have task_send_sent_event on; otherwise there are none.",
    "FAILURE": "Tasks that raised an exception, as far back as Flower remembers. A rising line fails now; a "
    "level one is history.",
    "RETRY": "Tasks that failed and wait for their next try.",
    "REVOKED": "Tasks that were cancelled, or that expired before they began; and any state beyond the seven, such as "
    "REJECTED or one that your own events make.",
    "STARTED": "Tasks that run now. Tasks of a worker that died stay here until Flower forgets them.",
    "SUCCESS": "Tasks that finished, as far back as Flower remembers. It stops climbing when nothing gets "
    "done, and falls when a full Flower forgets its oldest tasks.",
}
"""What each state's graph tells."""

TEN = " The ten types that had most in the shown range; the others: choose a task type at the top."


def to_depth(name: str) -> Link:
    """From a task type to its row in depth; `name` is Grafana's way to it."""
    chosen = "${__url_time_range}&${datasource:queryparam}&${job:queryparam}&${instance:queryparam}"
    return Link("In depth", f"/d/celery-by-flower-in-depth?{chosen}&var-task_type={name}")


def to_flower(name: str, state: str) -> Link:
    """From a task type to Flower's own list of its tasks in this state."""
    return Link("Its tasks in Flower", f"${{flower_url}}/tasks?state={state}&name={name}")


def links(name: str, state: str) -> list[Link]:
    """Both."""
    return [to_depth(name), to_flower(name, state)]


def by_type(state: str, *more: Query, title: str = "") -> AnyPanel:
    """The graph of one state; `more` queries join it."""
    family = selector("celery_task_types_by_state", 'task_type=~"$task_type"', in_state(state))
    query = f"sum({tasks(in_state(state))}) by (task_type) and {most(10, family, 'task_type')} > 0"
    about = About(title or state, WHAT_A_STATE_MEANS[state] + TEN, "short", HALF, 9, empty="none in this range")
    return lines(about, Query(query, "{{task_type}}"), *more, links=links("${__field.labels.task_type}", state))


def ranking(about: About, query: str, *columns: Column) -> AnyPanel:
    """The fifteen with most, as bars; `columns` stand between name and bar."""
    name = Column("name", "Task type", link=to_depth("${__value.raw}"), short=True)
    bar = Column("Value", "Seconds", width=140, bar=True, steps=about.steps)
    return table(about, Query(f"topk(15, {query})"), columns=[name, *columns, bar], sorted_by="Seconds")
