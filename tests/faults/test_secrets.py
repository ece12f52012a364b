"""A secret is never shown.

This includes a server that repeats it, a wrong URL and a traceback.
"""

import base64
import html
import json
import logging
from pathlib import Path
from urllib.parse import quote, quote_plus

import pytest

from push_job import log
from push_job.job import Job
from push_job.settings import Endpoint, Settings
from push_job.text import Redactor
from testbed.command import PushJob
from tests.fakes.http import ScriptedServer, status_answer
from tests.faults.cycles import PUSHED, fake_flower
from tests.metric_messages import unlabelled

USER = "user"
PASSWORDS = {
    "special characters": "p@ss:w/ö rd%=",
    "quotes": "a\"b\\c'd`$e",
    "white space": "two  blanks\tand a tab",
    "a common word": "flower",
    "a word of the log": "pushed",
    "Japanese": "日本のパスワード",
    "markup": "<b>&amp;</b>",
    "a percent code": "100%41%zz",
}


def encodings(password: str) -> set[str]:
    """Return all forms in which a server or a library may write a password."""
    return {
        password,
        quote(password, safe=""),
        quote(password),
        quote_plus(password),
        repr(password)[1:-1],
        json.dumps(password)[1:-1],
        json.dumps(password, ensure_ascii=False)[1:-1],
        html.escape(password),
        " ".join(password.split()),
        base64.b64encode(f"{USER}:{password}".encode()).decode(),
    }


def repeated_by_server(password: str, text: str) -> str:
    """Return the part of the server's body that the text has, without redacted parts."""
    return text.partition("[[")[2].partition("]]")[0].replace("***", "")


@pytest.mark.parametrize(
    ("command", "log_format"),
    [("push", "logfmt"), ("push", "json"), ("show", "logfmt"), ("delete", "logfmt"), ("check", "json")],
)
@pytest.mark.parametrize("password", PASSWORDS.values(), ids=PASSWORDS)
def test_no_encoding_of_a_repeated_password_is_shown(
    quick_push_job: PushJob, password: str, command: str, log_format: str
) -> None:
    body = "[[" + " , ".join(sorted(encodings(password) - {" ".join(password.split())} | {password})) + "]]"
    headers = {"Location": quote(password), "WWW-Authenticate": quote(password)}
    with ScriptedServer({"*": status_answer(500, body.encode(), headers)}) as server:
        url = server.url.replace("://", f"://{USER}:{quote(password, safe='')}@")
        flower = () if command == "delete" else ("--flower", url)
        pushgateway = () if command == "show" else ("--pushgateway", url)
        done = quick_push_job(command, *flower, *pushgateway, "--verbose", "--log-format", log_format)
        assert server.requests
    shown = done.stdout + done.stderr
    if log_format == "json" and command == "push":
        shown = "\n".join(str(json.loads(line)) for line in done.stderr.splitlines())
    assert "[[" in shown
    for part in repeated_by_server(password, shown).split(" , "):
        assert part not in encodings(password)
        assert not any(len(encoding) > 8 and encoding in part for encoding in encodings(password))


@pytest.mark.parametrize("before", range(170, 310, 10))
def test_no_part_of_a_password_at_the_end_of_a_cut_error_is_shown(quick_push_job: PushJob, before: int) -> None:
    password = "correct-horse-battery-staple"
    with ScriptedServer({"*": status_answer(500, b"x" * before + password.encode())}) as server:
        url = server.url.replace("://", f"://{USER}:{password}@")
        done = quick_push_job("push", "--flower", url, "--pushgateway", url)
    assert "xxx" in done.stderr
    assert "corr" not in done.stderr


