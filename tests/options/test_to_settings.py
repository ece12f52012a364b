"""Options and environment variables become settings.

The tests start no process.
"""

from collections.abc import Iterator
from typing import Any

import click
import pytest
from click.testing import CliRunner

from push_job import log
from push_job.cli import main
from push_job.options.to_settings import read_settings
from push_job.settings import Settings


@pytest.fixture(autouse=True)
def _log_restored() -> Iterator[None]:
    handlers, level, propagate = log.logger.handlers[:], log.logger.level, log.logger.propagate
    yield
    log.logger.handlers[:], log.logger.propagate = handlers, propagate
    log.logger.setLevel(level)


def settings_of(*arguments: str, **variables: str) -> Settings:
    """Return the settings that `push` would run with."""
    made: list[Settings] = []
    push = main.commands["push"]
    command = click.Command("push", params=push.params, callback=lambda **options: made.append(read_settings(options)))
    done = CliRunner().invoke(command, list(arguments), env=variables, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return made[0]


def refused(*arguments: str, **variables: str) -> str:
    """Return the error that `push` ends with."""
    done = CliRunner().invoke(main, ["push", *arguments], env=variables)
    assert done.exit_code == 2
    return done.output


def test_without_options_the_defaults_of_settings_hold() -> None:
    settings = settings_of()
    defaults = Settings(settings.flowers, settings.pushgateway)
    assert settings == defaults
    assert settings.flowers[0].url == "http://127.0.0.1:5555"
    assert settings.pushgateway.url == "http://127.0.0.1:9091"


#: Each option of a setting with a value that is not its default, and the field's value.
GIVEN: dict[str, tuple[list[str], Any]] = {
    "job": (["--job", "shop"], "shop"),
    "grouping": (["--grouping", "b=2", "--grouping", "a=1"], (("a", "1"), ("b", "2"))),
    "page_size": (["--page-size", "100"], 100),
    "max_task_types": (["--max-task-types", "7"], 7),
    "state_file": (["--state-file", "state"], "state"),
    "full_every": (["--full-every", "0"], 0.0),
    "timeout": (["--timeout", "1m"], 60.0),
    "deadline": (["--deadline", "90s"], 90.0),
    "extras": (["--with", "queues"], ("queues",)),
    "buckets": (["--buckets", "1,2"], (1.0, 2.0)),
}


@pytest.mark.parametrize("field", GIVEN)
def test_an_option_becomes_its_field_and_changes_no_other(field: str) -> None:
    arguments, value = GIVEN[field]
    settings = settings_of(*arguments)
    assert getattr(settings, field) == value
    unchanged = {name: each for name, each in vars(settings_of()).items() if name != field}
    assert {name: each for name, each in vars(settings).items() if name != field} == unchanged


@pytest.mark.parametrize("field", GIVEN)
def test_an_environment_variable_is_as_good_as_its_option(field: str) -> None:
    arguments, value = GIVEN[field]
    flag = arguments[0].strip("-").replace("-", "_").upper()
    assert getattr(settings_of(**{f"PUSH_JOB_{flag}": " ".join(arguments[1::2])}), field) == value


def test_a_shard_has_every_nth_flower() -> None:
    urls = [part for number in range(5) for part in ("--flower", f"http://f{number}")]
    shards = [settings_of(*urls, "--shard", f"{index}/2") for index in range(2)]
    assert [[flower.address for flower in shard.flowers] for shard in shards] == [
        ["f0:80", "f2:80", "f4:80"],
        ["f1:80", "f3:80"],
    ]
    assert all(shard.sharded for shard in shards)
    assert not settings_of(*urls, "--shard", "0/1").sharded


def test_the_older_exporters_variable_is_read_too() -> None:
    assert len(settings_of(FLOWER_HOSTS_LIST="http://a http://b").flowers) == 2
    both = settings_of(FLOWER_HOSTS_LIST="http://a http://b", PUSH_JOB_FLOWER="http://c")
    assert [flower.address for flower in both.flowers] == ["c:80"]


def test_secrets_of_every_server_and_proxy_are_known() -> None:
    settings = settings_of(
        *("--flower", "http://u:f-pw@flower", "--pushgateway", "http://u:g-pw@gateway"),
        http_proxy="http://u:proxy-pw@proxy:3128",
    )
    assert {"f-pw", "g-pw", "proxy-pw"} <= set(settings.secrets())


@pytest.mark.parametrize(
    ("arguments", "variables", "names"),
    [
        ([], {"PUSH_JOB_FLOWER_PASSWORD": "s3cret"}, ["--flower", "username"]),
        (["--flower-username", "u"], {}, ["--flower", "password"]),
        (
            ["--flower-username", "u"],
            {"PUSH_JOB_FLOWER_PASSWORD": "s3cret", "PUSH_JOB_FLOWER_TOKEN": "s3cret"},
            ["--flower", "token"],
        ),
        (["--pushgateway-username", "u"], {"PUSH_JOB_FLOWER_PASSWORD": "s3cret"}, ["--flower"]),
        (["--flower-key-file", __file__], {}, ["--flower-key-file", "--flower-cert-file"]),
        (["--flower-ca-file", __file__], {}, ["--flower-ca-file", __file__]),
        (["--timeout", "nan"], {}, ["--timeout"]),
        (["--state-file", ""], {}, ["--state-file"]),
        ([], {"PUSH_JOB_DEADLINE": "soon"}, ["PUSH_JOB_DEADLINE"]),
    ],
)
def test_a_wrong_setting_is_one_line_that_names_the_option(
    arguments: list[str], variables: dict[str, str], names: list[str]
) -> None:
    (line,) = refused(*arguments, **variables).splitlines()
    assert "s3cret" not in line
    for name in names:
        assert name in line


def test_a_misspelt_variable_and_an_ignored_secret_are_logged(
    tmp_path: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "token"
    file.write_text("t0ken\n")
    push = main.commands["push"]
    command = click.Command("push", params=push.params, callback=lambda **options: read_settings(options))
    with main.make_context("push-job", ["push"]) as parent:
        main.add_command(command, "push-copy")
        try:
            variables = {"PUSH_JOB_TIMEOT": "5", "PUSH_JOB_FLOWER_TOKEN": "0ther"}
            with pytest.MonkeyPatch.context() as patch:
                for name, value in variables.items():
                    patch.setenv(name, value)
                with command.make_context("push", ["--flower-token-file", str(file)], parent=parent) as context:
                    command.invoke(context)
        finally:
            del main.commands["push-copy"]
    lines = capsys.readouterr().err.splitlines()
    assert [line for line in lines if "variable=PUSH_JOB_TIMEOT" in line]
    assert [line for line in lines if "variable=PUSH_JOB_FLOWER_TOKEN" in line and "--flower-token-file" in line]
    assert len(lines) == 2
    assert "t0ken" not in "".join(lines)
