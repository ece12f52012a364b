"""VictoriaMetrics and vmagent store pushes.

`make test-newest` runs these tests, because Debian's version is too old to accept pushes.
"""

import math
import time
from pathlib import Path

import pytest

from testbed.command import PushJob
from testbed.other_servers import VictoriaMetrics
from testbed.process import wait_for
from testbed.services import Prometheus, Testbed
from tests.faults.cycles import fake_flower
from tests.panels.ask import answer
from tests.panels.boards import BOARDS, PanelQuery, filled_in, queries_of
from tests.panels.states import FRESH, put
from tests.pushgateway.test_servers import DROPS_BODY

TEXT = ("--push-format", "text")
PATH = "/api/v1/import/prometheus"


@pytest.fixture(scope="module")
def victoriametrics(testbed: Testbed) -> VictoriaMetrics:
    """A VictoriaMetrics that accepts pushes."""
    return testbed.victoriametrics()


@pytest.fixture(params=["VictoriaMetrics", "vmagent"])
def server(request: pytest.FixtureRequest, testbed: Testbed, victoriametrics: VictoriaMetrics) -> VictoriaMetrics:
    """A new VictoriaMetrics, or a vmagent that sends to one."""
    return testbed.victoriametrics() if request.param == "VictoriaMetrics" else testbed.vmagent(victoriametrics)


def test_text_is_stored_and_protobuf_is_refused(server: VictoriaMetrics, push_job: PushJob) -> None:
    with fake_flower() as flower:
        options = ("--flower", flower.url, "--pushgateway", server.url + PATH)
        assert push_job("push", *options).returncode == 3
        assert push_job("check", *options).returncode == 1
        assert push_job("push", *options, *TEXT).returncode == 0
        checked = push_job("check", *options, *TEXT)
        assert checked.returncode == 0, checked.stdout
        deleted = push_job("delete", *options, *TEXT)
        assert deleted.returncode == 3
        assert "docs/victoriametrics.md" in deleted.stderr


def test_a_proxy_that_drops_the_body_is_noticed(server: VictoriaMetrics, testbed: Testbed, push_job: PushJob) -> None:
    nginx = testbed.nginx(f"location / {{ proxy_pass {server.url}/; {DROPS_BODY} }}")
    with fake_flower() as flower:
        options = ("--flower", flower.url, "--pushgateway", nginx.url + PATH, *TEXT)
        assert push_job("push", *options).returncode == 3
        assert push_job("check", *options).returncode == 1


def test_a_url_without_the_import_path_is_an_error(server: VictoriaMetrics, push_job: PushJob) -> None:
    with fake_flower() as flower:
        options = ("--flower", flower.url, "--pushgateway", server.url, *TEXT)
        assert push_job("push", *options).returncode == 3
        checked = push_job("check", *options)
    assert checked.returncode == 1
    assert PATH in checked.stdout


@pytest.fixture(scope="module")
def both(testbed: Testbed) -> tuple[Prometheus, Prometheus]:
    """Return a Prometheus and a VictoriaMetrics with the same pushes.

    The Prometheus scrapes a Pushgateway. The pushes are those of the last seconds.
    """
    pushgateway, victoriametrics = testbed.pushgateway(), testbed.victoriametrics()
    prometheus = testbed.prometheus(pushgateway)
    for number in (1, 2):
        for group in FRESH["ok"]:
            put(pushgateway.url, "flower", group.instance, group.text(number))
            text = group.text(number) + f"push_time_seconds {time.time()}\n"
            put(victoriametrics.url + PATH, "flower", group.instance, text)
        prometheus.wait_for_scrape()
    stored = Prometheus(Path(), "victoriametrics", pushgateway, [], "1s", honor_labels=True)
    stored.port = victoriametrics.port
    # VictoriaMetrics shows samples to queries after some seconds.
    last = 'celery_worker_processed_tasks{worker="celery@w-0"} == 20'
    wait_for("the pushes", lambda: len(stored.query(last)) == len(FRESH["ok"]), 90)
    return prometheus, stored


#: Titles of panels with rates and ages: each server has its own times of samples, so only the labels are compared.
TIMES = ("per second", "Busy processes", "Age of the data", "Each Flower B")


@pytest.mark.parametrize("query", [query for board in BOARDS for query in queries_of(board)], ids=str)
def test_a_query_of_the_panels_has_the_same_result(query: PanelQuery, both: tuple[Prometheus, Prometheus]) -> None:
    now = time.time()
    text = filled_in(query.expr, query.board, {})
    prometheus, victoriametrics = (answer(server, text, now) for server in both)
    assert victoriametrics.keys() == prometheus.keys()
    for labels, value in prometheus.items():
        assert (
            any(title in str(query) for title in TIMES)
            or math.isclose(victoriametrics[labels], value, rel_tol=0.01)
            or math.isnan(value)
        )
