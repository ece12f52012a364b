"""Any bytes of an answer become valid exposition text or one clear error.

Sums are kept.
"""

import json
import math
import subprocess
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, cast
from urllib.request import Request, urlopen

import pytest
from hypothesis import HealthCheck, assume, event, given, settings
from hypothesis import strategies as st
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from push_job.flower.api import Flower, FlowerError
from push_job.flower.page import SharedIndex
from push_job.flower.table import TaskTable
from push_job.flower.task import STATES
from push_job.flower.tasks_by_kind import Tally
from push_job.http.client import Client
from push_job.metrics.families import of_tasks
from push_job.metrics.registry import push_registry
from push_job.metrics.snapshot import Folding, Snapshot
from testbed.process import find_program
from testbed.services import Pushgateway

PROPERTY = settings(deadline=None, max_examples=150)

MOST_TYPES = 7
IN_FLIGHT = {"PENDING", "RECEIVED", "STARTED", "RETRY"}

MOMENTS = ("sent", "received", "started", "retried", "timestamp")

#: Any text that JSON can hold, lone surrogates too; short and often the same, so that tasks share names.
texts = st.one_of(
    st.sampled_from(["shop.buy", "shop.sell", "other", "unknown", "", "x" * 250, "a\nb", 'q"\\']),
    st.text(st.characters(exclude_categories=()), max_size=5),
)
states = st.one_of(st.sampled_from([*STATES, *STATES, "REJECTED", "OTHER"]), texts)
numbers = st.one_of(
    st.integers(min_value=-(10**40), max_value=10**40),
    st.floats(),
    st.floats(min_value=0, max_value=10**6),
    st.floats(min_value=1.6e9, max_value=1.9e9),
)
anything = st.recursive(
    st.one_of(st.none(), st.booleans(), numbers, texts),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(texts, inner, max_size=3)),
    max_leaves=6,
)
#: Mostly tasks as Flower sends them, sometimes anything.
tasks = st.fixed_dictionaries(
    {},
    optional={
        "name": st.one_of(texts, anything),
        "state": st.one_of(states, states, anything),
        **dict.fromkeys(
            ("sent", "received", "started", "retried", "timestamp", "runtime"), st.one_of(numbers, anything)
        ),
        "eta": st.one_of(st.datetimes().map(lambda moment: moment.isoformat()), anything),
        "args": anything,
        "worker": texts,
    },
)
task_ids = st.one_of(st.uuids().map(str), texts)
lists_of_tasks = st.dictionaries(task_ids, st.one_of(tasks, tasks, tasks, anything), max_size=12)
worker_lists = st.dictionaries(texts, st.booleans(), max_size=4)
#: Where a body is cut into the pieces that come from the socket.
cuts = st.lists(st.integers(min_value=1, max_value=400), max_size=30)


class Answered:
    """Stands in for an Answer: a body in pieces."""

    def __init__(self, body: bytes, sizes: list[int]) -> None:
        self.headers: Mapping[str, str] = {"Date": "Sat, 22 Nov 2025 08:00:00 GMT"}
        self._body = body
        self._sizes = sizes

    def chunks(self, _limit: int) -> Iterator[bytes]:
        rest = self._body
        for size in self._sizes:
            if rest:
                yield rest[:size]
                rest = rest[size:]
        if rest:
            yield rest

    def close(self) -> None:
        pass


class Answering:
    """Stands in for a Client: each request gets the next body."""

    def __init__(self, bodies: list[bytes], sizes: list[int]) -> None:
        self._bodies = iter(bodies)
        self._sizes = sizes

    def get(self, _path: str, _until: float, **_params: int) -> Answered:
        return Answered(next(self._bodies), self._sizes)


def read(bodies: list[bytes], sizes: list[int] | None = None) -> TaskTable:
    """Return the tasks of some answers, of which later ones are newer.

    Raises:
        FlowerError: an answer is unusable. No other exception may occur.
    """
    flower = Flower(cast("Client", Answering(bodies, sizes or [])))
    found = TaskTable(SharedIndex())
    for _ in bodies:
        found.merge(flower.all_tasks(found.shared, 0.0))
    return found


def read_or_reason(bodies: list[bytes], sizes: list[int] | None = None) -> TaskTable | str:
    """Return the tasks, or the error."""
    try:
        return read(bodies, sizes)
    except FlowerError as error:
        return str(error)


