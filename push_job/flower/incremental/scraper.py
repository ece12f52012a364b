"""One turn's reading of a Flower's tasks: what has changed if that can be proven, or else everything."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from push_job import log
from push_job.flower.api import Flower, FlowerError, soon_enough
from push_job.flower.full_scrape import scrape_all_tasks
from push_job.flower.incremental.changes import read_changes
from push_job.flower.incremental.event_counts import EventCounts
from push_job.flower.incremental.state import COLUMNS, Memory, NotProvenError, is_same_process, new_state
from push_job.flower.incremental.state_file import StateFile
from push_job.flower.table import Content, TaskTable
from push_job.flower.task import STATES, UNKNOWN_TYPE
from push_job.settings import PAGE_SIZE

#: So few tasks are one small page: to read all costs no more than to find out what has changed.
FEW = 1000

#: What has an event within so many seconds before the last reading may have got it after that, by a clock that is slow.
_RECENT = 300.0

#: How many of the tasks that differed the verbose log names.
_MOST_NAMED = 100


@dataclass(frozen=True)
class Reading:
    """The tasks; whether all of them were transferred or only what has changed; and how many were."""

    tasks: TaskTable
    whole: bool
    tasks_read: int


class TaskScraper:
    """Reads one Flower turn after turn, and remembers.

    Everything is read again every `whole_every` seconds, 0 for in each turn; then nothing is remembered. `file` is
    where the memory is kept too.
    """

    def __init__(self, full_every: float, file: StateFile | None = None) -> None:
        self._whole_every = full_every
        self._file = file
        self._is_loaded = False
        self._memory: Memory | None = None
        self._lock = threading.Lock()

    @property
    def remembers(self) -> bool:
        """Whether a turn may be less than whole."""
        return self._whole_every > 0

    @property
    def kept(self) -> dict[str, dict[str, float]]:
        """What extras keep from turn to turn, numbers by a name of theirs and task type; for them to change."""
        return self._memory.kept if self._memory else {}

    def save(self) -> None:
        """Write the file, if there is one."""
        if self._file and self._memory and self._lock.acquire(blocking=False):
            try:
                self._file.save(self._memory)
            finally:
                self._lock.release()

    def read(
        self, flower: Flower, page_size: int | None, until: float, progress: Callable[[int], None] = lambda _: None
    ) -> Reading:
        """Raises FlowerError when it cannot be done by `until`, a moment of ``time.monotonic()``."""
        # A reading that outlived its turn may still have the memory.
        if not self._whole_every or not self._lock.acquire(blocking=False):
            return Reading(scrape_all_tasks(flower, page_size, until, progress), True, flower.tasks_read)
        try:
            return self._read_with_memory(flower, page_size, until, progress)
        finally:
            self._lock.release()

    def _read_with_memory(
        self, flower: Flower, page_size: int | None, until: float, progress: Callable[[int], None]
    ) -> Reading:
        flower.columns = tuple(dict.fromkeys((*flower.columns, *COLUMNS)))
        if self._file and not self._is_loaded:
            self._memory, self._is_loaded = self._file.load(flower.columns), True
        return self._read(flower, page_size, until, progress)

    def _read(self, flower: Flower, page_size: int | None, until: float, progress: Callable[[int], None]) -> Reading:
        before = flower.tasks_read
        memory = self._memory
        most = page_size or PAGE_SIZE
        few = memory is not None and len(memory.tasks) <= min(FEW, most)
        if memory and memory.counts and not few and self._is_fresh(memory):
            level, reason = logging.INFO, ""
            try:
                read_changes(flower, memory, most, until)
            except NotProvenError as error:
                reason = str(error)
            except FlowerError as error:
                if error.status is None and not error.overloaded:
                    raise
                reason = str(error)  # what it refuses, or is too slow for, may be had in other pages
            except Exception as bug:  # noqa: BLE001 - reading everything knows nothing of what is remembered
                level, reason = logging.WARNING, f"a mistake in push-job: {type(bug).__name__}: {bug}; please report it"
            else:
                return Reading(memory.tasks, False, flower.tasks_read - before)
            log.event(level, "all tasks are read again", flower=flower.client.endpoint.address, reason=reason)
        counts = None if few else self._counts(flower, until)
        tasks = scrape_all_tasks(flower, page_size, until, progress)
        self._memory = new_state(tasks, counts, memory)
        self._memory.by_events_alone = counts is not None and _is_changed_by_events_alone(flower, self._memory, until)
        if memory and is_same_process(memory, counts):
            quiet = memory.counts == counts
            different = _differences(memory, tasks, quiet=quiet)
            # It was no quiet spell if an event came after the counters were read and before all tasks were.
            if different and quiet and self._counts(flower, until) != counts:
                different = _differences(memory, tasks, quiet=False)
            _tell_differences(flower, memory, tasks, sorted(different))
        return Reading(tasks, True, flower.tasks_read - before)

    def _is_fresh(self, memory: Memory) -> bool:
        return 0 <= time.time() - memory.whole_at < self._whole_every

    def _counts(self, flower: Flower, until: float) -> EventCounts | None:
        """The counters, or None where nothing can be remembered."""
        try:
            return flower.event_counts(until)
        except FlowerError as error:
            log.event(
                logging.DEBUG,
                "its events cannot be counted, so all tasks are read each time",
                flower=flower.client.endpoint.address,
                error=str(error),
            )
            return None


def _is_changed_by_events_alone(flower: Flower, memory: Memory, until: float) -> bool:
    """Whether the list is what Flower remembers, as it is since it looks tasks up in an index (2.1).

    That index does not tell capitals from small letters, and before it the answer to this question was none. Up to
    2.0.1 a list loses tasks when Python's garbage collector comes, events or not.
    """
    state = memory.tasks.rarest_state()
    if not memory.by_stamp or state not in STATES:
        return False
    try:
        return flower.has_task_in(state.lower(), soon_enough(until))
    except FlowerError:
        return False


def _tell_differences(flower: Flower, memory: Memory, now: TaskTable, different: list[str]) -> None:
    """Log which tasks are not as they were remembered, though no event can have changed them since."""
    if not different:
        return
    address = flower.client.endpoint.address
    log.event(logging.WARNING, "what was remembered was wrong, and is put right", flower=address, tasks=len(different))
    for task_id in different[:_MOST_NAMED]:
        log.event(
            logging.DEBUG,
            "remembered wrong",
            flower=address,
            task=task_id,
            was=str(memory.tasks.labels_of(task_id)) if task_id in memory.tasks else None,
            is_now=str(now.labels_of(task_id)) if task_id in now else None,
        )


def _differences(memory: Memory, now: TaskTable, *, quiet: bool) -> set[str]:
    """Tasks that are not as they were remembered; if not `quiet`, of those without a recent event."""
    known, found = memory.tasks.content(), now.content()
    before = math.inf if quiet else memory.tasks.now - _RECENT

    def is_other(task_id: str, content: Content) -> bool:
        former = known.get(task_id)
        if not quiet and (former.labels[0] == UNKNOWN_TYPE if former else not memory.by_stamp):
            return (
                False  # an event that came late tells an old task's name, or brings it back into an old Flower's list
            )
        return former is None or not former.counts_as(content)

    different = {task_id for task_id, content in found.items() if content.stamp < before and is_other(task_id, content)}
    if quiet and memory.by_stamp:
        # Up to 2.0.1 a list loses tasks in its own time.
        different |= known.keys() - found.keys()
    return different
