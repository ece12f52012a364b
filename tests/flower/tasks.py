"""Tasks and pages for unit tests."""

from collections.abc import Mapping
from typing import Any

from push_job.flower.page import SharedIndex, TaskPage
from push_job.flower.table import TaskTable
from push_job.flower.task import Column, EventFields, TaskFields


def page_of(
    shared: SharedIndex,
    tasks: Mapping[str, TaskFields],
    columns: tuple[Column, ...] = (),
    now: float = 0.0,
    *,
    keep_fields: bool = False,
) -> TaskPage:
    """Return a page with these tasks in this order."""
    page = TaskPage(shared, columns, now, keep_fields=keep_fields)
    page.add(tasks)
    return page


def successes(**stamps: float) -> dict[str, TaskFields]:
    """Return successful tasks with these ids and time stamps."""
    return {task_id: event(timestamp=stamp) for task_id, stamp in stamps.items()}


def event(name: str = "t", state: str = "SUCCESS", **fields: Any) -> EventFields:
    """Return the fields of a task."""
    return EventFields(name=name, state=state, **fields)


def table_of(shared: SharedIndex, *pages: Mapping[str, TaskFields]) -> TaskTable:
    """Return a table with these pages merged one after the other."""
    table = TaskTable(shared)
    for page in pages:
        table.merge(page_of(shared, page))
    return table
