"""Asks Flower: worker status and pages of tasks. Every failure is one kind of error, in plain words.

The endpoints are described in Flower's API reference (https://flower.readthedocs.io/en/latest/api.html).
"""

from __future__ import annotations

import contextlib
import hashlib
import re
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

from push_job.flower.decoding import DecodingError, decode_json, decode_tasks
from push_job.flower.incremental.event_counts import EventCounts, Sender, count_events
from push_job.flower.page import SharedIndex, TaskPage
from push_job.flower.task import Column, EventFields, TaskFields, label_text
from push_job.http.client import REDIRECTS, Answer, Client
from push_job.http.errors import TransportError
from push_job.settings import Credentials

#: The most tasks that are read; each takes about 150 bytes.
TASK_LIMIT = 2_000_000

#: The most bytes of one answer: twice the largest Flower ever seen (100,000 tasks of 10 KB).
TASKS_LIMIT = 2 * 2**30
METRICS_LIMIT = 64 * 2**20
STATUS_LIMIT = 2**20
TEXT_LIMIT = 16 * 2**20

#: How long is waited for what all else can be read without: so many seconds, or this part of the time that is left. A
#: real Flower that is busy with a long list takes some seconds to answer anything.
_PATIENCE, _PART = 2.0, 1 / 4

#: A date as servers write it (IMF-fixdate, RFC 9110 section 5.6.7).
_WHOLE_DATE = re.compile(r"[A-Z][a-z]{2}, \d{2} [A-Z][a-z]{2} \d{4} \d{2}:\d{2}:\d{2} GMT", re.ASCII)

#: What Tornado's ETag is: the SHA-1 of the body, in hexadecimal.
_SHA1_ETAG = re.compile(r'"([0-9a-f]{40})"')


class FlowerError(TransportError):
    """A Flower could not be scraped; the message says why and what to do, without its address."""


class Flower:
    """One Flower's API. A moment called `until` is on the clock of ``time.monotonic()``.

    `columns` are what is read of each task beside its type, state and seconds. `now` is Flower's Unix time at its last
    answer with tasks or counters, `is_new` is whether one with tasks was of Flower 2.2 or later, and `tasks_read` is
    how many tasks were transferred so far.
    """

    def __init__(self, client: Client, columns: Iterable[Column] = ()) -> None:
        self.client = client
        self.columns = tuple(columns)
        self.now = time.time()
        self.is_new = False
        self.tasks_read = 0

    def workers(self, until: float) -> dict[str, bool]:
        """Each worker's node name and whether its heartbeats are seen, as Flower sees it now.

        Taken from ``status=1``: the plain list is filled at Flower's start and misses workers that came later.
        """
        workers = self._workers(until)
        # An empty answer would push "no workers", which pages somebody, so it is worth a second look.
        return workers or self._workers(until)

    def _workers(self, until: float) -> dict[str, bool]:
        workers = self.get_json("/api/workers", until, status=1)
        if not isinstance(workers, dict) or not all(isinstance(alive, bool) for alive in workers.values()):
            raise FlowerError("its /api/workers?status=1 is not what Flower answers; is this Flower's address?")
        return workers

    def page(self, shared: SharedIndex, offset: int, limit: int, until: float) -> TaskPage:
        """The `limit` tasks after the `offset` newest ones; fewer only at the list's end."""
        return self._tasks(shared, until, limit=limit, offset=offset)

    def page_with_fields(self, shared: SharedIndex, offset: int, limit: int, until: float, **having: str) -> TaskPage:
        """As `page`, of those `having` what Flower filters by, and retried; the batch keeps their fields."""
        return self.client.retrying(
            lambda: self._tasks(shared, until, EventFields, limit=limit, offset=offset, **having), until
        )

    def all_tasks(self, shared: SharedIndex, until: float) -> TaskPage:
        """Every task that Flower remembers, as of one moment."""
        return self._tasks(shared, until)

    def has_task_in(self, state: str, until: float) -> bool:
        """Whether any task is in this state."""
        with self._answer("/api/tasks", until, limit=1, state=state) as answer:
            return any(decode_tasks(_intact(answer, TASKS_LIMIT)))

    def _tasks(
        self, shared: SharedIndex, until: float, fields: type[TaskFields] = TaskFields, **params: int | str
    ) -> TaskPage:
        with self._answer("/api/tasks", until, **params) as answer:
            self.now = _server_time(answer)
            # The only sign of its version in an answer. A proxy may send the same header.
            self.is_new = "X-Content-Type-Options" in answer.headers
            batch = TaskPage(shared, self.columns, self.now, keep=fields is EventFields)
            for tasks in decode_tasks(_intact(answer, TASKS_LIMIT), fields):
                batch.add(tasks)
                self.tasks_read += len(tasks)
                if len(batch) > TASK_LIMIT:
                    raise too_many_tasks()
            return batch

    def worker_list(self, until: float) -> tuple[dict[str, dict[str, Any]], float, str]:
        """What the page of workers shows of each, by node name; Flower's Unix time; and the page's path."""
        try:
            path = "/workers"
            rows, now = self._worker_rows(path, until)
        except FlowerError as error:
            if error.status not in (404, 405):
                raise
            path = "/dashboard"  # up to Flower 1.2
            rows, now = self._worker_rows(path, until)
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            raise FlowerError(f"its {path}?json=1 is not what Flower answers")
        return {label_text(row.get("hostname"), "unknown"): row for row in rows}, now, path

    def _worker_rows(self, path: str, until: float) -> tuple[Any, float]:
        with self._answer(path, until, json=1) as answer:
            now = _server_time(answer)
            table = decode_json(b"".join(_intact(answer, TEXT_LIMIT)))
        return (table.get("data") if isinstance(table, dict) else None), now

    def get_json(self, path: str, until: float, *, most_bytes: int = STATUS_LIMIT, **params: int | str) -> Any:
        """Any JSON that Flower answers, of at most so many bytes."""
        with self._answer(path, until, **params) as answer:
            return decode_json(b"".join(_intact(answer, most_bytes)))

    def event_counts(self, until: float) -> EventCounts | None:
        """How many events of tasks it has taken in; None if it does not say."""
        soon = soon_enough(until)
        try:
            # What breaks off at once is asked for again; one that is silent is not, for all else is still to be read.
            return self.client.retrying(lambda: count_events(self.lines("/metrics", soon, METRICS_LIMIT)), soon)
        except FlowerError as error:
            if not soon <= time.monotonic() < until:
                raise
            reason = "its /metrics was not answered in a part of the time that all else needs too"
            raise FlowerError(reason, transient=True, overloaded=True) from error

    def events_since(self, before: EventCounts, until: float) -> Counter[Sender] | None:
        """How many events came since then from those that sent any; None if it is not the process that it was."""
        now = self.event_counts(until)
        return now.since(before) if now and now.follow(before) else None

    def lines(self, path: str, until: float, limit: int) -> Iterator[str]:
        """The lines of a text in UTF-8 of at most `limit` bytes, as they come."""
        with self._answer(path, until) as answer:
            self.now = _server_time(answer)
            rest = b""
            for chunk in _intact(answer, limit):
                *whole, rest = (rest + chunk).split(b"\n")
                for line in whole:
                    yield line.decode("utf-8", "replace")
            yield rest.decode("utf-8", "replace")

    @contextlib.contextmanager
    def _answer(self, path: str, until: float, **params: int | str) -> Iterator[Answer]:
        """One request; whatever goes wrong until the answer was read becomes a FlowerError."""
        try:
            with contextlib.closing(self.client.get(path, until, **params)) as answer:
                yield answer
        except DecodingError as error:
            raise FlowerError(f"it answered {path}, but {error}", transient=error.damaged) from error
        except TransportError as error:
            raise explain_flower_error(error, path, self.client.endpoint.credentials) from error


