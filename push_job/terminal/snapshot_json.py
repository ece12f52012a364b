"""The result of `show` as JSON for a program."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from push_job.cycle import ScrapeResult
from push_job.metrics.registry import push_registry
from push_job.settings import Endpoint


def as_json(scrapes: Mapping[Endpoint, ScrapeResult]) -> str:
    """Return all families that a push would send, by Flower."""
    return json.dumps({"flowers": [_flower(flower, scrape) for flower, scrape in scrapes.items()]}, indent=2)


def _flower(flower: Endpoint, scrape: ScrapeResult) -> dict[str, Any]:
    snapshot = scrape.snapshot
    if snapshot is None:
        return {
            "flower": flower.address,
            "up": False,
            "error": scrape.error,
            "workers": None,
            "tasks": None,
            "families": [],
        }
    return {
        "flower": flower.address,
        "up": True,
        "error": None,
        "workers": sum(snapshot.workers.values()),
        "tasks": snapshot.task_count,
        "families": [
            {
                "name": family.name,
                "type": family.type,
                "samples": [
                    {"name": sample.name, "labels": sample.labels, "value": _value(sample.value)}
                    for sample in family.samples
                ],
            }
            for family in push_registry(snapshot, scrape.seconds).collect()
        ],
    }


def _value(value: float) -> float | str:
    """Return a sample's value; JSON has no number for NaN and the infinities."""
    if math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else f"{value:+}".replace("inf", "Inf")
