"""Flower's HTTP API: workers, pages of tasks and metrics.

The endpoints are described in Flower's API reference
(https://flower.readthedocs.io/en/latest/api.html). Every failure is a
FlowerError. Arguments called `until` are deadlines on the clock of
``time.monotonic()``.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
import time
from collections.abc import Iterable, Iterator
from email.utils import parsedate_to_datetime
from itertools import chain
from typing import Any, cast
from urllib.parse import urlsplit

from push_job.flower.decoding import DecodingError, decode_json, decode_tasks
from push_job.flower.metrics_text import LINE_LIMIT
from push_job.flower.page import SharedIndex, TaskPage
from push_job.flower.task import OF_EVENTS, Column, EventFields, TaskFields, label_text
from push_job.http.client import REDIRECTS, Answer, Client
from push_job.http.errors import TransportError
from push_job.settings import Endpoint

#: Tasks that are read at most; each takes about 150 bytes.
TASK_LIMIT = 2_000_000

#: Bytes of one answer: with tasks (twice the largest Flower ever seen, 100,000 tasks of 10 KB), of ``/metrics``, of
#: short JSON, and of the page of workers.
TASKS_LIMIT = 2 * 2**30
METRICS_LIMIT = 64 * 2**20
STATUS_LIMIT = 2**20
TEXT_LIMIT = 16 * 2**20

#: Limits for an answer that the scrape can do without: seconds, and fraction of the time left. A busy Flower takes
#: seconds to answer anything.
_OPTIONAL_SECONDS, _OPTIONAL_FRACTION = 2.0, 1 / 4

#: Seconds by which the Date of an answer with tasks may be earlier than that of the answer before it: proxies with
#: slightly different clocks may set it.
_DATE_TOLERANCE = 1.0

#: A date as servers write it (IMF-fixdate, RFC 9110 section 5.6.7).
_IMF_DATE = re.compile(r"[A-Z][a-z]{2}, \d{2} [A-Z][a-z]{2} \d{4} \d{2}:\d{2}:\d{2} GMT", re.ASCII)

#: Tornado's ETag: the SHA-1 of the body, in hexadecimal.
_SHA1_ETAG = re.compile(r'"([0-9a-f]{40})"')


class FlowerError(TransportError):
    """Failure to scrape a Flower.

    The message says why and what to do. It does not contain Flower's address.
    """


class Flower:
    """The API of one Flower, for one scrape.

    Attributes:
        client: sends the requests.
        columns: values to read of each task in addition to its type, state and seconds.
        now: Flower's Unix time at its last answer with tasks or metrics.
        is_sorted: whether the last answer with tasks came from Flower 2.2 or later, which sorts all its tasks for it.
        tasks_read: number of tasks transferred so far.
    """

    def __init__(self, client: Client, columns: Iterable[Column] = ()) -> None:
        self.client = client
        self.columns = tuple(columns)
        self.now = time.time()
        self.is_sorted = False
        self.tasks_read = 0
        self._newest_date = 0.0

    def workers(self, until: float) -> dict[str, bool]:
        """Return each worker's node name and whether Flower sees its heartbeats now.

        The answer to ``status=1`` is used, because the plain list is filled when Flower starts and lacks workers that
        started later.
        """
        workers = self._workers(until)
        # An empty answer pushes "no workers", which alerts somebody, so it is asked for twice.
        return workers or self._workers(until)

    def _workers(self, until: float) -> dict[str, bool]:
        workers = self.get_json("/api/workers", until, status=1)
        if not isinstance(workers, dict) or not all(isinstance(alive, bool) for alive in workers.values()):
            raise FlowerError("its /api/workers?status=1 is not what Flower answers; is this Flower's address?")
        return workers

    def page(self, shared: SharedIndex, offset: int, limit: int, until: float) -> TaskPage:
        """Return the page of `limit` tasks that starts at `offset`.

        It has fewer tasks only if it reaches the end of the list.
        """
        return self._tasks(shared, until, limit=limit, offset=offset)

    def page_with_fields(self, shared: SharedIndex, offset: int, limit: int, until: float, **filters: str) -> TaskPage:
        """Return a page as `page` does, with retries and Flower's filters.

        The page keeps the fields of the tasks.
        """
        return self.client.retrying(
            lambda: self._tasks(shared, until, keep_fields=True, limit=limit, offset=offset, **filters), until
        )

    def all_tasks(self, shared: SharedIndex, until: float) -> TaskPage:
        """Return all tasks that Flower remembers, as of one point in time."""
        return self._tasks(shared, until)

    def has_task_in(self, state: str, until: float) -> bool:
        """Return whether any task is in `state`."""
        return bool(self.tasks_in(state, 1, until))

    def tasks_in(self, state: str, limit: int, until: float) -> dict[str, EventFields]:
        """Return tasks in `state` by id, at most `limit` of them."""
        with self._answer("/api/tasks", until, limit=limit, state=state) as answer:
            pieces = decode_tasks(_verified(answer, TASKS_LIMIT), EventFields)
            return cast("dict[str, EventFields]", dict(chain.from_iterable(piece.items() for piece in pieces)))

    def _tasks(self, shared: SharedIndex, until: float, *, keep_fields: bool = False, **params: int | str) -> TaskPage:
        fields = EventFields if keep_fields or not OF_EVENTS.isdisjoint(self.columns) else TaskFields
        with self._answer("/api/tasks", until, **params) as answer:
            self.now = self._date(answer)
            # The only trace of its version in an answer. A proxy may add the same header.
            self.is_sorted = "X-Content-Type-Options" in answer.headers
            page = TaskPage(shared, self.columns, self.now, keep_fields=keep_fields)
            for tasks in decode_tasks(_verified(answer, TASKS_LIMIT), fields):
                page.add(tasks)
                self.tasks_read += len(tasks)
                if len(page) > TASK_LIMIT:
                    raise too_many_tasks()
            return page

    def worker_list(self, until: float) -> tuple[dict[str, dict[str, Any]], float, str]:
        """Return the rows of the page of workers.

        Returns:
            The rows by node name, Flower's Unix time, and the path of the page.
        """
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
            now = self._date(answer)
            table = decode_json(b"".join(_verified(answer, TEXT_LIMIT)))
        return (table.get("data") if isinstance(table, dict) else None), now

    def get_json(self, path: str, until: float, *, max_bytes: int = STATUS_LIMIT, **params: int | str) -> Any:
        """Return the JSON of any endpoint, of at most `max_bytes` bytes."""
        with self._answer(path, until, **params) as answer:
            self._date(answer)
            return decode_json(b"".join(_verified(answer, max_bytes)))

    def metrics_lines(self, until: float, limit: int = METRICS_LIMIT) -> Iterator[str]:
        """Yield the lines of Flower's ``/metrics`` as they arrive.

        The text may have at most `limit` bytes.
        """
        # The unique argument, which Flower ignores, keeps a proxy from answering out of its cache.
        with self._answer("/metrics", until, _=time.monotonic_ns()) as answer:
            self.now = self._date(answer, tolerance=0.0)
            rest = b""
            for chunk in _verified(answer, limit):
                *lines, rest = (rest + chunk).split(b"\n")
                for line in (*lines, rest):
                    if len(line) > LINE_LIMIT:
                        raise FlowerError(f"its /metrics has a line longer than {LINE_LIMIT // 1024} KiB")
                yield from (line.decode("utf-8", "replace") for line in lines)
            yield rest.decode("utf-8", "replace")

    @contextlib.contextmanager
    def _answer(self, path: str, until: float, **params: int | str) -> Iterator[Answer]:
        """Send one request, and yield its answer.

        Any failure until the answer has been read becomes a FlowerError.
        """
        try:
            with contextlib.closing(self.client.get(path, until, **params)) as answer:
                yield answer
        except DecodingError as error:
            raise FlowerError(f"it answered {path}, but {error}", transient=error.damaged) from error
        except FlowerError:
            raise
        except TransportError as error:
            raise explain_flower_error(error, path, self.client.endpoint) from error

    def _date(self, answer: Answer, tolerance: float = _DATE_TOLERANCE) -> float:
        """Return the answer's Date as Unix time.

        If a proxy removed or damaged the Date, return our own time.

        Raises:
            FlowerError: if the answer is older than an earlier one of this scrape, as from a cache.
        """
        date = answer.headers.get("Date", "")
        # Python's parser also accepts half a date, and one without a time zone.
        if not _IMF_DATE.fullmatch(date):
            return time.time()
        try:
            now = parsedate_to_datetime(date).timestamp()
        except (ValueError, OverflowError):
            return time.time()
        if now < self._newest_date - tolerance:
            raise FlowerError("its answer is older than the one before it; does a proxy cache answers?")
        self._newest_date = max(self._newest_date, now)
        return now


def optional_deadline(until: float) -> float:
    """Return the deadline for an answer that the scrape can do without.

    It is never later than `until`.
    """
    now = time.monotonic()
    return min(until, now + max(_OPTIONAL_SECONDS, (until - now) * _OPTIONAL_FRACTION))


def too_many_tasks() -> FlowerError:
    """Return the error for a list that would take too much memory."""
    return FlowerError(f"it lists more than {TASK_LIMIT:,} tasks; start it with a smaller --max-tasks")


def explain_flower_error(error: TransportError, path: str, endpoint: Endpoint) -> FlowerError:
    """Return the FlowerError for a failed request for `path`.

    Its message says what the failure means and what to do.
    """
    sign_in, reason = endpoint.sign_in, str(error)
    said = f": {error.body[:200]}" if error.body and not error.body.startswith("<") else ""
    if error.status == 401:
        reason += f": {sign_in.explain_401('flower')}"
        if not sign_in.headers():
            reason += ", or start Flower with FLOWER_UNAUTHENTICATED_API=true"
    elif error.status == 403:
        reason += f": {sign_in.explain_403()}"
    elif error.status == 404:
        # Flower gives a reason for its own 404s, such as a broker that it does not support.
        reason += f" to {path}{_explain_404(endpoint) if 'not found' in said.lower() or not said else said}"
    elif error.status == 405:
        reason += ": Flower up to 1.2 does so when it runs with --basic-auth or --auth; newer versions do not"
    elif error.status in REDIRECTS:
        reason += _explain_redirect(error.location)
    elif error.status is not None:
        reason += said
    return FlowerError(
        reason,
        transient=error.transient,
        overloaded=error.overloaded,
        unreachable=error.unreachable,
        status=error.status,
        retry_after=error.retry_after,
    )


def _explain_404(endpoint: Endpoint) -> str:
    path = urlsplit(endpoint.url).path
    if "/api" in path:
        return f": leave {path[path.index('/api') :]} out of its URL"
    return ": is this Flower? if it runs with --url-prefix, put the prefix into its URL"


def _explain_redirect(location: str) -> str:
    target = urlsplit(location)
    shown = f", a redirect to {target.netloc}{target.path}"[:200]
    if target.scheme == "https" and target.netloc:
        return f"{shown}: use https:// in its URL"
    return (
        f"{shown}: a login page? With --auth (OAuth) no program can read a Flower; start a second Flower without --auth"
        " for this job, inside the network or behind a proxy that signs in"
    )


def _verified(answer: Answer, limit: int) -> Iterable[bytes]:
    """Yield the chunks of the body, and verify it at its end.

    Raises DecodingError if the body is not what the server sent.

    Flower's web server, Tornado, sends the SHA-1 of every body as its ETag. It reveals what TCP's checksum and a length
    do not: a body that a broken proxy damaged or mixed up.
    """
    expected = _SHA1_ETAG.fullmatch(answer.headers.get("ETag", ""))
    digest = hashlib.sha1(usedforsecurity=False)
    for chunk in answer.chunks(limit):
        digest.update(chunk)
        yield chunk
    if expected and digest.hexdigest() != expected[1]:
        raise DecodingError("the body was damaged on its way (its SHA-1 is not its ETag)", damaged=True)
