"""An error calls a setting by the name under which it was set, in one line."""

import pytest

from testbed.command import PushJob

EVERY = {"PUSH_JOB_EVERY": "60"}


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("PUSH_JOB_TIMEOUT", "abc"),
        ("PUSH_JOB_PAGE_SIZE", "1"),
        ("PUSH_JOB_LOG_FORMAT", "xml"),
        ("PUSH_JOB_FLOWER_CA_FILE", "/nowhere.pem"),
        ("PUSH_JOB_FLOWER_PASSWORD_FILE", "/nowhere"),
        ("PUSH_JOB_FLOWER", "ftp://flower:5555"),
        ("FLOWER_HOSTS_LIST", "http://flower:5555,http://other:5555"),
        ("PUSH_JOB_PUSHGATEWAY", "http://pushgateway:port"),
        ("PUSH_JOB_PUSHGATEWAY", "http://one:9091 http://two:9091"),
        ("PUSH_JOB_JOB", ".."),
        ("PUSH_JOB_GROUPING", "job=x"),
        ("PUSH_JOB_WITH", "nothing"),
        ("PUSH_JOB_BUCKETS", "2,1"),
        ("PUSH_JOB_SHARD", "4/4"),
        ("PUSH_JOB_HEARTBEAT_FILE", "/nowhere/file"),
        ("PUSH_JOB_EVERY", "0"),
    ],
)
def test_error_names_the_variable_that_was_set(variable: str, value: str, quick_push_job: PushJob) -> None:
    done = quick_push_job("run", env={**EVERY, variable: value})
    assert done.returncode == 2
    [line] = done.stderr.splitlines()
    assert variable in line
    flag = "--" + variable.removeprefix("PUSH_JOB_").replace("_", "-").lower()
    assert f"{flag}:" not in line
    assert f"'{flag}'" not in line


@pytest.mark.parametrize(("flag", "value"), [("--timeout", "abc"), ("--job", ".."), ("--shard", "4/4")])
def test_error_names_the_option_that_overrides_a_variable(flag: str, value: str, quick_push_job: PushJob) -> None:
    variable = "PUSH_JOB_" + flag.removeprefix("--").upper()
    done = quick_push_job("push", flag, value, env={variable: "1"})
    assert done.returncode == 2
    [line] = done.stderr.splitlines()
    assert flag in line
    assert variable not in line


@pytest.mark.parametrize(
    "arguments", [("--flower", "http://f:5555", "push"), ("--flower=http://f:5555", "push"), ("--verbose", "push")]
)
def test_option_before_the_command_gets_a_hint(arguments: tuple[str, ...], quick_push_job: PushJob) -> None:
    done = quick_push_job(*arguments)
    assert done.returncode == 2
    [line] = done.stderr.splitlines()
    assert f" push {arguments[0].partition('=')[0]}" in line


def test_unknown_option_before_the_command_is_an_error_as_usual(quick_push_job: PushJob) -> None:
    done = quick_push_job("--flour", "push")
    assert done.returncode == 2
    [line] = done.stderr.splitlines()
    assert "--flour" in line
    assert " push --" not in line