def written(document: Any) -> bytes:
    """Return JSON as Flower writes it."""
    return json.dumps(document).encode()


def text_of(found: TaskTable, workers: dict[str, bool]) -> str:
    """Return a push in Prometheus' text format."""
    tallies = found.tally()
    folded = Folding(tallies, MOST_TYPES).fold(tallies)
    snapshot = Snapshot(workers, folded, len(found), of_tasks(found, folded))
    return generate_latest(push_registry(snapshot, 0.5)).decode()


def samples(text: str) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """Return the samples by name and labels.

    Raises:
        ValueError: the text is invalid or has a sample twice.
    """
    found: dict[tuple[str, frozenset[tuple[str, str]]], float] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            key = sample.name, frozenset(sample.labels.items())
            if key in found:
                raise ValueError(f"{key} is there twice")
            found[key] = sample.value
    return found


def total(text: str, family: str) -> float:
    """Return the sum of a family's values."""
    return math.fsum(value for (name, _), value in samples(text).items() if name == family)


def valid_runtime(task: Any) -> float:
    """Return the seconds that a finished task adds, as the contract defines them."""
    runtime = task.get("runtime") if isinstance(task, dict) else None
    if not isinstance(task, dict) or task.get("state") in IN_FLIGHT or isinstance(runtime, bool):
        return 0.0
    return float(runtime) if isinstance(runtime, int | float) and 0 <= runtime <= 3.2e9 else 0.0


def time_is_valid(value: float) -> bool:
    return not isinstance(value, bool) and 0 < value <= 6.4e9


def is_unfinished(task: dict[str, Any]) -> bool:
    """Return whether a task has not ended.

    A task in a custom state has not ended if it has started and has neither succeeded nor failed since.
    """
    state = task.get("state")
    if state in IN_FLIGHT or not isinstance(state, str) or state in {*STATES, "REJECTED", "IGNORED"}:
        return state in IN_FLIGHT
    started, *ended = (
        float(value) if isinstance(value := task.get(field), int | float) and time_is_valid(value) else 0.0
        for field in ("started", "succeeded", "failed")
    )
    return started > max(ended)


def is_hashable(value: Any) -> bool:
    """Return whether a state can be looked up in a set."""
    return not isinstance(value, list | dict)


@PROPERTY
@given(lists_of_tasks, worker_lists, cuts)
def test_any_tasks_give_valid_text_in_which_each_counts_once(
    document: dict[str, Any], workers: dict[str, bool], sizes: list[int]
) -> None:
    assume(not document or any(isinstance(task, dict) for task in document.values()))
    text = text_of(read([written(document)], sizes), workers)
    for (_, labels), value in samples(text).items():
        assert math.isfinite(value)
        assert value >= 0
        for _, label in labels:
            assert len(label.encode()) <= 4 * 200
    assert total(text, "celery_task_types_by_state") == len(document) == total(text, "flower_scrape_tasks")
    assert len({dict(labels).get("task_type") for (name, labels) in samples(text) if name.endswith("by_state")}) <= (
        MOST_TYPES + 1  # the durations have no task_type
    )


@PROPERTY
@given(lists_of_tasks, cuts)
def test_sums_of_runtimes_are_kept(document: dict[str, Any], sizes: list[int]) -> None:
    assume(not document or any(isinstance(task, dict) for task in document.values()))
    assume(all(not isinstance(task, dict) or is_hashable(task.get("state")) for task in document.values()))
    finished = {
        task_id: task for task_id, task in document.items() if not isinstance(task, dict) or not is_unfinished(task)
    }
    assume(not finished or any(isinstance(task, dict) for task in finished.values()))
    text = text_of(read([written(finished)], sizes), {})
    wanted = math.fsum(valid_runtime(task) for task in finished.values())
    assert total(text, "celery_task_duration_seconds_by_state") == pytest.approx(wanted, rel=1e-9)


@PROPERTY
@given(lists_of_tasks, cuts, cuts)
def test_where_the_body_is_cut_into_pieces_changes_nothing(
    document: dict[str, Any], sizes: list[int], other_sizes: list[int]
) -> None:
    assume(not document or any(isinstance(task, dict) for task in document.values()))
    body = written(document)
    assert read([body], sizes).tally() == read([body], other_sizes).tally()


