"""The systemd units and the crontab line."""

import configparser
import re
import shutil
import subprocess
import sys
from pathlib import Path

from testbed.command import ROOT, clean_environment
from testbed.services import Flower, Pushgateway
from tests.deploy import command_line
from tests.deploy.manifests import CRONJOB

SERVICE = CRONJOB / "systemd/push-job.service"
TIMER = CRONJOB / "systemd/push-job.timer"
CRONTAB = CRONJOB / "crontab.example"
PAGE = ROOT / "docs/run-systemd-cron.md"
INSTALLED = "/opt/push-job/bin/push-job"


def unit(path: Path) -> configparser.ConfigParser:
    """A unit file's sections; of a repeated key the last value."""
    parser = configparser.ConfigParser(interpolation=None, strict=False)
    parser.optionxform = str  # type: ignore[assignment,method-assign]  # keep the case of keys, as documented
    parser.read_string(path.read_text(encoding="utf-8"))
    return parser


def variables_of(path: Path) -> dict[str, str]:
    """The lines NAME=value of an environment file or crontab."""
    return dict(re.findall(r"^(\w+)=(.*)$", path.read_text(encoding="utf-8"), re.MULTILINE))


def test_the_units_are_what_systemd_accepts(tmp_path: Path) -> None:
    """Read here as far as the job depends on it; where systemd-analyze is installed, it has to agree."""
    service, timer = unit(SERVICE)["Service"], unit(TIMER)["Timer"]
    assert service["ExecStart"] == f"{INSTALLED} push"
    assert service["Type"] == "oneshot"
    assert timer["OnCalendar"] == "minutely"
    if analyze := shutil.which("systemd-analyze"):
        (tmp_path / TIMER.name).write_bytes(TIMER.read_bytes())
        # It wants the command to exist.
        (tmp_path / SERVICE.name).write_text(SERVICE.read_text().replace(INSTALLED, sys.executable))
        verify = [analyze, "verify", "--man=no", str(tmp_path / TIMER.name), str(tmp_path / SERVICE.name)]
        verified = subprocess.run(verify, capture_output=True, text=True, check=False)
        assert (verified.returncode, verified.stderr) == (0, "")
        # 0 is safest, 10 is worst; in tenths. The unit's own rating is 1.2.
        rate = [analyze, "security", "--offline=true", "--threshold=15", str(tmp_path / SERVICE.name)]
        rated = subprocess.run(rate, capture_output=True, text=True, check=False)
        assert rated.returncode == 0, rated.stdout


def test_what_the_page_installs_it_takes_away() -> None:
    commands = re.findall(r"^# (cp|install|rm) (.+)$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    removed = {path for program, rest in commands if program == "rm" for path in rest.split()}
    made = set()
    for program, rest in commands:
        *sources, target = [word for word in rest.split() if "/" in word]
        if program != "rm":
            assert all((ROOT / source).is_file() for source in sources)
            made |= {target + Path(source).name for source in sources} if target.endswith("/") else {target}
    assert removed == made
    assert made == {f"/etc/systemd/system/{SERVICE.name}", f"/etc/systemd/system/{TIMER.name}", "/etc/push-job.env"}


def test_systemds_timeout_is_between_the_jobs_deadline_and_the_minute() -> None:
    timeout = float(unit(SERVICE)["Service"]["TimeoutStartSec"])
    assert command_line.default_of("push", "--deadline") < timeout < 60


def test_the_service_runs_as_nobody_in_particular_and_writes_nothing() -> None:
    service = unit(SERVICE)["Service"]
    assert service["DynamicUser"] == service["NoNewPrivileges"] == service["PrivateTmp"] == "yes"
    assert service["ProtectSystem"] == "strict"
    assert service["CapabilityBoundingSet"] == ""


def test_the_service_and_its_environment_file_push(flower: Flower, clean_pushgateway: Pushgateway) -> None:
    settings = variables_of(CRONJOB / "systemd/push-job.env.example")
    assert settings.keys() == {"PUSH_JOB_FLOWER", "PUSH_JOB_PUSHGATEWAY"}
    settings |= {"PUSH_JOB_FLOWER": flower.url, "PUSH_JOB_PUSHGATEWAY": clean_pushgateway.url}
    command = unit(SERVICE)["Service"]["ExecStart"].replace(INSTALLED, f"{sys.executable} -m push_job").split()
    run = subprocess.run(command, env={**clean_environment(), **settings}, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert clean_pushgateway.groups()


def test_the_crontabs_line_pushes_every_minute_and_logs(
    flower: Flower, clean_pushgateway: Pushgateway, tmp_path: Path
) -> None:
    [line] = [line for line in CRONTAB.read_text().splitlines() if line.startswith("*")]
    *fields, command = line.split(maxsplit=5)
    assert fields == ["*"] * 5
    assert "%" not in command, "cron makes a line end of it"
    assert variables_of(CRONTAB).keys() == {"PUSH_JOB_FLOWER", "PUSH_JOB_PUSHGATEWAY"}
    log = tmp_path / "log"
    here = command.replace(INSTALLED, f"{sys.executable} -m push_job").replace("logger -t push-job", f"cat > {log}")
    settings = {"PUSH_JOB_FLOWER": flower.url, "PUSH_JOB_PUSHGATEWAY": clean_pushgateway.url}
    subprocess.run(["/bin/sh", "-c", here], env={**clean_environment(), **settings}, check=True)
    assert "msg=pushed" in log.read_text()
    assert clean_pushgateway.groups()
