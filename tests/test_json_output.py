"""`show` and `check` with `--format json` have stable keys.

The data is on stdout, and the exit codes are the usual ones.
"""

import json

import pytest

from push_job.cycle import ScrapeResult
from push_job.metrics.snapshot import Snapshot
from push_job.settings import Endpoint
from push_job.terminal.snapshot_json import as_json
from testbed.command import PushJob
from testbed.services import Pushgateway
from tests.faults.cycles import fake_flower

NOWHERE = "http://127.0.0.1:9"


@pytest.mark.slow
def test_show_has_every_family_and_the_reason_of_a_flower_that_is_down(push_job: PushJob) -> None:
    with fake_flower() as flower:
        done = push_job("show", "--flower", flower.url, "--flower", NOWHERE, "--deadline", "3", "--format", "json")
    assert done.returncode == 1
    up, down = json.loads(done.stdout)["flowers"]
    families = up.pop("families")
    assert up == {
        "flower": flower.url.removeprefix("http://"),
        "up": True,
        "error": None,
        "workers": 1,
        "tasks": 1,
    }
    assert families[-1]["name"] == "flower_up"
    [workers] = [family for family in families if family["name"] == "celery_workers"]
    [sample] = workers["samples"]
    assert (workers["type"], sample) == (
        "gauge",
        {"name": "celery_workers", "labels": {"app": "celery@a"}, "value": 1},
    )
    assert down.keys() == {*up, "families"}
    assert (down["up"], down["workers"], down["tasks"], down["families"]) == (False, None, None, [])
    assert down["error"]


def test_values_without_a_json_number_are_texts() -> None:
    snapshot = Snapshot({}, {}, 0, [])
    scrape = ScrapeResult(snapshot, None, requests=0, seconds=float("inf"))
    text = as_json({Endpoint.parse(NOWHERE, "--flower"): scrape})
    [flower] = json.loads(text, parse_constant=lambda constant: (_ for _ in ()).throw(ValueError(constant)))["flowers"]
    values = {sample["name"]: sample["value"] for family in flower["families"] for sample in family["samples"]}
    assert values["flower_scrape_duration_seconds"] == "+Inf"


def test_check_has_every_step_and_fails_as_usual(clean_pushgateway: Pushgateway, push_job: PushJob) -> None:
    gateway = ("--pushgateway", clean_pushgateway.url, "--deadline", "5", "--format", "json")
    with fake_flower() as flower:
        done = push_job("check", "--flower", flower.url, "--flower", NOWHERE, *gateway)
    assert done.returncode == 1
    report = json.loads(done.stdout)
    assert report.keys() == {"well", "servers"}
    assert report["well"] is False
    assert [server["server"] for server in report["servers"]] == ["flower", "flower", "pushgateway"]
    assert [server["address"] for server in report["servers"]] == [
        url.removeprefix("http://") for url in (flower.url, NOWHERE, clean_pushgateway.url)
    ]
    for server in report["servers"]:
        for step in server["steps"]:
            assert step.keys() == {"passed", "text"}
            assert step["passed"] in (True, False, None)
    assert report["servers"][1]["steps"][-1]["passed"] is False
    assert all(step["passed"] is not False for step in report["servers"][2]["steps"])
