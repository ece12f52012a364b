"""Log lines as logfmt and JSON."""

import json
import logging
from collections.abc import Iterator

import pytest

from push_job import log
from push_job.text import Redactor


@pytest.fixture(autouse=True)
def _log_restored(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(log.logger, "handlers", [])
    monkeypatch.setattr(log.logger, "propagate", True)
    monkeypatch.setattr(log, "_redact", Redactor())
    yield
    log.logger.setLevel(logging.NOTSET)


def lines(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return capsys.readouterr().err.splitlines()


def test_logfmt_quotes_what_needs_it(capsys: pytest.CaptureFixture[str]) -> None:
    log.set_up("logfmt", verbose=False, redact=Redactor())
    log.event(
        logging.INFO,
        "two words",
        plain="a-b:1",
        text='q"x\ny',
        empty="",
        escape="\x1b[2J",
        number=1.5,
        count=3,
        gone=None,
    )
    (line,) = lines(capsys)
    stamp, _, rest = line.partition(" ")
    assert stamp.startswith("ts=")
    assert stamp.endswith("Z")
    assert rest == (
        'level=info msg="two words" plain=a-b:1 text="q\\"x\\ny" empty="" escape="\\u001b[2J" number=1.500 count=3'
    )


def test_json_is_one_object_per_line(capsys: pytest.CaptureFixture[str]) -> None:
    log.set_up("json", verbose=False, redact=Redactor())
    log.event(logging.WARNING, "event", text="a\nb", number=1.25, gone=None)
    (line,) = lines(capsys)
    found = json.loads(line)
    assert list(found) == ["ts", "level", "msg", "text", "number"]
    assert (found["level"], found["msg"], found["text"], found["number"]) == ("warning", "event", "a\nb", 1.25)


@pytest.mark.parametrize(("verbose", "count"), [(False, 1), (True, 2)])
def test_debug_lines_are_for_verbose(verbose: bool, count: int, capsys: pytest.CaptureFixture[str]) -> None:
    log.set_up("logfmt", verbose=verbose, redact=Redactor())
    log.event(logging.DEBUG, "detail")
    log.event(logging.INFO, "event")
    assert len(lines(capsys)) == count


def int_of(text: str) -> None:
    raise ValueError(text)


def test_a_bug_is_one_redacted_line_with_its_traceback_for_verbose(capsys: pytest.CaptureFixture[str]) -> None:
    log.set_up("json", verbose=True, redact=Redactor(["s3cret"]))
    with pytest.raises(ValueError, match="no s3cret") as bug:
        int_of("no s3cret\n\x1b[2J here")
    text = log.bug_text(bug.value, flower="f:1")
    assert "ValueError" in text
    assert "***" in text
    assert text.isprintable()
    (line,) = lines(capsys)
    assert "s3cret" not in text + line
    found = json.loads(line)
    assert (found["level"], found["flower"]) == ("debug", "f:1")
    assert "test_log.py" in found["traceback"]


class BrokenStream:
    """A stream that cannot be written."""

    def write(self, _text: str) -> None:
        raise OSError(28, "No space left on device")


@pytest.mark.parametrize("stream", [BrokenStream(), None])
def test_a_log_that_cannot_be_written_is_no_error(stream: object, monkeypatch: pytest.MonkeyPatch) -> None:
    log.set_up("logfmt", verbose=False, redact=Redactor())
    monkeypatch.setattr("sys.stderr", stream)
    log.event(logging.INFO, "event")
