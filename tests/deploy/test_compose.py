"""compose.yaml: valid and hardened, and its shop runs on real services."""

import json
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from release.render import ROOT
from testbed.process import wait_for
from testbed.services import Flower, Pushgateway, Redis
from tests.deploy import command_line
from tests.deploy.processes import running

COMPOSE = ROOT / "compose.yaml"
SERVICES: dict[str, dict[str, Any]] = yaml.safe_load(COMPOSE.read_text(encoding="utf-8"))["services"]

every_service = pytest.mark.parametrize("name", SERVICES)


def schema_check(path: Path) -> subprocess.CompletedProcess[str]:
    """Validate the file against the schema of the compose specification."""
    tool = Path(sys.executable).parent / "check-jsonschema"
    command = [str(tool), "--builtin-schema", "vendor.compose-spec", str(path)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_file_is_valid() -> None:
    run = schema_check(COMPOSE)
    assert run.returncode == 0, run.stdout


@pytest.mark.slow
def test_misspelt_key_is_invalid(tmp_path: Path) -> None:
    misspelt = tmp_path / "compose.yaml"
    misspelt.write_text(COMPOSE.read_text().replace("healthcheck:", "healtcheck:", 1))
    run = schema_check(misspelt)
    assert run.returncode == 1
    assert "healtcheck" in run.stdout


def test_all_services_for_the_dashboards_are_present() -> None:
    needed = {"redis", "worker", "flower", "push-job", "pushgateway", "prometheus", "grafana"}
    assert needed <= SERVICES.keys()


@every_service
def test_images_have_versions(name: str) -> None:
    assert re.fullmatch(r"[a-z/-]+:v?\d+(\.\d+)+[\w.-]*", SERVICES[name]["image"])


@every_service
def test_services_are_read_only_without_privileges(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert not service.keys() & {"privileged", "cap_add", "network_mode", "pid"}


@every_service
def test_services_restart_except_the_one_shot_service(name: str) -> None:
    assert SERVICES[name]["restart"] == ("no" if name == "address" else "unless-stopped")


@every_service
def test_ports_are_local_and_configurable(name: str) -> None:
    for port in SERVICES[name].get("ports", []):
        assert re.fullmatch(r"127\.0\.0\.1:\$\{[A-Z]+_PORT:-(\d+)\}:\1", port)


@every_service
def test_services_wait_for_healthy_dependencies(name: str) -> None:
    for other, condition in SERVICES[name].get("depends_on", {}).items():
        assert condition == {"condition": "service_healthy"}
        assert SERVICES[other]["healthcheck"]["test"][0] == "CMD"


@every_service
def test_mounted_files_exist_and_are_read_only(name: str) -> None:
    for source, _, mode in (mount.split(":") for mount in SERVICES[name].get("volumes", []) if mount[0] == "."):
        assert (ROOT / source).exists()
        assert mode == "ro"


def test_configuration_of_grafana_and_prometheus_is_mounted() -> None:
    mounts = [mount.split(":") for name in ("grafana", "prometheus") for mount in SERVICES[name]["volumes"]]
    inside = {target: ROOT / source for source, target, *_ in mounts if source.startswith(".")}
    provider = yaml.safe_load(next((ROOT / "grafana/provisioning/dashboards").glob("*.y*ml")).read_text())
    data_source = yaml.safe_load(next((ROOT / "grafana/provisioning/datasources").glob("*.y*ml")).read_text())
    home = Path(SERVICES["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"])
    assert "/etc/grafana/provisioning" in inside
    assert provider["providers"][0]["options"]["path"] in inside
    assert (inside[str(home.parent)] / home.name).is_file()
    assert json.loads((inside[str(home.parent)] / home.name).read_text())["panels"]
    assert data_source["datasources"][0]["url"] == "http://prometheus:9090"
    scraped = yaml.safe_load(inside["/etc/prometheus/prometheus.yml"].read_text())
    assert scraped["rule_files"] == ["rules/*.yml"]
    assert list(inside["/etc/prometheus/rules"].glob("*.yml"))
    assert "pushgateway:9091" in str(scraped["scrape_configs"])


def test_printed_address_is_that_of_grafana() -> None:
    [port] = SERVICES["grafana"]["ports"]
    assert SERVICES["address"]["entrypoint"] == ["echo", f"Dashboards: http://localhost:{port.split(':', 1)[1][:-5]}"]
    assert "grafana" in SERVICES["address"]["depends_on"]


def test_job_has_known_options_and_variables() -> None:
    command, *options = SERVICES["push-job"]["command"]
    assert command_line.unknown_options(command, options) == set()
    assert SERVICES["push-job"]["environment"].keys() <= command_line.variables()


def test_worker_customers_and_job_run_on_real_services(
    redis: Redis, flower: Flower, clean_pushgateway: Pushgateway, tmp_path: Path
) -> None:
    """Run the commands of the file with this machine's addresses and paths."""
    here = {
        "redis://redis:6379/0": redis.url,
        "http://flower:5555": flower.url,
        "http://pushgateway:9091": clean_pushgateway.url,
        "/shop": str(ROOT / "testbed"),
        "/run/push-job": str(tmp_path),
    }

    def started(name: str) -> Any:
        service = json.dumps({key: SERVICES[name].get(key, {}) for key in ("command", "environment")})
        for there, local in here.items():
            service = service.replace(there, local)
        changed = json.loads(service)
        program, *args = changed["command"]
        module = {"celery": ["-m", "celery"], "run": ["-m", "push_job", "run"], "python": []}[program]
        return running([sys.executable, *module, *args], changed["environment"])

    def pushed() -> bool:
        samples = clean_pushgateway.samples(app="orders@shop") and clean_pushgateway.samples(state="SUCCESS")
        return any(value > 0 for value in samples.values())

    with started("worker"), started("customers"):
        flower.wait_for_worker("orders@shop")
        time.sleep(1)
        with started("push-job"):
            wait_for("a push of the shop's tasks", pushed, 60)
    assert (tmp_path / "heartbeat").exists()
