"""The test bed itself: what the other tests rely on."""

import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from testbed import guard, process
from testbed.events import TaskEvents, fill
from testbed.services import Prometheus, Pushgateway, Redis, ServiceError, Testbed, Worker
from testbed.web import Client

pytestmark = pytest.mark.services

OWNER_THAT_IS_KILLED = """
import os, signal
from testbed.services import Testbed

with Testbed() as bed:
    worker = bed.worker(bed.redis())
    print(bed.folder, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def push_number(pushgateway: Pushgateway, value: int) -> None:
    """Push one sample, `testbed_number`, in the group of the job `testbed`."""
    request = urllib.request.Request(
        f"{pushgateway.url}/metrics/job/testbed", data=f"testbed_number {value}\n".encode(), method="PUT"
    )
    urllib.request.urlopen(request, timeout=10).close()


def test_a_service_starts_again_on_its_port_after_a_stop_and_after_a_kill(testbed: Testbed) -> None:
    pushgateway = testbed.pushgateway()
    url = pushgateway.url
    for end in (pushgateway.stop, pushgateway.kill):
        end()
        assert Client().status(f"{url}/-/ready") is None
        pushgateway.start()
        assert pushgateway.url == url
        assert Client().status(f"{url}/-/ready") == 200
    pushgateway.stop()


def test_a_paused_service_answers_only_once_it_is_resumed(testbed: Testbed) -> None:
    pushgateway = testbed.pushgateway()
    pushgateway.pause()
    with pytest.raises(OSError, match="timed out"):
        Client().get(f"{pushgateway.url}/-/ready", timeout=0.3)
    pushgateway.resume()
    assert Client().get(f"{pushgateway.url}/-/ready")
    pushgateway.stop()


def test_a_service_has_stopped_with_all_its_threads_when_pause_returns() -> None:
    def thread_states(pid: int) -> set[str]:
        stats = [path.read_text() for path in Path(f"/proc/{pid}/task").glob("*/stat")]
        return {stat.rpartition(")")[2].split()[0] for stat in stats}

    with Testbed() as bed:
        pushgateway = bed.pushgateway()
        (pid,) = guard.processes_of(bed.folder)
        # Often: without waiting, one pause in forty finds a thread that still runs.
        for _ in range(300):
            pushgateway.pause()
            assert thread_states(pid) == {"T"}
            pushgateway.resume()


def test_the_end_of_the_block_leaves_no_process_and_no_folder() -> None:
    with Testbed() as bed:
        worker = bed.worker(bed.redis(), concurrency=2)
        # Redis, the worker's main process and its pool of two.
        assert len(guard.processes_of(bed.folder)) >= 4
        assert worker.node in worker.log_text()
    assert guard.processes_of(bed.folder) == []
    assert not bed.folder.exists()


def test_an_owner_killed_with_sigkill_leaves_no_process_and_no_folder() -> None:
    owner = subprocess.run([sys.executable, "-c", OWNER_THAT_IS_KILLED], stdout=subprocess.PIPE, text=True, check=False)
    assert owner.returncode == -signal.SIGKILL
    folder = Path(owner.stdout.strip())
    process.wait_for("the guard to end all", lambda: not folder.exists(), timeout=30)
    assert guard.processes_of(folder) == []


def test_a_missing_program_is_named_with_its_package(testbed: Testbed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(ServiceError) as caught:
        testbed.pushgateway()
    assert str(caught.value) == (
        "prometheus-pushgateway is missing: install Debian's package prometheus-pushgateway, or run `make servers`"
    )


def test_a_port_taken_meanwhile_is_replaced_by_another(testbed: Testbed, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = other.getsockname()[1]
        ports = iter([taken, process.free_port()])
        monkeypatch.setattr(process, "free_port", lambda: next(ports))
        redis = testbed.redis()
        assert redis.port != taken
        redis.stop()


def test_a_service_that_does_not_start_shows_its_log(testbed: Testbed) -> None:
    with pytest.raises(ServiceError, match=r"exit code 1\n(.*\n)*.*unknown long flag '--nonsense'"):
        testbed.pushgateway(options=["--nonsense"])


def test_flower_shows_the_very_tasks_that_fill_says_it_sent(testbed: Testbed, redis: Redis) -> None:
    flower = testbed.flower(redis)
    tally = fill(redis.url, 500)
    with TaskEvents(redis.url) as events:
        events.send("task-received", uuid="the-last", name="shop.last")
    flower.wait_for_task("the-last", "RECEIVED")
    tally["shop.last", "RECEIVED"] += 1
    shown = [(task["name"], task["state"]) for task in flower.client.get_json(f"{flower.url}/api/tasks").values()]
    assert sorted(shown) == sorted(tally.elements())
    flower.stop()


def test_flower_sees_a_worker_come_and_go(testbed: Testbed, redis: Redis) -> None:
    flower = testbed.flower(redis)
    with TaskEvents(redis.url) as events:
        events.worker("celery@short-lived")
        flower.wait_for_worker("celery@short-lived")
        events.worker("celery@short-lived", event="offline")
        flower.wait_for_worker("celery@short-lived", alive=False)
    flower.stop()


@pytest.mark.parametrize("version", ["1.2.0", "2.0.1"])
def test_an_older_flower_sees_the_workers_too(testbed: Testbed, redis: Redis, worker: Worker, version: str) -> None:
    flower = testbed.flower(redis, version=version, options=["--url_prefix=flower"])
    flower.wait_for_worker(worker.node)
    flower.stop()


def test_prometheus_knows_what_was_pushed_before_the_wait_for_a_scrape(
    clean_pushgateway: Pushgateway, prometheus: Prometheus
) -> None:
    for value in range(3):
        push_number(clean_pushgateway, value)
        prometheus.wait_for_scrape()
        assert [found for _, found in prometheus.query("testbed_number")] == [value]
    assert (
        clean_pushgateway.samples(job="testbed")["testbed_number", frozenset({("job", "testbed"), ("instance", "")})]
        == 2
    )
    assert [group["labels"] for group in clean_pushgateway.groups()] == [{"job": "testbed"}]


def test_settings_of_the_users_shell_do_not_reach_the_services(
    testbed: Testbed, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLOWER_URL_PREFIX", "elsewhere")
    flower = testbed.flower(redis)
    assert flower.client.status(f"{flower.url}/api/tasks") == 200
    flower.stop()
