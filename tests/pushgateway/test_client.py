"""Paths of groups, and what an error of a push says."""

import pytest

from push_job.auth import Anonymous, BasicAuth
from push_job.http.errors import TransportError
from push_job.pushgateway.client import UNKNOWN, explain_push_error, group_path
from push_job.settings import Endpoint

GATEWAY = Endpoint("http://gateway:9091", Anonymous())


@pytest.mark.parametrize(
    ("job", "key", "path"),
    [
        ("flower", {}, "/metrics/job/flower"),
        ("flower", {"instance": "host:5555"}, "/metrics/job/flower/instance/host:5555"),
        ("j", {"b": "2", "a": "1"}, "/metrics/job/j/a/1/b/2"),
        ("a/b", {}, "/metrics/job@base64/YS9i"),
        ("j", {"path": "/"}, "/metrics/job/j/path@base64/Lw=="),
        ("j", {"empty": ""}, "/metrics/job/j/empty@base64/="),
        ("j", {"a": "ö"}, "/metrics/job/j/a@base64/w7Y="),
        ("j", {"a": "?>"}, "/metrics/job/j/a@base64/Pz4="),
        ("j", {"a": "~~~???"}, "/metrics/job/j/a@base64/fn5-Pz8_"),
        ("50%", {"a": "x y"}, "/metrics/job@base64/NTAl/a@base64/eCB5"),
        ("A-Z.a_z~0:9", {}, "/metrics/job/A-Z.a_z~0:9"),
    ],
)
def test_a_group_has_the_path_of_the_pushgateways_api(job: str, key: dict[str, str], path: str) -> None:
    assert group_path({**key, "job": job}) == path


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (TransportError("it answered 401", status=401), ["--pushgateway-username"]),
        (TransportError("it answered 403", status=403), ["403"]),
        (TransportError("it answered 404", status=404), ["404", "prefix"]),
        (TransportError("it answered 307", status=307), ["307", "redirect"]),
        (TransportError("it answered 500", status=500, body="disk full"), ["500", "disk full"]),
        (TransportError("it answered 400", status=400, body="x" * 1000), ["xxx"]),
        (TransportError("it answered 413", status=413), ["413", "client_max_body_size"]),
    ],
)
def test_an_error_says_what_the_pushgateway_answered(error: TransportError, words: list[str]) -> None:
    explained = explain_push_error(error, GATEWAY)
    for word in words:
        assert word in str(explained)
    assert len(str(explained)) < 500
    assert explained.rejected is (error.status in (400, 413))
    assert explained.too_large is (error.status == 413)
    assert UNKNOWN not in str(explained)
    assert str(explain_push_error(error, GATEWAY, unanswered=True)).endswith(UNKNOWN)


def test_errors_contain_no_web_page_and_no_advice_already_followed() -> None:
    page = TransportError("it answered 502", status=502, body="<html>502</html>")
    assert "<" not in str(explain_push_error(page, GATEWAY))
    signed = explain_push_error(
        TransportError("it answered 401", status=401), Endpoint("http://gateway:9091", BasicAuth("u", "pw"))
    )
    assert "--pushgateway-username" not in str(signed)
    assert "pw" not in str(signed)
