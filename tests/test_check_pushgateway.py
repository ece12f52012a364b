"""`push-job check` finds what the Pushgateway would reject, however much it holds."""

import pytest
import requests

from testbed.command import PushJob
from testbed.events import TaskEvents
from testbed.services import Flower, Pushgateway
from tests.fakes.http import Script, ScriptedServer, answer, json_answer, status_answer
from tests.faults.cycles import MEMORY_MIB, peak_memory


def crosses(output: str) -> list[str]:
    """Return the failed steps of the Pushgateway."""
    return [line for line in output.partition("\nPushgateway ")[2].splitlines() if line.startswith("  ✗")]


def test_a_clash_of_types_is_found_before_the_first_push(
    flower: Flower, clean_pushgateway: Pushgateway, push_job: PushJob
) -> None:
    text = "# TYPE celery_workers counter\ncelery_workers 3\n"
    requests.put(f"{clean_pushgateway.url}/metrics/job/another", data=text, timeout=10).raise_for_status()
    done = push_job("check", "--flower", flower.url, "--pushgateway", clean_pushgateway.url)
    assert done.returncode == 1
    (cross,) = crosses(done.stdout)
    assert "celery_workers" in cross
    assert "counter" in cross
    assert 'job="another"' in cross
    assert len(clean_pushgateway.groups()) == 1


#: What another job pushes, and the extra that it clashes with.
CLASHES = {
    "another type": ("# TYPE celery_worker_active_tasks counter\ncelery_worker_active_tasks 3\n", "activity"),
    "the name of a histogram's samples": (
        "# TYPE celery_task_runtime_seconds_count counter\ncelery_task_runtime_seconds_count 3\n",
        "runtimes",
    ),
    "a family of Flower": ("# TYPE flower_events_total gauge\nflower_events_total 3\n", "flower-metrics"),
}


@pytest.mark.parametrize(("text", "extra"), CLASHES.values(), ids=CLASHES)
def test_a_clash_with_a_family_of_an_extra_is_found_as_push_finds_it(
    text: str, extra: str, flower: Flower, clean_pushgateway: Pushgateway, push_job: PushJob
) -> None:
    with TaskEvents(flower.broker.url) as events:
        events.worker("celery@ran", freq=600.0)
        events.send("task-received", uuid="ran-1", name="shop.ran")
        events.send("task-succeeded", uuid="ran-1", runtime=1.0)
    flower.wait_for_task("ran-1", "SUCCESS")
    flower.wait_for_worker("celery@ran")
    requests.put(f"{clean_pushgateway.url}/metrics/job/another", data=text, timeout=10).raise_for_status()
    servers = ("--flower", flower.url, "--pushgateway", clean_pushgateway.url)
    assert "pushed without extras" in push_job("push", *servers, "--with", extra).stderr
    assert not crosses(push_job("check", *servers).stdout)
    (cross,) = crosses(push_job("check", *servers, "--with", extra).stdout)
    assert text.split()[2] in cross
    assert 'job="another"' in cross


def test_old_families_of_the_own_group_are_no_clash(
    flower: Flower, clean_pushgateway: Pushgateway, push_job: PushJob
) -> None:
    own = f"{clean_pushgateway.url}/metrics/job/flower/instance/{flower.url.removeprefix('http://')}"
    requests.put(own, data="# TYPE celery_workers counter\ncelery_workers 3\n", timeout=10).raise_for_status()
    servers = ("--flower", flower.url, "--pushgateway", clean_pushgateway.url)
    assert not crosses(push_job("check", *servers).stdout)
    assert push_job("push", *servers).returncode == 0


def status_of(version: object) -> Script:
    """Return a Pushgateway's answer with this data."""
    return json_answer({"status": "success", "data": version})


@pytest.mark.parametrize("data", [None, {}, {"build_information": None}, [1]])
def test_a_pushgateway_without_a_version_passes(data: object, quick_push_job: PushJob) -> None:
    answers = {"/api/workers": json_answer({"celery@a": True}), "/api/tasks": json_answer({})}
    pushgateway = {"/api/v1/status": status_of(data), "/api/v1/metrics": status_of(None), "*": status_answer(200)}
    with ScriptedServer({**answers, **pushgateway}) as server:
        done = quick_push_job("check", "--flower", server.url, "--pushgateway", server.url)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
def test_a_large_pushgateway_is_read_in_little_memory() -> None:
    sample = {"labels": {"path": "/" * 50}, "value": "1"}
    groups = [{"labels": {"job": "x"}, "f": {"type": "GAUGE", "metrics": [sample] * 500_000}}]
    text = b"# TYPE f gauge\n" + b'f{path="%b"} 1\n' % (b"/" * 50) * 800_000
    answers = {
        "/api/workers": json_answer({"celery@a": True}),
        "/api/tasks": json_answer({}),
        "/api/v1/status": status_of(None),
        "/api/v1/metrics": status_of(groups),
        "/metrics": answer(text),
    }
    with ScriptedServer({**answers, "*": status_answer(200)}) as server:
        exit_code, mib = peak_memory("check", "--flower", server.url, "--pushgateway", server.url)
    assert exit_code == 0
    assert mib < MEMORY_MIB
