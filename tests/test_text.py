"""Text from outside: what is made printable, put on one line and redacted."""

import json
import unicodedata
from urllib.parse import quote, quote_plus

import pytest

from push_job.text import Redactor, is_utf8, one_line, printable

OBEYED = {
    "ESC": "\x1b",
    "BEL": "\x07",
    "NUL": "\x00",
    "backspace": "\x08",
    "carriage return": "\r",
    "line feed": "\n",
    "tab": "\t",
    "DEL": "\x7f",
    "the first C1": "\x80",
    "CSI of C1": "\x9b",
    "OSC of C1": "\x9d",
    "the last C1": "\x9f",
    "right-to-left override": "\u202e",
    "left-to-right embedding": "\u202a",
    "right-to-left isolate": "\u2067",
    "right-to-left mark": "\u200f",
    "line separator": "\u2028",
    "paragraph separator": "\u2029",
    "zero width space": "\u200b",
    "byte order mark": "\ufeff",
    "lone surrogate": "\ud800",
    "a tag character": "\U000e0041",
}


@pytest.mark.parametrize("char", OBEYED.values(), ids=OBEYED)
def test_a_character_that_a_terminal_obeys_is_replaced(char: str) -> None:
    assert printable(f"a{char}b") == "a�b"
    assert char not in one_line(f"a{char}b", 100)


def test_every_control_and_format_character_is_replaced() -> None:
    hidden = [chr(code) for code in range(0x3000) if unicodedata.category(chr(code)) in {"Cc", "Cf", "Zl", "Zp"}]
    assert len(hidden) > 90
    assert printable("".join(hidden)) == "�" * len(hidden)


@pytest.mark.parametrize("text", ["", "shop.buy", "é日本💥", 'q"\\{}$(x)', "a b"])
def test_text_that_can_be_read_stays_as_it_is(text: str) -> None:
    assert printable(text) == text


@pytest.mark.parametrize(
    ("text", "limit", "line"),
    [
        ("a\n b\r\n\tc ", 100, "a b c"),
        ("abcdef", 3, "abc"),
        ("\x1b[31mred", 100, "�[31mred"),
        (7, 100, "7"),
        (None, 100, "None"),
        ("", 5, ""),
    ],
)
def test_one_line_joins_cuts_and_cleans(text: object, limit: int, line: str) -> None:
    assert one_line(text, limit) == line


@pytest.mark.parametrize(("text", "valid"), [("", True), ("é", True), ("\udcf6", False), ("a\ud800", False)])
def test_bytes_that_are_no_utf8_are_noticed(text: str, valid: bool) -> None:
    assert is_utf8(text) is valid


SECRETS = ("s3cret", "q\"uo'te", "sl/ash", "a b", "ö€", "<b>&", "back\\slash", "100%41")


@pytest.mark.parametrize("secret", SECRETS)
def test_a_secret_is_redacted_in_every_encoding(secret: str) -> None:
    redact = Redactor([secret])
    written = [secret, quote(secret), quote(secret, safe=""), quote_plus(secret), json.dumps(secret)[1:-1]]
    for form in (*written, repr(secret)[1:-1]):
        assert redact(f"[{form}]") == "[***]"
    assert redact("nothing to hide") == "nothing to hide"


@pytest.mark.parametrize("order", [1, -1])
@pytest.mark.parametrize(
    "secrets", [("pass", "password"), ("word", "password"), ("ss", "pass", "password"), ("a b", "xa b")]
)
def test_the_longest_of_nested_secrets_is_redacted_first(secrets: tuple[str, ...], order: int) -> None:
    longest = secrets[-1]
    # Redacting the shorter one first would leave a rest of the longer one.
    assert Redactor(secrets[::order])(f"[{longest}]") == "[***]"


def test_an_encoded_secret_with_another_one_inside_leaves_no_rest() -> None:
    assert Redactor(["p", "p/x"])(f"[{quote('p/x', safe='')}]") == "[***]"


@pytest.mark.parametrize("secrets", [(), ("",), ("", "x")])
def test_an_empty_secret_redacts_nothing(secrets: tuple[str, ...]) -> None:
    assert Redactor(secrets)("abc") == "abc"
