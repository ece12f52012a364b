"""A real proxy that answers /metrics out of its cache: no number is wrong."""

import time
from collections.abc import Iterator

import pytest
import requests

from push_job.flower.api import Flower as FlowerApi
from push_job.flower.incremental.scraper import TaskScraper
from push_job.http.client import Client
from push_job.settings import Endpoint
from testbed.other_servers import Nginx
from testbed.services import Flower, Testbed
from tests.incremental.real_shop import PAGE, TASKS, Shop, assert_equals_list

#: The cache ignores the unique argument with which the job requests /metrics.
CACHING = """
location / { proxy_pass %s; }
location /metrics { proxy_pass %s; proxy_cache cache; proxy_cache_key $uri; proxy_cache_valid 200 1h;
  add_header X-Cache $upstream_cache_status; }
"""


@pytest.fixture
def flower(testbed: Testbed) -> Iterator[Flower]:
    redis = testbed.redis()
    started = testbed.flower(redis)
    yield started
    started.stop()
    redis.stop()


def client_of(proxy: Nginx) -> Client:
    return Client(Endpoint.parse(proxy.url, "--flower"), timeout=60)


def test_counters_out_of_a_real_cache_prove_nothing(testbed: Testbed, flower: Flower) -> None:
    proxy = testbed.nginx(CACHING % (flower.url, flower.url))
    scraper, client = TaskScraper(full_every=3600), client_of(proxy)
    with Shop(flower.broker, seed=5) as shop:
        shop.arrive(TASKS)
        for _ in range(3):
            shop.burst()
            shop.settle(flower)
            scraped = assert_equals_list(flower, lambda: scraper.scrape(FlowerApi(client), PAGE, time.monotonic() + 60))
            assert scraped.full
    assert requests.get(f"{proxy.url}/metrics", timeout=60).headers["X-Cache"] == "HIT"
    client.close()
    proxy.stop()
