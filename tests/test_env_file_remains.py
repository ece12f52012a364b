"""Remains of an .env file around a value are removed, or an error names them.

They are blanks, line ends of Windows and quotes.
"""

import pytest

from testbed.command import PushJob
from testbed.services import Pushgateway
from tests.faults.cycles import fake_flower


@pytest.mark.parametrize("end", ["\r", " ", "\r\n", "\t"])
def test_they_are_removed_from_urls_and_numbers(end: str, clean_pushgateway: Pushgateway, push_job: PushJob) -> None:
    with fake_flower() as flower:
        variables = {"FLOWER": flower.url, "PUSHGATEWAY": clean_pushgateway.url, "TIMEOUT": "5", "MAX_TASK_TYPES": "9"}
        variables |= {"WITH": "runtimes", "BUCKETS": "1,2", "VERBOSE": "0"}
        env = {f"PUSH_JOB_{name}": f"{value}{end}" for name, value in variables.items()}
        done = push_job("push", env=env)
        assert done.returncode == 0, done.stderr
        given = ("--flower", f" {flower.url}{end}", "--pushgateway", f"{clean_pushgateway.url}{end}")
        assert push_job("push", *given).returncode == 0
    [group] = clean_pushgateway.groups()
    assert group["labels"]["instance"] == flower.url.removeprefix("http://")


@pytest.mark.parametrize("name", ["PROMETHEUS", "GRAFANA"])
def test_they_are_removed_from_the_urls_of_check(name: str, push_job: PushJob) -> None:
    done = push_job("check", "--deadline", "2", env={f"PUSH_JOB_{name}": "http://127.0.0.1:9\r"})
    assert done.returncode == 1
    assert f"{name.title()} 127.0.0.1:9\n" in done.stdout


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("JOB", "flower\r"),
        ("JOB", " flower"),
        ("SHARD", "0/4\r"),
        ("LOG_FORMAT", "json\r"),
        ("STATE_FILE", "/tmp/state\r"),
        ("FLOWER_CA_FILE", "/etc/hostname\r"),
        ("FLOWER_USERNAME", "me\r"),
    ],
)
def test_they_are_rejected_with_the_reason_elsewhere(name: str, value: str, push_job: PushJob) -> None:
    done = push_job("push", env={f"PUSH_JOB_{name}": value})
    assert done.returncode == 2
    [line] = done.stderr.splitlines()
    assert f"PUSH_JOB_{name}" in line
    assert repr(value) in line
    assert "begins or ends with" in line


@pytest.mark.parametrize("quote", ["'", '"'])
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("JOB", "flower"),
        ("FLOWER", "http://me:s3cret@flower:5555"),
        ("FLOWER", "http://one:5555 http://me:s3cret@two:5555"),
        ("PUSHGATEWAY", "http://pushgateway:9091"),
        ("TIMEOUT", "5"),
        ("GROUPING", "team=a"),
        ("LOG_FORMAT", "json"),
    ],
)
def test_quotes_are_named(name: str, value: str, quote: str, push_job: PushJob) -> None:
    done = push_job("push", env={f"PUSH_JOB_{name}": f"{quote}{value}{quote}"})
    assert done.returncode == 2
    [line] = done.stderr.splitlines()
    assert f"PUSH_JOB_{name}" in line
    assert "quotes" in line
    assert "s3cret" not in line


def test_quotes_around_a_label_are_named(push_job: PushJob) -> None:
    done = push_job("push", "--grouping", 'team="a b"')
    assert done.returncode == 2
    assert "--grouping" in done.stderr
    assert "quotes" in done.stderr


def test_line_end_is_removed_from_a_secret(push_job: PushJob) -> None:
    with fake_flower() as flower:
        env = {"PUSH_JOB_FLOWER_TOKEN": "t0ken\r"}
        done = push_job("show", "--flower", flower.url, env=env)
        assert done.returncode == 0, done.stderr
        assert {request.headers["authorization"] for request in flower.requests} == {"Bearer t0ken"}