def soon_enough(until: float) -> float:
    """The moment up to which is waited for what all else can be read without, if all has to be over by `until`."""
    now = time.monotonic()
    return min(until, now + max(_PATIENCE, (until - now) * _PART))


def too_many_tasks() -> FlowerError:
    """The error of a list that would take too much memory."""
    return FlowerError(f"it lists more than {TASK_LIMIT:,} tasks; start it with a smaller --max-tasks")


def explain_flower_error(error: TransportError, path: str, credentials: Credentials) -> FlowerError:
    """Say what Flower's refusal of `path` means and what mends it."""
    reason = str(error)
    if error.status == 401:
        reason += credentials.refused or (
            ": sign in with --flower-username and a password or with a token,"
            " or start Flower with FLOWER_UNAUTHENTICATED_API=true"
        )
    elif error.status == 403:
        reason += ": these credentials may not read its API"
    elif error.status == 404:
        reason += f" to {path}: is this Flower? if it runs with --url-prefix, put the prefix into its URL"
    elif error.status == 405:
        reason += ": Flower up to 1.2 answers so when it runs with --basic-auth or --auth; newer ones do not"
    elif error.status in REDIRECTS:
        target = urlsplit(error.location)
        reason += f", a redirect to {target.netloc}{target.path}"[:200]
        reason += (
            ": use https:// in its URL"
            if target.scheme == "https" and target.netloc
            else ": a login page? Flower's API needs --basic-auth or FLOWER_UNAUTHENTICATED_API=true there"
        )
    elif error.status is not None and error.body and not error.body.startswith("<"):
        reason += f": {error.body[:200]}"
    return FlowerError(
        reason,
        transient=error.transient,
        overloaded=error.overloaded,
        status=error.status,
        retry_after=error.retry_after,
    )


def _intact(answer: Answer, limit: int) -> Iterable[bytes]:
    """The body's chunks; at its end, DecodingError if it is not what the server sent.

    Flower's web server, Tornado, sends the SHA-1 of every body as its ETag. That finds what TCP's checksum and a
    length cannot: a body that a broken proxy damaged or mixed up.
    """
    expected = _SHA1_ETAG.fullmatch(answer.headers.get("ETag", ""))
    digest = hashlib.sha1(usedforsecurity=False)
    for chunk in answer.chunks(limit):
        digest.update(chunk)
        yield chunk
    if expected and digest.hexdigest() != expected[1]:
        raise DecodingError("the body was damaged on its way (its SHA-1 is not its ETag)", damaged=True)


def _server_time(answer: Answer) -> float:
    """The server's Unix time from its Date header, or ours if a proxy took the header away or broke it."""
    date = answer.headers.get("Date", "")
    # Python's parser makes a time of half a date too, and takes one without its zone for local time.
    if _WHOLE_DATE.fullmatch(date):
        with contextlib.suppress(ValueError, OverflowError):
            return parsedate_to_datetime(date).timestamp()
    return time.time()
