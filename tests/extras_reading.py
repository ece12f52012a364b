"""Expected samples of the extras.

They are computed from Flower's answers in the simplest way.
"""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import requests
from prometheus_client.parser import text_string_to_metric_families

from push_job.settings import Settings
from testbed.command import PushJob
from testbed.prometheus import Samples
from testbed.services import Flower, Pushgateway
from tests.independent import ENTERED_BY, Key, key

OF_THE_PUSHGATEWAY = ("push_time_seconds", "push_failure_time_seconds")


def push(push_job: PushJob, flower: Flower, pushgateway: Pushgateway, *options: str) -> dict[Key, float]:
    """Push without a warning, and return the samples on the Pushgateway."""
    done = push_job("push", "--flower", flower.url, "--pushgateway", pushgateway.url, *options)
    assert done.returncode == 0, done.stderr
    assert "warning" not in done.stderr
    return without_group_labels(pushgateway.samples())


def without_group_labels(samples: Samples) -> dict[Key, float]:
    """Return the pushed samples without the labels `job` and `instance`.

    Samples that the Pushgateway adds are left out.
    """
    return {
        without_spelling(name, {label: text for label, text in labels if label not in ("job", "instance")}): value
        for (name, labels), value in samples.items()
        if name not in OF_THE_PUSHGATEWAY
    }


def without_spelling(name: str, labels: Mapping[str, str]) -> Key:
    """Return a sample's key with normalized bounds of buckets: 10.0 and 10 are equal."""
    return name, frozenset((label, f"{float(text):g}" if label == "le" else text) for label, text in labels.items())


def of_family(samples: Mapping[Key, float], prefix: str) -> dict[Key, float]:
    """Return the samples whose name has this prefix."""
    return {sample: value for sample, value in samples.items() if sample[0].startswith(prefix)}


def raw_tasks(flower_url: str) -> list[dict[str, Any]]:
    """Return every task as Flower has it."""
    return list(requests.get(f"{flower_url}/api/tasks", timeout=60).json().values())


def runtimes(tasks: Sequence[dict[str, Any]]) -> dict[str, list[float]]:
    """Return the runtimes of finished tasks by type, without types that have none."""
    found: dict[str, list[float]] = defaultdict(list)
    for task in tasks:
        if task["state"] not in ENTERED_BY and task["runtime"] is not None:
            found[task["name"]].append(task["runtime"])
    return found


def waits(tasks: Sequence[dict[str, Any]]) -> dict[str, list[float]]:
    """Return the waits of the started tasks in seconds, by task type.

    A wait begins when the task was received or sent, or at its ETA, whichever is latest. A task that waits again,
    after a retry or a second delivery, is left out.
    """
    found: dict[str, list[float]] = defaultdict(list)
    for task in tasks:
        eta = datetime.fromisoformat(task["eta"]).timestamp() if task["eta"] else 0
        arrived = max(task["received"] or 0, task["sent"] or 0, eta)
        waits_again = task["started"] and task["started"] < (arrived if task["retried"] else task["received"] or 0)
        if task["started"] and arrived and not waits_again:
            found[task["name"]].append(max(0, task["started"] - arrived))
    return found


def histogram(
    family: str, seconds: Mapping[str, Sequence[float]], buckets: Sequence[float] = Settings.buckets
) -> dict[Key, float]:
    """Return the samples of a histogram by task type."""
    samples: dict[Key, float] = {}
    for name, values in seconds.items():
        for bound in (*buckets, math.inf):
            samples[key(f"{family}_bucket", name=name, le=f"{bound:g}")] = sum(value <= bound for value in values)
        samples[key(f"{family}_count", name=name)] = len(values)
        samples[key(f"{family}_sum", name=name)] = sum(values)
    return samples


def own_metrics(flower_url: str) -> tuple[dict[Key, float], dict[str, str]]:
    """Return samples and types of Flower's `/metrics` that are passed on."""
    samples: dict[Key, float] = {}
    types: dict[str, str] = {}
    text = requests.get(f"{flower_url}/metrics", timeout=30).content.decode()
    for family in text_string_to_metric_families(text):
        not_passed_on = family.name.startswith(("process_", "python_")) or family.name.endswith("_created")
        if family.samples and not not_passed_on:
            types[family.name] = family.type
            samples.update({without_spelling(s.name, s.labels): s.value for s in family.samples})
    return samples, types


def interpolated_quantile(samples: Mapping[Key, float], family: str, name: str, share: float) -> tuple[float, float]:
    """Return the result of PromQL's histogram_quantile, and the width of its bucket."""
    buckets = sorted(
        (float(dict(labels)["le"]), value)
        for (sample, labels), value in samples.items()
        if sample == f"{family}_bucket" and dict(labels)["name"] == name
    )
    rank = share * buckets[-1][1]
    low, below = 0.0, 0.0
    for bound, count in buckets:
        if count >= rank:
            if bound == math.inf:
                return low, math.inf
            return low + (bound - low) * (rank - below) / (count - below), bound - low
        low, below = bound, count
    raise AssertionError("the +Inf bucket holds all")
