"""Each alert of a default install can fire, but none fires in a healthy system.

This is true at every schedule.
"""

from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import yaml

from release.render import Manifest, template
from tests.deploy.alert_scenes import ALL_GROUPS, MINUTES, Scene, healthy, promtool_series, troubles
from tests.deploy.manifests import CRONJOB, build, of_kind
from tests.deploy.test_chart_rules import run_promtool
from tests.deploy.test_manifests import kustomization


def installed(how: str, every: int, folder: Path) -> list[Manifest]:
    """Return the objects of a default install with rules and dashboards.

    The install pushes every `every` minutes.
    """
    if how == "chart":
        on = {name: {"enabled": True} for name in ("rules", "dashboards")}
        return template({**on, "cronjob": {"schedule": f"*/{every} * * * *"}})
    components = ["slow-schedule"] if every > 1 else []
    return build(kustomization(folder, resources=[CRONJOB / "kube-prometheus-stack"], components=components))


def promtool_test(scenes: dict[str, Scene], every: int, extras: list[str]) -> dict[str, Any]:
    """Return a promtool test: each scene's alert fires, and none in the scene "well"."""
    series: dict[str, str] = {}
    expectations = []
    for name, scene in scenes.items():
        series |= promtool_series(scene, name, every, extras)
        # PushgatewayDown and FlowerPushMissing have no label of the group.
        chosen = f'alertname="{name}", instance=~"{name}|p:9091|"' if name != "well" else 'instance=~"well|p:9091|"'
        query = f'max by (alertname) (max_over_time(ALERTS{{alertstate="firing", {chosen}}}[{MINUTES}m]))'
        samples = [] if name == "well" else [{"labels": f'{{alertname="{name}"}}', "value": 1}]
        expectations.append({"expr": query, "eval_time": f"{MINUTES - 1}m", "exp_samples": samples})
    given = [{"series": name, "values": values} for name, values in series.items()]
    return {"interval": "1m", "input_series": given, "promql_expr_test": expectations}


@pytest.mark.slow
@pytest.mark.parametrize("every", [1, 5, 15])
@pytest.mark.parametrize("how", ["chart", "kustomize"])
def test_no_alert_is_false_or_dead(how: str, every: int, tmp_path: Path) -> None:
    objects = installed(how, every, tmp_path)
    groups = of_kind("PrometheusRule", objects)["spec"]["groups"]
    [settings] = [found["data"] for found in objects if "PUSH_JOB_FLOWER" in found.get("data", {})]
    well, wrong = healthy(every), troubles(every)
    assert wrong.keys() == {rule["alert"] for group in groups for rule in group["rules"] if "alert" in rule}
    scenes = {name: {**well, **trouble} for name, trouble in wrong.items()}
    together = {"well": well, **{name: scene for name, scene in scenes.items() if name not in ALL_GROUPS}}
    # A default install has no state, so the alerts on totals need another setting.
    extras = [*settings["PUSH_JOB_WITH"].split(), "totals"]
    tests = [promtool_test(chosen, every, extras) for chosen in (together, *({n: scenes[n]} for n in ALL_GROUPS))]
    test_file = {"rule_files": ["rules.yml"], "evaluation_interval": "1m", "tests": tests}
    _run(yaml.safe_dump({"groups": groups}), yaml.safe_dump(test_file))


@cache  # the chart and the folder have the same rules for most schedules
def _run(rules: str, tests: str) -> None:
    with TemporaryDirectory() as folder:
        (Path(folder) / "rules.yml").write_text(rules)
        (Path(folder) / "test.yml").write_text(tests)
        run_promtool(Path(folder) / "test.yml")
