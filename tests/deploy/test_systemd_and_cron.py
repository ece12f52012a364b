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
    """Return the sections of a unit file; the last value of a repeated key."""
    parser = configparser.ConfigParser(interpolation=None, strict=False)
    parser.optionxform = str  # type: ignore[assignment,method-assign]  # keep the case of keys
    parser.read_string(path.read_text(encoding="utf-8"))
    return parser


def variables_of(path: Path) -> dict[str, str]:
    """Return the lines NAME=value of an environment file or crontab."""
    return dict(re.findall(r"^(\w+)=(.*)$", path.read_text(encoding="utf-8"), re.MULTILINE))


def test_units_are_valid(tmp_path: Path) -> None:
    """Checked by systemd-analyze too, where it is installed."""
    service, timer = unit(SERVICE)["Service"], unit(TIMER)["Timer"]
    assert service["ExecStart"] == f"{INSTALLED} push"
    assert service["Type"] == "oneshot"
    assert timer["OnCalendar"] == "minutely"
    if analyze := shutil.which("systemd-analyze"):
        (tmp_path / TIMER.name).write_bytes(TIMER.read_bytes())
        # systemd-analyze requires that the command exists.
        (tmp_path / SERVICE.name).write_text(SERVICE.read_text().replace(INSTALLED, sys.executable))
        verify = [analyze, "verify", "--man=no", str(tmp_path / TIMER.name), str(tmp_path / SERVICE.name)]
        verified = subprocess.run(verify, capture_output=True, text=True, check=False)
        assert (verified.returncode, verified.stderr) == (0, "")
        # In tenths, from 0 (safe) to 100. The rating of the unit is 12.
        rate = [analyze, "security", "--offline=true", "--threshold=15", str(tmp_path / SERVICE.name)]
        rated = subprocess.run(rate, capture_output=True, text=True, check=False)
        assert rated.returncode == 0, rated.stdout


def test_page_removes_all_installed_files() -> None:
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


def test_systemd_timeout_is_between_deadline_and_minute() -> None:
    timeout = float(unit(SERVICE)["Service"]["TimeoutStartSec"])
    assert command_line.default_of("push", "--deadline") < timeout < 60


def test_service_runs_as_a_dynamic_user_and_is_read_only() -> None:
    service = unit(SERVICE)["Service"]
    assert service["DynamicUser"] == service["NoNewPrivileges"] == service["PrivateTmp"] == "yes"
    assert service["ProtectSystem"] == "strict"
    assert service["CapabilityBoundingSet"] == ""


def test_service_and_environment_file_push(flower: Flower, clean_pushgateway: Pushgateway) -> None:
    settings = variables_of(CRONJOB / "systemd/push-job.env.example")
    assert settings.keys() == {"PUSH_JOB_FLOWER", "PUSH_JOB_PUSHGATEWAY"}
    settings |= {"PUSH_JOB_FLOWER": flower.url, "PUSH_JOB_PUSHGATEWAY": clean_pushgateway.url}
    command = unit(SERVICE)["Service"]["ExecStart"].replace(INSTALLED, f"{sys.executable} -m push_job").split()
    run = subprocess.run(command, env={**clean_environment(), **settings}, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert clean_pushgateway.groups()


def test_crontab_line_pushes_every_minute_and_logs(
    flower: Flower, clean_pushgateway: Pushgateway, tmp_path: Path
) -> None:
    [line] = [line for line in CRONTAB.read_text().splitlines() if line.startswith("*")]
    *fields, command = line.split(maxsplit=5)
    assert fields == ["*"] * 5
    assert "%" not in command, "cron replaces % by a line end"
    assert variables_of(CRONTAB).keys() == {"PUSH_JOB_FLOWER", "PUSH_JOB_PUSHGATEWAY"}
    log = tmp_path / "log"
    here = command.replace(INSTALLED, f"{sys.executable} -m push_job").replace("logger -t push-job", f"cat > {log}")
    settings = {"PUSH_JOB_FLOWER": flower.url, "PUSH_JOB_PUSHGATEWAY": clean_pushgateway.url}
    subprocess.run(["/bin/sh", "-c", here], env={**clean_environment(), **settings}, check=True)
    assert "msg=pushed" in log.read_text()
    assert clean_pushgateway.groups()
