"""Long texts in a stream of JSON are shortened, and nothing else changes."""

import json
from collections.abc import Iterator

import pytest

from push_job.flower import long_texts
from push_job.flower.long_texts import cut_long_texts


@pytest.fixture(autouse=True)
def _small_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(long_texts, "_LONG", 100)
    monkeypatch.setattr(long_texts, "_KEPT", 20)


def cut(text: str, size: int | None = None) -> bytes:
    """Shorten the texts of some JSON that arrives in pieces.

    `size` bytes have arrived already; the rest comes in small pieces.
    """
    body = text.encode()
    first = len(body) if size is None else size
    rest: Iterator[bytes] = (body[at : at + 7] for at in range(first, len(body), 7))
    return bytes(cut_long_texts(bytearray(body[:first]), rest)) + b"".join(rest)


TEXTS = {
    "letters": "x" * 500,
    "quotes": '"' * 300,
    "backslashes": "\\" * 301,
    "both": '\\"' * 200,
    "newlines": "line\n" * 100,
    "not ASCII": "é💥" * 100,
    "braces": '}, "a": {' * 50,
}


@pytest.mark.parametrize("ascii_only", [True, False])
@pytest.mark.parametrize("size", [None, 160, 161, 162, 163])
@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_a_long_value_keeps_its_beginning_and_its_neighbours(text: str, size: int | None, ascii_only: bool) -> None:
    document = {"id": {"before": "b", "exception": text, "after": 'a"\\'}, "next": {"name": "t"}}
    found = json.loads(cut(json.dumps(document, ensure_ascii=ascii_only), size))
    kept = found["id"].pop("exception")
    assert text.startswith(kept)
    assert len(kept) <= 20
    written = json.dumps(kept, ensure_ascii=ascii_only).encode()
    assert len(written) > 2 + 20 - 12  # at most one character of two escapes is lost
    assert found == {"id": {"before": "b", "after": 'a"\\'}, "next": {"name": "t"}}


def test_several_long_values_are_shortened() -> None:
    document = {"id": {"a": "x" * 200, "b": "y" * 200}, "other": {"c": "z" * 200}}
    assert json.loads(cut(json.dumps(document))) == {"id": {"a": "x" * 20, "b": "y" * 20}, "other": {"c": "z" * 20}}


@pytest.mark.parametrize(
    "document",
    [
        {"id": {"name": "x" * 100}},
        {"i" * 500: {"name": "t"}},
        {"id": {"args": ["x" * 500]}},
        {"id": {"name": ""}},
        {},
    ],
)
def test_ids_entries_of_lists_and_short_values_stay(document: object) -> None:
    text = json.dumps(document)
    assert cut(text) == text.encode()


def test_a_text_without_an_end_is_read_and_dropped() -> None:
    found = cut('{"id": {"exception": "' + "x" * 500, size=200)
    assert found == b'{"id": {"exception": "' + b"x" * 20
