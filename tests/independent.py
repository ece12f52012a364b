"""Expected samples of a push.

They are computed from Flower's answers in the simplest way.
"""

import json
import time
from collections import Counter, defaultdict
from collections.abc import Iterable
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any

import requests

STATES = ("FAILURE", "PENDING", "RECEIVED", "RETRY", "REVOKED", "STARTED", "SUCCESS")
ENTERED_BY = {"PENDING": "sent", "RECEIVED": "received", "STARTED": "started", "RETRY": "retried"}

#: A sample without the labels of its group: the family's name and its own labels.
Key = tuple[str, frozenset[tuple[str, str]]]


def key(family: str, **labels: str) -> Key:
    """Return the key of a sample."""
    return family, frozenset(labels.items())


def expected_samples(flower_url: str, auth: tuple[str, str] | None = None) -> tuple[dict[Key, float], dict[Key, int]]:
    """Return the samples of the three families, and the counts of growing durations.

    The second result is the number of tasks in each duration that still grows.
    """
    status = requests.get(f"{flower_url}/api/workers?status=1", auth=auth, timeout=30).json()
    answer = requests.get(f"{flower_url}/api/tasks", auth=auth, timeout=60)
    now = parsedate_to_datetime(answer.headers["Date"]).timestamp()
    stopped = set() if all(status.values()) else _stopped_in_order(flower_url, auth)
    samples = {key("celery_workers", app=name): float(alive) for name, alive in status.items() if name not in stopped}
    samples = samples or {key("celery_workers", app=""): 0.0}
    tasks = json.loads(answer.text).values()
    samples.update(_counts(tasks))
    durations, growing = _durations(tasks, now)
    return {**samples, **durations}, growing


def _stopped_in_order(flower_url: str, auth: tuple[str, str] | None) -> set[str]:
    """Return the workers that stopped in order.

    The last event of such a worker said that it stops, which removes its heartbeats.
    """
    page = requests.get(f"{flower_url}/workers?json=1", auth=auth, timeout=30)
    if page.status_code == 404:
        page = requests.get(f"{flower_url}/dashboard?json=1", auth=auth, timeout=30)  # up to Flower 1.2
    return {row["hostname"] for row in page.json()["data"] if not row["status"] and not row["heartbeats"]}


def _counts(tasks: Iterable[dict[str, Any]]) -> dict[Key, float]:
    counts: dict[Key, float] = defaultdict(float)
    for task in tasks:
        name = task["name"] or "unknown"
        for state in STATES:
            counts[key("celery_task_types_by_state", task_type=name, state=state)] += 0
        counts[key("celery_task_types_by_state", task_type=name, state=task["state"])] += 1
    return counts


def durations_by_labels(
    tasks: Iterable[dict[str, Any]], now: float
) -> tuple[Counter[tuple[str, str]], dict[tuple[str, str], float]]:
    """Return the number of tasks and their seconds by type and state."""
    counts: Counter[tuple[str, str]] = Counter()
    for task in tasks:
        counts[task["name"] or "unknown", task["state"]] += 1
    sums = {tuple(sorted(labels)): value for (_, labels), value in _durations(tasks, now)[0].items()}
    return counts, {labels: sums[("name", labels[0]), ("state", labels[1])] for labels in counts}


def _durations(tasks: Iterable[dict[str, Any]], now: float) -> tuple[dict[Key, float], dict[Key, int]]:
    sums: dict[Key, float] = defaultdict(float)
    growing: dict[Key, int] = defaultdict(int)
    for task in tasks:
        sample = key("celery_task_duration_seconds_by_state", name=task["name"] or "unknown", state=task["state"])
        if task["state"] in ENTERED_BY or _is_custom_and_unfinished(task):
            since = task[ENTERED_BY.get(task["state"], "timestamp")] or task["timestamp"]
            if task["eta"]:
                since = max(since, datetime.fromisoformat(task["eta"]).timestamp())
            sums[sample] += max(0.0, now - since)
            growing[sample] += 1
        else:
            sums[sample] += task["runtime"] or 0.0
    return sums, growing


def _is_custom_and_unfinished(task: dict[str, Any]) -> bool:
    is_custom = task["state"] not in {*STATES, "REJECTED", "IGNORED"}
    ended = max(task["succeeded"] or 0.0, task["failed"] or 0.0)
    return bool(is_custom and task["started"] and task["started"] > ended)


def assert_agree(pushed: dict[Key, float], expected: dict[Key, float], growing: dict[Key, int], seconds: float) -> None:
    """Compare samples; a duration that still grows may differ by `seconds` per task."""
    assert pushed.keys() == expected.keys()
    for sample, value in expected.items():
        allowed = growing.get(sample, 0) * (seconds + 1) + 1e-9 * abs(value)
        assert abs(pushed[sample] - value) <= allowed, f"{sample}: pushed {pushed[sample]}, counted {value}"


def without_group(samples: dict[Key, float], *group: str) -> dict[Key, float]:
    """Return samples of the three families without the labels of the group.

    These are `job`, `instance` and those in `group`.
    """
    dropped = {"job", "instance", *group}
    return {
        (name, frozenset((label, value) for label, value in labels if label not in dropped)): value
        for (name, labels), value in samples.items()
        if name.startswith("celery_")
    }


def eventually(condition: Any, timeout: float = 120.0) -> None:
    """Wait until `condition()` is true."""
    end = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < end, "it did not become true in time"
        time.sleep(0.05)
