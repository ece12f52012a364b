"""Decoding of bodies into tasks, one piece at a time."""

import json

import pytest

from push_job.flower import decoding
from push_job.flower.decoding import DecodingError, decode_json, decode_piece, decode_tasks
from push_job.flower.task import EventFields, TaskFields


def decoded(body: bytes, size: int = 50) -> list[dict[str, TaskFields]]:
    """Decode a body that arrives in chunks of `size` bytes."""
    return list(decode_tasks(body[at : at + size] for at in range(0, len(body), size)))


@pytest.mark.parametrize("size", [1, 7, 50, 10_000])
@pytest.mark.parametrize("spacing", [(", ", ": "), (",", ":"), (" ,\n ", " :\t")])
def test_pieces_together_are_all_tasks_in_their_order(
    size: int, spacing: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decoding, "_PIECE", 200)
    tasks = {
        f"id-{number}": {"name": f'}}, "x": {{{number}', "runtime": number, "kwargs": {"a": {"b": [{}]}}}
        for number in range(50)
    }
    pieces = decoded(json.dumps(tasks, separators=spacing).encode(), size)
    found = {task_id: task for piece in pieces for task_id, task in piece.items()}
    assert list(found) == list(tasks)
    assert [task.runtime for task in found.values()] == list(range(50))
    assert len(pieces) > 3 or size > 200


@pytest.mark.parametrize(
    ("body", "damaged"),
    [
        (b"", True),
        (b"  ", True),
        (b"{", True),
        (b'{"a": {"name": "t"', True),
        (b'{"a": {"name": "t"}}}', True),
        (b"[1, 2", True),
        (b"<html>", False),
        (b"not json", False),
        (b"[]", False),
        (b"null", False),
        (b"12", False),
        (b'"text"', False),
        (b'{"error": 1}', False),
        (b'{"error": "no", "code": [1]}', False),
        (b"[" * 100_000, False),
    ],
)
def test_what_is_not_an_object_of_tasks_is_an_error(body: bytes, damaged: bool) -> None:
    with pytest.raises(DecodingError) as error:
        decoded(body, 10_000)
    assert error.value.damaged is damaged
    assert str(error.value).isprintable()


def test_no_tasks_and_odd_entries_among_tasks_are_allowed() -> None:
    assert decoded(b"{}") == [{}]
    (found,) = decoded(b'{"a": 1, "b": {"name": "t"}, "c": null}')
    assert {task_id: task.name for task_id, task in found.items()} == {"a": None, "b": "t", "c": None}


def test_odd_entries_are_allowed_in_another_piece_than_tasks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoding, "_PIECE", 50)
    tasks = b", ".join(b'"id-%d": {"name": "t"}' % number for number in range(20))
    pieces = decoded(b"{%b, %b}" % (tasks, b'"x": 1, "y": {}, "z": 2'), 30)
    assert len(pieces) > 2
    assert sum(map(len, pieces)) == 23
    odd = b", ".join(b'"id-%d": 1' % number for number in range(20))
    assert sum(map(len, decoded(b'{"t": {"name": "t"}, "u": {}, %b}' % odd, 30))) == 22


@pytest.mark.parametrize(
    ("field", "value"),
    [(b"NaN", float), (b"-Infinity", float), (b"1e999", float), (b'"\\ud800"', str), (b"9" * 5000, float)],
)
def test_pythons_json_is_decoded_too(field: bytes, value: type) -> None:
    tasks, objects = decode_piece(b'{"a": {"runtime": %b, "name": "t"}}' % field)
    assert objects == 1
    assert isinstance(tasks["a"].runtime, value)
    assert tasks["a"].name == "t"


def test_only_the_fields_of_the_type_are_read() -> None:
    body = b'{"a": {"name": "t", "worker": "celery@a", "args": "[]"}}'
    plain, _ = decode_piece(body)
    full, _ = decode_piece(body, EventFields)
    assert not hasattr(plain["a"], "worker")
    assert full["a"].worker == "celery@a"  # type: ignore[attr-defined]  # a field of EventFields


def test_a_task_that_is_too_large_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoding, "_PIECE", 100)
    monkeypatch.setattr(decoding, "_LARGE", 200)
    monkeypatch.setattr(decoding, "PIECE_LIMIT", 1000)
    with pytest.raises(DecodingError, match="task-7"):
        decoded(b'{"task-7": {"args": [' + b"1," * 5000 + b"1]}}")


@pytest.mark.parametrize(("text", "value"), [("1", 1), ("[1.5, null]", [1.5, None]), ("9" * 99, int("9" * 99))])
def test_any_json_is_decoded(text: str, value: object) -> None:
    assert decode_json(text.encode()) == value