@pytest.mark.parametrize(
    "url",
    [
        "http://user:SECRET℀@host",
        "http://user:SE[CRET@host:1",
        "http://user:SECRET@[::1",
        "http://user:SECRET@[::1:80",
        "http://user:SECRET@host:99999",
        "http://user:SECRET@host:port",
        "http://user:SEC RET@host:1",
        "user:SECRET@host:99999",
        "ftp://user:SECRET@host",
        "http://user:SECRET@",
        "http://user:SECRET@host:1/?token=1",
        "http://user:SECRET@host:1/#x",
        "http://user:SECRET@other:SECRET@host:x",
        "http://user:1/SECRET@host",
        "http://user:1#SECRET@host",
        "http://user:1?SECRET@host",
        "http://user:SECRET/@host",
        "http://user:SECRET#@host",
        "http://user:SECRET?@host",
        "http://user:SECRET%zz\n@host",
    ],
)
@pytest.mark.parametrize("option", ["--flower", "--pushgateway"])
def test_a_wrong_url_is_one_line_without_its_password(quick_push_job: PushJob, option: str, url: str) -> None:
    done = quick_push_job("push", option, url)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith(f"Error: {option}: ")
    assert "Traceback" not in done.stderr
    for part in ("SECRET", "SE", "CRET"):
        assert part not in done.stderr


@pytest.mark.parametrize(
    "urls", ["http://user:SECRET with a blank@host:1", "http://user:SE/CRET CRET@host", "user:SE CRET"]
)
def test_a_password_with_a_space_in_a_list_of_urls_is_not_shown(quick_push_job: PushJob, urls: str) -> None:
    done = quick_push_job("push", env={"PUSH_JOB_FLOWER": urls})
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert "%XX" in line
    for part in ("SECRET", "SE", "CRET"):
        assert part not in line


@pytest.mark.parametrize("password", PASSWORDS.values(), ids=PASSWORDS)
def test_a_bug_is_logged_without_the_password(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], password: str
) -> None:
    def broken(*_args: object, **_kwargs: object) -> None:
        raise RuntimeError(f"a bug with [[{password!r} and {password} and {quote(password, safe='')}]]")

    monkeypatch.setattr("push_job.flower.incremental.scraper.scrape_all_tasks", broken)
    # The log's handler would otherwise outlive the test.
    monkeypatch.setattr(log.logger, "handlers", [])
    monkeypatch.setattr(log.logger, "propagate", True)
    with fake_flower() as flower, ScriptedServer({"*": PUSHED}) as gateway:
        sign_in = {"username": USER, "password": password}
        endpoints = [Endpoint.parse(server.url, "--flower", sign_in) for server in (flower, gateway)]
        settings = Settings((endpoints[0],), endpoints[1], deadline=60.0)
        log.set_up("json", verbose=True, redact=Redactor(settings.secrets()))
        job = Job(settings)
        (outcome,) = job.push()
        job.close()
        assert unlabelled(gateway.pushes[-1].body)["flower_up"] == 0
    log.logger.setLevel(logging.NOTSET)
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert outcome.scrape.error
    texts = [str(value) for line in lines for value in (line.get("error"), line.get("traceback")) if value]
    assert any("RuntimeError" in text and "scrape_all_tasks" in text for text in texts)  # one has a traceback
    for text in texts:
        for encoding in encodings(password):
            assert encoding not in repeated_by_server(password, text)


def test_a_secret_from_a_file_loses_only_its_line_end(quick_push_job: PushJob, tmp_path: Path) -> None:
    for text, sent in (
        ("p@ss w/ö\n", "p@ss w/ö"),
        ("crlf\r\n", "crlf"),
        (" blanks  ", " blanks  "),
        ("one\n\n", "one"),
    ):
        file = tmp_path / "password"
        file.write_text(text, encoding="utf-8", newline="")
        with fake_flower() as flower, ScriptedServer({"*": PUSHED}) as gateway:
            done = quick_push_job(
                *("push", "--flower", flower.url, "--pushgateway", gateway.url),
                *("--flower-username", USER, "--flower-password-file", str(file)),
            )
            assert done.returncode == 0
            basic = base64.b64encode(f"{USER}:{sent}".encode()).decode()
            assert {request.headers["authorization"] for request in flower.requests} == {f"Basic {basic}"}
            assert all("authorization" not in request.headers for request in gateway.requests)


@pytest.mark.parametrize("content", [b"\xff\xfe", b"two words", b"new\nline"])
def test_an_invalid_token_is_refused_without_showing_it(
    quick_push_job: PushJob, tmp_path: Path, content: bytes
) -> None:
    file = tmp_path / "token"
    file.write_bytes(content)
    done = quick_push_job("push", "--flower-token-file", str(file))
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert "two" not in done.stderr
    assert "new" not in done.stderr
