"""What a Flower's tasks are now, from what they were and what has changed: a *warm* reading, verified or none.

What was read before is kept (`Memory`). A warm reading asks for Flower's counters of events, the end of its list and
its front, and sometimes for the newest tasks of one worker or other. It is exact, for three reasons.

*Every event is seen.* Flower counts each event by its source (see ``event_counts``), so it is known who has sent any
since the counters were read last. A source's events come in the order of its own clock, whatever that shows, and the
list is in the order of these clocks: of the workers' time stamps from Flower 2.2 on, of Celery's logical clock before.
So what a source has sent since stands above each task that was touched by it last and is as it was. One page is one
moment, and holds all that stands above its last task. A source is *settled* when the page has such a task of it, an
*anchor*, above its last one, and shows something new of it: a worker whose clock is 90 s slow has its anchor as deep as
its events, and one whose clock is fast hides nobody else's. Where there is no anchor, all of the source's events must
be found on the page one by one, or the worker's own tasks are asked for, which are a list in the same order. A logical
clock that began again at zero puts its worker's tasks at the list's end: they are found in the same way. A client that
sends tasks has its anchors gone as soon as these are received; on Flower 2.2 it will do that the page reaches below
the time at which it is known to have sent one before. Else, what it has sent since was received, and stands where its
worker's events do, or is PENDING, and all of these are asked for.

*Where no event came, no task is asked for*, if the list changes with events alone, as it does from Flower 2.1 on.

*Nothing else changes, but for what Flower forgets.* An event that comes late may change a task that stays where it is:
on Flower 2.2 a `task-received` after the `task-started` brings the name and its own time alone, and before 2.2 so may a
`task-sent`. While a task without a name is known, the events of these kinds have to be found one by one. (When a named
task was sent, as `waits` has it, is then learnt if the task is on a page, and else at the next whole reading.)

*Forgetting is counted.* The page at the list's end shows which of the last tasks are gone, and where it ends is how
many tasks there are. (By logical clocks it cannot always be told where a task stands that has an event of a low one.
Until a page shows it at the front or the end, such a task counts neither as gone nor as a sign of what is.) What was
known, less what is gone, must be that many, or fewer by no more than are new. If some of the new ones are too many,
they came after that page was read: the newest are left to the next reading. So the tasks are those of one moment, and
as many as Flower listed then. What is forgotten elsewhere than at the end (its order of forgetting is that of arrival)
does not add up. It could hide only behind as many new tasks that came in the moment between two requests; then the
count is right, and which tasks it is of is mended at the next quiet turn.

What is not proven so is read whole: NotProvenError says why. A Flower that does not tell its counters, or that answers
another process's, is always read whole. What no reading can see are sources whose clock was set back, two sources with
one name, an event that Flower takes in and does not count (as 2.2 does where its index stumbles over it), and a task
that moved unchanged because one worker whose logical clock began again received what another such worker had; that is
what a whole reading now and then is for.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from itertools import islice

from push_job.flower.api import Flower
from push_job.flower.incremental.clock_order import arrange_by_clock, may_have_moved, placed_by
from push_job.flower.incremental.event_counts import EventCounts, Sender
from push_job.flower.incremental.senders import (
    counted_on,
    field_of,
    has_unnamed,
    lowest_stamp,
    note_clients,
    sender_of,
    unsettled_by,
)
from push_job.flower.incremental.state import SMALLEST_END, SMALLEST_FRONT, Memory, NotProvenError
from push_job.flower.incremental.worker_pages import read_worker_pages
from push_job.flower.page import TaskPage
from push_job.flower.table import TaskTable
from push_job.flower.task import received_of

#: How much more than last time the front is asked for at first.
_MORE = 1.5

_FRONT_TRIES = 3
_END_TRIES = 3

#: Of how many sources the own tasks are asked for.
_MOST_SOURCES = 8

#: After so many warm readings what is held of them is put together.
_MOST_BATCHES = 24


class _MoreIsGoneError(NotProvenError):
    """It does not add up: more is gone than was seen at the list's end."""


def read_changes(flower: Flower, memory: Memory, page_size: int, until: float) -> None:
    """Bring the memory up to date. Raises NotProvenError, or FlowerError, and has then changed no task."""
    try:
        _read_changes(flower, memory, page_size, until)
    except _MoreIsGoneError:
        deepest = page_size * 3 // 4
        if memory.end >= deepest:
            raise
        memory.end = min(4 * memory.end, deepest)
        _read_changes(flower, memory, page_size, until)


