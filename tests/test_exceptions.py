"""The class of an exception, out of a text of any shape."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from push_job.flower.exception_names import exception_class

NAMES = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,20}(\.[A-Za-z_][A-Za-z0-9_]{0,20}){0,3}", fullmatch=True)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(NAMES, st.lists(st.text() | st.integers() | st.none()).map(tuple))
def test_what_python_prints_of_an_exception_gives_its_class_and_nothing_of_its_message(
    name: str, arguments: tuple[Any, ...]
) -> None:
    assert exception_class(f"{name}{arguments!r}" if arguments else f"{name}()") == name


@given(JSON)
def test_anything_gives_a_name_of_sane_length(value: Any) -> None:
    found = exception_class(value)
    assert 0 < len(found) <= 100
    assert all(part.isidentifier() for part in found.split("."))


@given(st.text(min_size=1))
def test_a_text_without_parentheses_at_its_end_is_unknown(text: str) -> None:
    assert exception_class(text[:200].rstrip(")") + "x") == "unknown"


@given(st.text().filter(lambda text: not text.isidentifier()), NAMES)
def test_a_message_before_the_class_is_none(message: str, name: str) -> None:
    assert exception_class(f"{message} {name}('x')") == "unknown"
