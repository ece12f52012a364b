"""Errors of the libraries become one line with flags that decide about a retry."""

import http.client
import socket
import ssl

import pytest
import requests
from urllib3.exceptions import MaxRetryError, NewConnectionError, ProtocolError, ReadTimeoutError

from push_job.http.errors import NoTlsError, limit_text, translate_error
from push_job.text import Redactor


def caused_by(outer: Exception, inner: BaseException) -> Exception:
    """Return `outer` with `inner` as its cause."""
    outer.__cause__ = inner
    return outer


def tls_error(error: ssl.SSLError, **attributes: object) -> ssl.SSLError:
    """Return the error with attributes that only OpenSSL's wrapper sets."""
    for name, value in {"reason": None, "verify_code": 0, "verify_message": "", **attributes}.items():
        setattr(error, name, value)
    return error


#: Each error with the flags `transient` and `overloaded` of its translation.
ERRORS: dict[str, tuple[Exception, bool, bool]] = {
    "proxy": (requests.exceptions.ProxyError("no"), True, False),
    "name": (socket.gaierror(-2, "Name or service not known"), True, False),
    "name in a chain": (caused_by(requests.ConnectionError("x"), socket.gaierror(-2, "unknown")), True, False),
    "certificate": (tls_error(ssl.SSLCertVerificationError(1, "x"), verify_message="self-signed"), False, False),
    "TLS": (tls_error(ssl.SSLError(1, "x"), reason="BAD_RECORD_TYPE"), True, False),
    "not TLS": (tls_error(ssl.SSLError(1, "x"), reason="WRONG_VERSION_NUMBER"), True, False),
    "no TLS": (NoTlsError(), True, True),
    "connecting": (requests.ConnectTimeout("x"), True, False),
    "reading": (requests.ReadTimeout("x"), True, True),
    "reading in urllib3": (ReadTimeoutError(None, "/", "x"), True, True),  # type: ignore[arg-type]  # no pool
    "refused": (caused_by(requests.ConnectionError("x"), ConnectionRefusedError(111, "refused")), True, False),
    "closed": (http.client.RemoteDisconnected("closed"), True, True),
    "not HTTP": (http.client.BadStatusLine("junk"), True, False),
    "no route": (NewConnectionError(None, "no route"), True, False),  # type: ignore[arg-type]  # no connection
    "reset": (requests.ConnectionError(ProtocolError("aborted", ConnectionResetError(104, "reset"))), True, True),
    "chunked": (requests.exceptions.ChunkedEncodingError("x"), True, True),
    "other": (ValueError("odd"), False, False),
}


@pytest.mark.parametrize(("error", "transient", "overloaded"), ERRORS.values(), ids=ERRORS)
@pytest.mark.parametrize("timeout", [5.0, None])
def test_an_error_becomes_one_printable_line(
    error: Exception, transient: bool, overloaded: bool, timeout: float | None
) -> None:
    translated = translate_error(error, timeout)
    assert (translated.transient, translated.overloaded) == (transient, overloaded)
    assert translated.status is None
    assert str(translated)
    assert str(translated).isprintable()


def test_the_time_limit_is_named() -> None:
    assert "5 s" in str(translate_error(requests.ReadTimeout("x"), 5.0))
    assert " s" not in limit_text(None)
    assert "0.25 s" in limit_text(0.25)
    assert "deadline" in str(translate_error(requests.ReadTimeout("x"), None))


def test_a_librarys_text_is_redacted_printable_and_short() -> None:
    error = NewConnectionError(None, f"pa55word \x1b[31m\u202e {'x' * 1000}\nsecond line")  # type: ignore[arg-type]  # no connection
    text = str(translate_error(error, 1.0, Redactor(["pa55word"])))
    assert "pa55word" not in text
    assert "***" in text
    assert text.isprintable()
    assert "second" not in text
    assert len(text) < 400


def test_a_circle_of_causes_ends() -> None:
    first, second = requests.ConnectionError("a"), requests.ConnectionError("b")
    first.__context__, second.__context__ = second, first
    assert str(translate_error(first, 1.0))


def test_an_unknown_ca_names_the_option() -> None:
    for code, is_named in ((18, True), (19, True), (20, True), (21, True), (10, False), (62, False)):
        error = tls_error(ssl.SSLCertVerificationError(1, "x"), verify_code=code, verify_message="not trusted")
        assert ("-ca-file" in str(translate_error(error, 1.0))) is is_named


def test_a_retry_limit_error_is_read_to_its_reason() -> None:
    error = MaxRetryError(None, "/", ReadTimeoutError(None, "/", "x"))  # type: ignore[arg-type]  # no pool
    assert translate_error(error, 1.0).overloaded
