"""The estimate of the time of a full scrape."""

from typing import cast

import pytest

from push_job.checks.scrape_time import check_scrape_time
from push_job.flower.api import Flower
from push_job.http.client import Client
from push_job.settings import Endpoint, Settings
from tests.fakes.celery_flower import BY_STAMP, CeleryFlower, DirectClient, never

SERVER = Endpoint.parse("http://localhost:1", "a URL")


@pytest.fixture(scope="module")
def flower() -> CeleryFlower:
    flower = CeleryFlower(BY_STAMP, 10_000)
    for number in range(1000):
        flower.event("task-received", f"task-{number}", "celery@one", float(number), number, name="shop.pay")
    return flower


@pytest.mark.parametrize(("seconds", "passes"), [(0.01, True), (4.0, True), (5.0, False)])
def test_a_full_scrape_must_end_before_the_push_begins(flower: CeleryFlower, seconds: float, passes: bool) -> None:
    # Ten pages take ten times as long; the deadline is 50 s, and 5 s of it are reserved.
    settings = Settings((SERVER,), SERVER, "job")
    api = Flower(cast(Client, DirectClient(flower)))
    assert check_scrape_time(api, 100, seconds, settings, never()).passed is passes


@pytest.mark.parametrize("size", [60, 100, 700])
def test_the_number_of_tasks_is_found_with_few_requests(flower: CeleryFlower, size: int) -> None:
    settings = Settings((SERVER,), SERVER, "job")
    flower.requests.clear()
    step = check_scrape_time(Flower(cast(Client, DirectClient(flower))), size, 1.0, settings, never())
    number = int(step.text.split(" tasks")[0].split()[-1].replace(",", ""))
    assert 950 <= number <= 1000
    assert len(flower.requests) <= 10
