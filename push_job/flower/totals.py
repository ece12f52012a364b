"""Totals: the numbers of ends and retries of tasks since counting began.

Each event is counted once.

Flower remembers a limited number of tasks. Totals go on when it forgets them, and
when the job, Flower or the Pushgateway restarts, because they are kept with the
table of tasks: what the table shows has been counted.

An independent count checks the ends. Flower's own counters say how many it received.
An end is *missed* if these counters have it and the totals do not: Flower forgot the
task between two scrapes. Retries are taken from these counters, because tasks do not show all of them.

No HTTP and no file here; times are Unix times in seconds.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence

import msgspec

from push_job.flower.exception_names import UNKNOWN_CLASS, last_failure_of
from push_job.flower.incremental.event_counts import EventKind
from push_job.flower.page import OTHER_TEXTS, OTHER_TYPES, TaskPage
from push_job.flower.table import TaskTable
from push_job.flower.table_values import Change
from push_job.flower.task import (
    END_STATES,
    UNKNOWN_TYPE,
    Column,
    TextColumn,
    ends_of,
    label_text,
    last_end_of,
    new_ends,
)

#: The columns that show what has been counted of a task, and the class of its exception.
COUNTED: tuple[Column, ...] = (last_end_of, ends_of)
LAST_FAILURE = TextColumn(last_failure_of, state=None)
COLUMNS: tuple[Column, ...] = (*COUNTED, LAST_FAILURE)

#: The newest event of a task may have arrived after the last scrape although its time stamp is older than that by up to
#: this number of seconds, if its worker's clock is slow.
CLOCK_SLACK = 300.0

#: Task types, and exception classes of one type, that are counted under their own names.
_TYPE_LIMIT = 10_000
_CLASS_LIMIT = 50


class Failures(msgspec.Struct):
    """The failures of one task type with one exception class.

    Attributes:
        since: when the first failure was counted.
        count: number of failures.
    """

    since: float
    count: int = 0


class TypeTotals(msgspec.Struct):
    """The totals of one task type.

    Attributes:
        since: when the type became known.
        ends: number of ends by state.
        retries: number of retries.
        failures: failures by exception class.
        buckets: number of successes by the bucket of their runtime; the last bucket has no upper bound.
        runtime: sum of the runtimes in seconds.
        retried: retries that Flower's process has counted.
        base: ends that Flower's process had counted when the comparison with it began.
        compared: ends that were counted since then.
        compared_before: the same at the last scrape.
        missed_before: ends missed before then.
        missed: ends missed so far.
    """

    since: float
    ends: dict[str, int] = msgspec.field(default_factory=lambda: dict.fromkeys(END_STATES.values(), 0))
    retries: int = 0
    failures: dict[str, Failures] = {}
    buckets: list[int] = []
    runtime: float = 0.0
    retried: int = 0
    base: int = 0
    compared: int = 0
    compared_before: int = 0
    missed_before: int = 0
    missed: int = 0


class Totals(msgspec.Struct):
    """The totals of one Flower.

    Attributes:
        bounds: upper bounds of the buckets of runtimes, in seconds.
        types: the totals of each task type, in the order in which they became known.
        process: start of the Flower process that the totals are compared with; 0.0 if it is not exported, None if no
            counters have been read.
        scraped_at: time of the last scrape.
        unwatched: seconds in which no Flower received events, as far as the job knows.
        compared_with: number of ends that Flower had counted at the last comparison.
        is_base_exact: whether `base` is exact, or was corrected at a scrape since whose predecessor no task had ended.
        gone: the columns COUNTED of tasks that had ended and were not found by the last full scrape, by id. It may have
            missed one that moved in the list meanwhile.
    """

    bounds: tuple[float, ...]
    types: dict[str, TypeTotals] = {}
    process: float | None = None
    scraped_at: float = 0.0
    unwatched: float = 0.0
    compared_with: int = 0
    is_base_exact: bool = False
    gone: dict[str, tuple[float, float]] = {}

    def use_bounds(self, bounds: tuple[float, ...]) -> None:
        """Count runtimes by other bounds, from 0 again if they differ."""
        if bounds == self.bounds:
            return
        self.bounds = bounds
        for totals in self.types.values():
            totals.buckets, totals.runtime = [], 0.0

    def add_types(self, names: Iterable[str], now: float) -> None:
        """Note the task types that Flower lists.

        Each task type then has its series before its first event.
        """
        for name in names:
            if name not in self.types:
                self._of(name, now)

    def count(
        self, changes: Iterable[Change], now: float, *, is_restarted: bool = False, is_by_stamp: bool = True
    ) -> None:
        """Count what changed.

        Ends from before the last scrape are not counted if they may have been counted already: if Flower has restarted,
        perhaps with an older saved state, or if an old Flower left a task out of its list for a while.

        Args:
            changes: the tasks that are new or changed, with the columns COUNTED.
            now: our time.
            is_restarted: whether Flower has restarted.
            is_by_stamp: whether the list is in the order of Flower 2.2, and always complete.
        """
        counted_until = 0.0
        if is_restarted:
            counted_until = self.scraped_at
        elif not is_by_stamp:
            counted_until = self.scraped_at - CLOCK_SLACK
        for change in changes:
            totals = self._of(change.kind[0], now)
            former = change.former or self.gone.get(change.task_id)
            former_last, former_ends = former or (0.0, 0.0)
            last, ends = change.values
            if (former is not None and not is_restarted) or last > counted_until:
                for state in new_ends(last, ends, former_last, former_ends):
                    self._count_end(totals, state, change, now)

    def keep_gone(self, values: Mapping[str, tuple[float, ...]]) -> None:
        """Note the columns COUNTED of the tasks that a full scrape did not find, by id."""
        self.gone = {task_id: (last, ends) for task_id, (last, ends) in values.items() if last}

    def _count_end(self, totals: TypeTotals, state: str, change: Change, now: float) -> None:
        totals.ends[state] += 1
        totals.compared += 1
        if state == "FAILURE":
            name = change.text or UNKNOWN_CLASS
            if name not in totals.failures and len(totals.failures) >= _CLASS_LIMIT - 1:
                name = OTHER_TEXTS
            totals.failures.setdefault(name, Failures(now)).count += 1
        elif state == "SUCCESS" == change.kind[1] and not math.isnan(change.seconds):
            totals.buckets = totals.buckets or [0] * (len(self.bounds) + 1)
            totals.buckets[bisect_left(self.bounds, change.seconds)] += 1
            totals.runtime += change.seconds

    def _of(self, name: str, now: float) -> TypeTotals:
        name = self._label(name)
        return self.types.get(name) or self.types.setdefault(name, TypeTotals(now))

    def _label(self, name: str) -> str:
        return name if name in self.types or len(self.types) < _TYPE_LIMIT else OTHER_TYPES

    # The comparison with Flower's counters

    def begin(
        self, process: float, first_event: float, ends: Counter[str], shown: Counter[str], now: float, *, is_new: bool
    ) -> None:
        """Begin the comparison with a process of Flower.

        Args:
            process: its start time; 0.0 if it is not exported.
            first_event: time at which it received its first event; 0.0 if that is not exported.
            ends: the ends by task type that it has counted until now, at least.
            shown: the ends by task type that its tasks show.
            now: our time.
            is_new: whether the tasks show no end from before it started. They do if it has loaded a saved state.
        """
        self.add_types(ends, now)
        is_first = self.process is None
        if not is_first and process:
            # Flower's time is in full seconds.
            self.unwatched += max(1.0, max(process, first_event) - self.scraped_at)
        self.is_base_exact = is_new and not is_first
        for name, totals in self.types.items():
            # A full Flower may have forgotten some of the tasks that this scrape has counted.
            counted = max(shown[name], totals.compared - totals.compared_before)
            totals.base = counted if self.is_base_exact else ends[name]
            totals.compared, totals.missed_before = 0, totals.missed
            totals.retried = 0
        self.process = process

    def count_retries(self, retries: Counter[str], now: float) -> None:
        """Count the retries by task type that Flower's process has counted.

        A task does not show each of its retries, and Flower forgets it while it waits for the next one.
        """
        self.add_types(retries, now)
        for name, count in retries.items():
            totals = self.types[name]
            totals.retries += max(0, count - totals.retried)
            totals.retried = max(count, totals.retried)

    def skip_retries(self, retries: Counter[str], now: float) -> None:
        """Note the retries by task type that happened before counting began."""
        self.add_types(retries, now)
        for name, count in retries.items():
            self.types[name].retried = count

    def compare(self, ends: Counter[str], now: float, *, is_exact: bool) -> None:
        """Compare with Flower's count of ends.

        Args:
            ends: the ends by task type that it had counted before the tasks were read.
            now: our time.
            is_exact: whether the tasks show these ends and no later ones.
        """
        self.add_types(ends, now)
        ahead = {name: ends[name] - totals.base - totals.compared for name, totals in self.types.items()}
        if is_exact and not self.is_base_exact and ends.total() == self.compared_with:
            self._correct_base(ahead)
        self.compared_with = ends.total()
        for totals in self.types.values():
            totals.compared_before = totals.compared
        self._add_missed(ahead)

    def _correct_base(self, ahead: dict[str, int]) -> None:
        """Lower the base by ends that came while it was read and were counted since."""
        excess = -sum(ahead.values())
        for name, count in ahead.items():
            part = min(max(0, excess), max(0, -count))
            self.types[name].base -= part
            ahead[name] += part
            excess -= part
        self.is_base_exact = True

    def _add_missed(self, ahead: Mapping[str, int]) -> None:
        """Raise the missed ends to the number that Flower counted and no task shows.

        `ahead` is the difference between Flower's count and the totals, by task type. Flower counts an end under the
        name that it knows then, and the task may show another one, or none. So only the sum of all types is certain.
        Types with a name are raised first.
        """
        rest = sum(ahead.values()) - sum(totals.missed - totals.missed_before for totals in self.types.values())
        for name in sorted(ahead, key=lambda name: name == UNKNOWN_TYPE):
            totals = self.types[name]
            rise = min(rest, ahead[name] - (totals.missed - totals.missed_before))
            if rise > 0:
                totals.missed += rise
                rest -= rise

    def by_type(self, by_kind: Counter[EventKind], events: Collection[str]) -> Counter[str]:
        """Return the number of these events, by task type.

        The task types are those that the events count under: UNKNOWN_TYPE for a missing one, OTHER_TYPES for one over
        the limit.
        """
        counts: Counter[str] = Counter()
        for (event, task_type), count in by_kind.items():
            if event in events:
                counts[self._label(label_text(task_type, UNKNOWN_TYPE))] += count
        return counts


def first_end(tasks: TaskTable) -> float:
    """Return the earliest time at which a task ended last; infinity if none has ended."""
    page = tasks.compact()
    return min((ended for row in page.rows.values() if (ended := page.columns[last_end_of][row])), default=math.inf)


def ends_on(page: TaskPage, kinds: Sequence[tuple[str, str]]) -> Counter[str]:
    """Return how many ends the tasks of a page show, by task type.

    `kinds` are the shared kinds of the page's table.
    """
    shown: Counter[str] = Counter()
    every = (1 << len(END_STATES)) - 1
    for row in page.rows.values():
        shown[kinds[page.kinds[row]][0]] += (int(page.columns[ends_of][row]) & every).bit_count()
    return shown
