"""The test bed on which other tests rely."""

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

KILLED_OWNER = """
import os, signal
from testbed.services import Testbed

with Testbed() as bed:
    worker = bed.worker(bed.redis())
    print(bed.folder, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def push_number(pushgateway: Pushgateway, value: int) -> None:
    """Push one sample, `testbed_number`, to the group of the job `testbed`."""
    request = urllib.request.Request(
        f"{pushgateway.url}/metrics/job/testbed", data=f"testbed_number {value}\n".encode(), method="PUT"
    )
    urllib.request.urlopen(request, timeout=10).close()


def test_service_restarts_on_its_port(testbed: Testbed) -> None:
    pushgateway = testbed.pushgateway()
    url = pushgateway.url
    for end in (pushgateway.stop, pushgateway.kill):
        end()
        assert Client().status(f"{url}/-/ready") is None
        pushgateway.start()
        assert pushgateway.url == url
        assert Client().status(f"{url}/-/ready") == 200
    pushgateway.stop()


def test_paused_service_answers_after_resume(testbed: Testbed) -> None:
    pushgateway = testbed.pushgateway()
    pushgateway.pause()
    with pytest.raises(OSError, match="timed out"):
        Client().get(f"{pushgateway.url}/-/ready", timeout=0.3)
    pushgateway.resume()
    assert Client().get(f"{pushgateway.url}/-/ready")
    pushgateway.stop()


def test_pause_waits_until_all_threads_have_stopped() -> None:
    def thread_states(pid: int) -> set[str]:
        stats = [path.read_text() for path in Path(f"/proc/{pid}/task").glob("*/stat")]
        return {stat.rpartition(")")[2].split()[0] for stat in stats}

    with Testbed() as bed:
        pushgateway = bed.pushgateway()
        (pid,) = guard.processes_of(bed.folder)
        # Repeated, because without waiting one of forty pauses finds a running thread.
        for _ in range(300):
            pushgateway.pause()
            assert thread_states(pid) == {"T"}
            pushgateway.resume()


def test_end_of_the_block_removes_processes_and_folder() -> None:
    with Testbed() as bed:
        worker = bed.worker(bed.redis(), concurrency=2)
        # Redis, the main process of the worker, and its pool of two.
        assert len(guard.processes_of(bed.folder)) >= 4
        assert worker.node in worker.log_text()
    assert guard.processes_of(bed.folder) == []
    assert not bed.folder.exists()


def test_killed_owner_leaves_no_process_and_no_folder() -> None:
    owner = subprocess.run([sys.executable, "-c", KILLED_OWNER], stdout=subprocess.PIPE, text=True, check=False)
    assert owner.returncode == -signal.SIGKILL
    folder = Path(owner.stdout.strip())
    process.wait_for("the guard to end all processes", lambda: not folder.exists(), timeout=30)
    assert guard.processes_of(folder) == []


def test_missing_program_is_reported_with_its_package(testbed: Testbed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(ServiceError) as caught:
        testbed.pushgateway()
    assert str(caught.value) == (
        "prometheus-pushgateway is missing: install Debian's package prometheus-pushgateway, or run `make servers`"
    )


def test_port_in_use_is_replaced(testbed: Testbed, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = other.getsockname()[1]
        ports = iter([taken, process.free_port()])
        monkeypatch.setattr(process, "free_port", lambda: next(ports))
        redis = testbed.redis()
        assert redis.port != taken
        redis.stop()


def test_failed_start_shows_the_log(testbed: Testbed) -> None:
    with pytest.raises(ServiceError, match=r"exit code 1\n(.*\n)*.*unknown long flag '--nonsense'"):
        testbed.pushgateway(options=["--nonsense"])


def test_flower_shows_exactly_the_tasks_of_fill(testbed: Testbed, redis: Redis) -> None:
    flower = testbed.flower(redis)
    tally = fill(redis.url, 500)
    with TaskEvents(redis.url) as events:
        events.send("task-received", uuid="the-last", name="shop.last")
    flower.wait_for_task("the-last", "RECEIVED")
    tally["shop.last", "RECEIVED"] += 1
    shown = [(task["name"], task["state"]) for task in flower.client.get_json(f"{flower.url}/api/tasks").values()]
    assert sorted(shown) == sorted(tally.elements())
    flower.stop()


def test_flower_sees_worker_start_and_stop(testbed: Testbed, redis: Redis) -> None:
    flower = testbed.flower(redis)
    with TaskEvents(redis.url) as events:
        events.worker("celery@short-lived")
        flower.wait_for_worker("celery@short-lived")
        events.worker("celery@short-lived", event="offline")
        flower.wait_for_worker("celery@short-lived", alive=False)
    flower.stop()


@pytest.mark.parametrize("version", ["1.2.0", "2.0.1"])
def test_older_flower_sees_workers(testbed: Testbed, redis: Redis, worker: Worker, version: str) -> None:
    flower = testbed.flower(redis, version=version, options=["--url_prefix=flower"])
    flower.wait_for_worker(worker.node)
    flower.stop()


def test_wait_for_scrape_returns_after_the_last_push(clean_pushgateway: Pushgateway, prometheus: Prometheus) -> None:
    for value in range(3):
        push_number(clean_pushgateway, value)
        prometheus.wait_for_scrape()
        assert [found for _, found in prometheus.query("testbed_number")] == [value]
    assert (
        clean_pushgateway.samples(job="testbed")["testbed_number", frozenset({("job", "testbed"), ("instance", "")})]
        == 2
    )
    assert [group["labels"] for group in clean_pushgateway.groups()] == [{"job": "testbed"}]


def test_variables_of_the_shell_do_not_reach_services(
    testbed: Testbed, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLOWER_URL_PREFIX", "elsewhere")
    flower = testbed.flower(redis)
    assert flower.client.status(f"{flower.url}/api/tasks") == 200
    flower.stop()