@PROPERTY
@given(st.lists(lists_of_tasks, min_size=1, max_size=4), cuts)
def test_a_task_on_several_pages_counts_once_as_it_was_last(pages: list[dict[str, Any]], sizes: list[int]) -> None:
    assume(all(not page or any(isinstance(task, dict) for task in page.values()) for page in pages))
    merged: dict[str, Any] = {}
    for page in pages:
        merged |= page
    event(f"{sum(map(len, pages)) - len(merged)} tasks on several pages")
    apart, together = read([written(page) for page in pages], sizes), read([written(merged)])
    assert len(apart) == len(merged)
    counts = [Counter({kind: tally.count for kind, tally in found.tally().items()}) for found in (apart, together)]
    assert counts[0] == counts[1]


@PROPERTY
@given(st.one_of(anything, lists_of_tasks), worker_lists)
def test_any_json_gives_valid_text_or_one_clear_error(document: Any, workers: dict[str, bool]) -> None:
    found = read_or_reason([written(document)])
    event(type(found).__name__)
    if isinstance(found, str):
        assert len(found.splitlines()) == 1
        assert not isinstance(document, dict) or not any(isinstance(task, dict) for task in document.values())
    else:
        assert samples(text_of(found, workers))


@PROPERTY
@given(lists_of_tasks, st.data())
def test_a_cut_off_body_is_never_accepted(document: dict[str, Any], data: st.DataObject) -> None:
    body = written(document)
    kept = data.draw(st.integers(min_value=0, max_value=len(body) - 1))
    with pytest.raises(FlowerError):
        read([body[:kept]], data.draw(cuts))


@PROPERTY
@given(lists_of_tasks, st.data())
def test_damaged_bytes_give_valid_text_or_one_clear_error(document: dict[str, Any], data: st.DataObject) -> None:
    body = bytearray(written(document))
    for _ in range(data.draw(st.integers(min_value=1, max_value=4))):
        at = data.draw(st.integers(min_value=0, max_value=len(body)))
        body[at : at + data.draw(st.integers(min_value=0, max_value=3))] = data.draw(st.binary(max_size=3))
    found = read_or_reason([bytes(body)], data.draw(cuts))
    event(type(found).__name__)
    if isinstance(found, str):
        assert len(found.splitlines()) == 1
    else:
        assert samples(text_of(found, {}))


@PROPERTY
@given(st.binary(max_size=200), cuts)
def test_any_bytes_are_one_clear_error_or_tasks(body: bytes, sizes: list[int]) -> None:
    found = read_or_reason([body], sizes)
    assert not isinstance(found, str) or len(found.splitlines()) == 1


@PROPERTY
@given(
    st.dictionaries(
        st.tuples(texts, states), st.builds(Tally, st.integers(1, 10**6), st.floats(0, 10**9)), max_size=30
    ),
    st.integers(min_value=1, max_value=10),
)
def test_folding_keeps_all_sums(tallies: dict[tuple[str, str], Tally], most: int) -> None:
    folded = Folding(tallies, most).fold(tallies)
    assert len({name for name, _ in folded}) <= most
    assert sum(tally.count for tally in folded.values()) == sum(tally.count for tally in tallies.values())
    wanted = math.fsum(tally.seconds for tally in tallies.values())
    assert math.fsum(tally.seconds for tally in folded.values()) == pytest.approx(wanted, rel=1e-9)


@settings(PROPERTY, max_examples=25)
@given(lists_of_tasks, worker_lists)
def test_promtool_agrees_that_the_text_is_valid(document: dict[str, Any], workers: dict[str, bool]) -> None:
    assume(not document or any(isinstance(task, dict) for task in document.values()))
    text = text_of(read([written(document)]), workers)
    promtool = find_program("promtool", "prometheus")
    done = subprocess.run([promtool, "check", "metrics"], input=text.encode(), capture_output=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@settings(PROPERTY, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(lists_of_tasks, worker_lists)
def test_a_real_pushgateway_has_what_the_text_says(
    clean_pushgateway: Pushgateway, document: dict[str, Any], workers: dict[str, bool]
) -> None:
    assume(not document or any(isinstance(task, dict) for task in document.values()))
    text = text_of(read([written(document)]), workers)
    request = Request(f"{clean_pushgateway.url}/metrics/job/properties", text.encode(), method="PUT")
    urlopen(request).close()
    group = frozenset({("job", "properties"), ("instance", "")})
    found = {
        (name, labels - group): value
        for (name, labels), value in clean_pushgateway.samples(job="properties").items()
        if not name.startswith("push_") or name == "push_job_build_info"
    }
    assert found == samples(text)