def _read_changes(flower: Flower, memory: Memory, page_size: int, until: float) -> None:
    counts, before = flower.event_counts(until), memory.counts
    if counts is None or before is None or not counts.follow(before):
        raise NotProvenError("it is not the Flower process that it was")
    tasks = memory.tasks
    if memory.by_events_alone and counts.show_no_event_since(before):
        tasks.now, memory.counts = flower.now, counts
        return
    end, held = _read_end(flower, memory, page_size, until)
    active = counts.since(before)
    front, unsettled = _read_front(flower, memory, before, active, end, page_size, until)
    if len(unsettled) > _MOST_SOURCES:
        raise NotProvenError(
            f"{len(unsettled)} workers and clients sent events that were not found at the list's front"
        )
    pages = [front, *read_worker_pages(flower, memory, before, unsettled, front, end, page_size, until)]
    if memory.by_stamp and not all(page.is_by_stamp() for page in (*pages, end)):
        raise NotProvenError("its list is in another order than it was")
    changed = [(task_id, page) for page in pages for task_id in tasks.read_anew(page.rows, page)]
    found = _added_up(memory, pages, end, held)
    meanwhile = (flower.event_counts(until) or counts) if found.late else counts
    if found.late_sources - meanwhile.since(counts):
        raise _MoreIsGoneError(f"{len(found.late)} new tasks are more than it lists, and came before that")
    # More than one page may show a task; what was read last is the newest.
    taken = {task_id: page for task_id, page in changed if task_id not in found.late}
    spare = memory.spare + _receptions(tasks, taken) - (counts.received - before.received)
    unnamed = spare != 0 and memory.by_stamp and has_unnamed(tasks, front)
    if unnamed and spare < 0:
        raise NotProvenError("a task may have learnt its name without moving in the list")
    if unnamed and not found.late:
        meanwhile = flower.event_counts(until) or counts
    _take(memory, pages, end, found)
    memory.latecomers, memory.counts = set(found.late_sources), counts
    memory.spare = min(max(0, spare), meanwhile.received - counts.received) if unnamed else 0
    memory.end = max(SMALLEST_END, 2 * found.end_depth)
    late = {source.name for source in found.late_sources if source.is_client}
    sent_at = {**memory.sent_at, **{client: sent for client, sent in memory.noted.items() if client not in late}}
    memory.sent_at = {client: sent for client, sent in sent_at.items() if sent > lowest_stamp(front)}
    memory.noted = {}
    memory.front = max(SMALLEST_FRONT, round(_MORE * _depth(front, changed)))
    if tasks.batch_count > _MOST_BATCHES:
        tasks.close_ranks()


def _depth(front: TaskPage, changed: list[tuple[str, TaskPage]]) -> int:
    """How far down the front reached what had changed."""
    anew = {task_id for task_id, page in changed if page is front}
    return max((place for place, task_id in enumerate(front.fields, 1) if task_id in anew), default=0)


