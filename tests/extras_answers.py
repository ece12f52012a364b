"""Answers of a healthy Flower with one task and one worker.

Other answers can replace some of them in pushes of the extras.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from push_job.metrics.extras import EXTRAS
from testbed.command import PushJob
from testbed.services import Pushgateway
from tests.extras_reading import without_group_labels
from tests.fakes.http import Script, ScriptedServer, answer, json_answer
from tests.independent import Key, key

#: The extras that read nothing from workers.
UNASKED = tuple(name for name in EXTRAS if name not in ("pools", "totals"))

NOW = time.time()
TASKS = {
    "a": {"name": "shop.a", "state": "SUCCESS", "received": NOW - 9, "started": NOW - 8, "runtime": 2, "timestamp": NOW}
}
WORKERS = [
    {"hostname": "celery@a", "active": 1, "processed": 5, "loadavg": [3, 2, 1], "heartbeats": [NOW], "status": True}
]
METRICS = (
    b"# HELP flower_events_total Number of events\n# TYPE flower_events_total counter\n"
    b'flower_events_total{task="shop.a",type="task-started",worker="celery@a"} 3.0\n'
    b"# TYPE flower_worker_prefetched_tasks gauge\n"
    b'flower_worker_prefetched_tasks{task="shop.a",worker="celery@a"} 2.0\n'
)
GOOD: dict[str, Script] = {
    "/api/workers": json_answer({"celery@a": True}),
    "/api/tasks": json_answer(TASKS),
    "/api/queues/length": json_answer({"active_queues": [{"name": "celery", "messages": 4}]}),
    "/workers": json_answer({"data": WORKERS}),
    "/metrics": answer(METRICS),
}
EVENTS = key("flower_events_total", task="shop.a", type="task-started", worker="celery@a")


def assert_three_families(samples: Mapping[Key, float]) -> None:
    """Check that the three families agree with TASKS."""
    assert samples[key("flower_up")] == 1
    assert samples[key("celery_workers", app="celery@a")] == 1
    assert samples[key("celery_task_types_by_state", task_type="shop.a", state="SUCCESS")] == 1
    assert samples[key("celery_task_duration_seconds_by_state", name="shop.a", state="SUCCESS")] == 2


def left_out(samples: Mapping[Key, float]) -> set[str]:
    """Return the extras that could not be read."""
    return {
        dict(labels)["extra"]
        for (name, labels), value in samples.items()
        if name == "flower_scrape_extra_success" and value == 0
    }


@contextmanager
def pushed(
    push_job: PushJob, pushgateway: Pushgateway, answers: Mapping[str, Script | Sequence[Script]], *options: str
) -> Iterator[tuple[dict[Key, float], list[str]]]:
    """Push the extras of a Flower with these answers; yield samples and warnings.

    All extras are pushed except `pools` and `totals`.
    """
    with ScriptedServer({**GOOD, **answers}) as server:
        where = ("--flower", server.url, "--pushgateway", pushgateway.url)
        done = push_job("push", *where, "--with", ",".join(UNASKED), *options)
        assert done.returncode == 0, done.stderr
        warnings = [line for line in done.stderr.splitlines() if "level=warning" in line]
        assert all(len(line) < 600 for line in warnings)
        samples = without_group_labels(pushgateway.samples())
        assert_three_families(samples)
        yield samples, warnings