def _read_end(flower: Flower, memory: Memory, page_size: int, until: float) -> tuple[TaskPage, int]:
    """The page that reaches the list's end, and how many tasks the list holds."""
    tasks = memory.tasks
    start = len(tasks) - min(memory.end, page_size * 3 // 4)
    for _ in range(_END_TRIES):
        place = max(0, start)
        page = flower.page_with_fields(tasks.shared, place, page_size, until)
        if 0 < len(page) < page_size:
            return page, place + len(page)
        start = place + page_size // 2 if len(page) else place - page_size // 2
    raise NotProvenError("its list's end is not where it was")


def _read_front(
    flower: Flower,
    memory: Memory,
    before: EventCounts,
    active: Counter[Sender],
    end: TaskPage,
    page_size: int,
    until: float,
) -> tuple[TaskPage, list[Sender]]:
    """One page of the list's front, and the sources that it does not settle."""
    sources = active.keys() | memory.latecomers
    limit = min(page_size, memory.front)
    for _ in range(_FRONT_TRIES):
        page = flower.page_with_fields(memory.tasks.shared, 0, limit, until)
        if len(page) != limit:
            raise NotProvenError("its list is shorter than it was")
        note_clients(memory, page)
        unsettled = unsettled_by(memory, page, sources)
        counted = counted_on(memory, [page], end, unsettled, active)
        # What was counted came before the counters were read; there must have been no more by now.
        now = flower.events_since(before, until) if counted else None
        counted = set() if now is None else counted_on(memory, [page], end, counted, now)
        unsettled -= counted
        if not unsettled or limit == page_size or (len(unsettled) <= _MOST_SOURCES // 2 and _is_deep(memory, page)):
            break
        limit = min(page_size, 4 * limit)
    return page, sorted(unsettled)


def _is_deep(memory: Memory, page: TaskPage) -> bool:
    """Whether the page reaches well below what has changed, so that a deeper one promises little."""
    return not memory.tasks.read_anew(islice(reversed(page.rows), len(page) // 4), page)


def _receptions(tasks: TaskTable, changed: dict[str, TaskPage]) -> int:
    """How many tasks were received by a worker, once more or at all, since they were read before."""
    known = (tasks.value_of(received_of, task_id) for task_id in changed)
    now = (received_of(field_of(page, task_id)) for task_id, page in changed.items())
    return sum(moment > 0 and moment != before for moment, before in zip(now, known, strict=True))


@dataclass
class _Sum:
    """How known and new tasks add up.

    `gone` are those that Flower has forgotten, and `end_depth` is how far from the end they stood; `late` are those
    that came too late to be counted.
    """

    gone: list[str]
    late: set[str]
    late_sources: Counter[Sender]
    end_depth: int


def _added_up(memory: Memory, pages: list[TaskPage], end: TaskPage, held: int) -> _Sum:
    """Raises NotProvenError where what was read does not add up to what the list `held`."""
    tasks, unplaced = memory.tasks, memory.unplaced
    missing = tasks.missing_at_the_end(end, unplaced)
    if missing is None:
        raise NotProvenError("its list's end is not as it was")
    gone = [task_id for task_id in missing if not any(task_id in page.rows for page in pages)]
    # Where nothing is gone the order has no say; what else is not as it was does not add up.
    if gone and not tasks.are_in_order(end, unplaced):
        raise NotProvenError("its list's end is not in the order that it was in")
    if not unplaced.isdisjoint(gone):
        raise NotProvenError("some of the tasks that seem to be gone from its list's end may stand above it")
    at_the_end = {task_id for task_id in end.rows if task_id not in tasks}
    seen = {task_id: page for page in reversed(pages) for task_id in page.rows if task_id not in tasks}
    new = [task_id for page in pages for task_id in page.rows if seen.get(task_id) is page]  # the newest first
    new = [task_id for task_id in new if task_id not in at_the_end]
    late = len(tasks) - len(gone) + len(at_the_end) + len(new) - held
    if not 0 <= late <= len(new):
        raise (_MoreIsGoneError if late > 0 else NotProvenError)(
            f"{len(tasks)} tasks were known, {len(new) + len(at_the_end)} are new and {len(gone)} gone,"
            f" but it lists {held}"
        )
    sources = Counter(sender_of(field_of(seen[task_id], task_id)) for task_id in new[:late])
    # How many of those that are still there stand behind one that is gone.
    depth = tasks.depth_of(missing[-1], end) if missing else 0
    return _Sum(gone, set(new[:late]), sources, depth)


def _take(memory: Memory, pages: list[TaskPage], end: TaskPage, found: _Sum) -> None:
    """Hold what was read instead of what was known, in the order of the list as far as that can be told."""
    tasks, front = memory.tasks, pages[0]
    at_the_front = [] if memory.by_stamp else placed_by(front, pages[1:], found.late)
    # What was read last is the newest.
    for number, page in enumerate(pages):
        for task_id in (*found.late, *(task_id for later in pages[number + 1 :] for task_id in later.rows)):
            page.rows.pop(task_id, None)
    tasks.drop(found.gone)
    own = {task_id for page in pages[1:] for task_id in page.rows}
    former, moved = [], set[str]()
    if own and not memory.by_stamp:
        former, moved = list(tasks), {task_id for page in pages[1:] for task_id in may_have_moved(tasks, page)}
    for page in pages[1:]:
        tasks.merge(page)
    is_end_anew = len(pages) > 1 or bool(tasks.read_anew(end.rows, end))
    if is_end_anew:
        newer = {task_id for page in pages for task_id in page.rows}
        for task_id in [task_id for task_id in end.rows if task_id in newer and not tasks.has_unchanged(task_id, end)]:
            del end.rows[task_id]
        tasks.merge(end)
    tasks.merge(front, 0)
    if own and memory.by_stamp:
        tasks.sort_by_stamp()
    elif own:
        arrange_by_clock(tasks, former, moved, at_the_front, list(end.rows))
        memory.unplaced |= moved
    memory.unplaced.difference_update(at_the_front, end.rows if is_end_anew else ())
    # They were not taken in the order of their reading, and Flower's clock may have been set back since the last turn.
    tasks.now = max(page.now for page in (*pages, end))
