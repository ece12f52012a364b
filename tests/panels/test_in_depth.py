"""Every query of the in-depth dashboard, on real pushes with every extra."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import pytest

from push_job.metrics.extras import EXTRAS
from testbed.command import PushJob
from testbed.events import TaskEvents
from testbed.services import Flower, Prometheus, Redis, Testbed
from testbed.shop import shop_app
from tests.panels.ask import answer, offered, shown
from tests.panels.boards import ROOT, PanelQuery, Values, filled_in, queries_of, variables
from tests.panels.conftest import host_and_port
from tests.panels.expected import SCENE_TAKES, Between, Expected, of
from tests.panels.scene import FOR_EVER, Tasks, send_tasks
from tests.panels.test_docs import QUERIES, with_histograms

BOARD = "celery-by-flower-in-depth"

CHOSEN: Values = {"job": ["flower"]}


# With the defaults of the dashboard (target 2.5 s, tolerated 10 s): 15 satisfied, 4 tolerated, 2 frustrated.
AT_FIRST = (
    Tasks("shop.pay", "SUCCESS", 8, 2.0),
    Tasks("shop.pay", "SUCCESS", 4, 8.0),
    Tasks("shop.pay", "SUCCESS", 2, 40.0),
    Tasks("shop.mail", "SUCCESS", 4, 0.4),
    Tasks("shop.pay", "FAILURE", 1, 1.0),
    Tasks("shop.report", "STARTED", 1, 30.0),
    Tasks("shop.mail", "RECEIVED", 2, 30.0),
)
LATER = (
    Tasks("shop.pay", "FAILURE", 1, 1.0),
    Tasks("shop.pay", "SUCCESS", 3, 2.0),
    Tasks("shop.mail", "SUCCESS", 1, 0.4),
)
WITHIN = {"shop.pay": 8 + 3, "shop.mail": 4 + 1}
TOLERATED = {"shop.pay": 8 + 3 + 4, "shop.mail": 4 + 1}
COUNT = {"shop.pay": 8 + 3 + 4 + 2, "shop.mail": 4 + 1}
QUEUED_AT_FIRST, QUEUED = 3, 5


@dataclass(frozen=True)
class InDepth:
    """The data in Prometheus and the time of the queries; see Scene."""

    prometheus: Prometheus
    instance: str
    at: float


@pytest.fixture(scope="module")
def scene(testbed: Testbed, push_job: PushJob) -> InDepth:
    """Create a Flower with workers that are idle (w-1), busy (w-2) and gone (w-3)."""
    redis, pushgateway = testbed.redis(), testbed.pushgateway()
    flower = testbed.flower(redis)
    state = testbed.folder / "in-depth-state"
    prometheus = testbed.prometheus(pushgateway, rule_files=sorted(ROOT.glob("prometheus/rules/*.yml")))

    def push() -> None:
        addresses = ("--flower", flower.url, "--pushgateway", pushgateway.url)
        done = push_job("push", *addresses, "--with", ",".join(EXTRAS), "--state-file", str(state))
        assert done.returncode == 0, done.stderr

    _beat(redis, flower, processed=10)
    send_tasks(redis.url, flower, AT_FIRST, worker="celery@w-1")
    _send(redis, QUEUED_AT_FIRST)
    push()
    prometheus.wait_for_scrape()
    _beat(redis, flower, processed=30)
    send_tasks(redis.url, flower, LATER, worker="celery@w-1")
    _send(redis, QUEUED - QUEUED_AT_FIRST)
    push()
    # Rules use the second push, too.
    prometheus.wait_for_scrape()
    prometheus.wait_for_scrape()
    return InDepth(prometheus, host_and_port(flower), at=time.time())


def _beat(redis: Redis, flower: Flower, processed: int) -> None:
    with TaskEvents(redis.url) as events:
        for name, active in (("celery@w-1", 0), ("celery@w-2", 2), ("celery@w-3", 1)):
            events.worker(name, freq=FOR_EVER, active=active, processed=processed, loadavg=[1.5, 1.0, 0.5])
        events.worker("celery@w-3", freq=0.01, active=1, processed=processed)
    flower.wait_for_worker("celery@w-2")
    flower.wait_for_worker("celery@w-3", alive=False)


def _send(redis: Redis, count: int) -> None:
    with shop_app(redis.url) as shop:
        for order in range(count):
            shop.send_task("shop.orders.place", (order,))


def by(label: str, numbers: Mapping[str, float | Between]) -> Expected:
    """Return one series for each value of a label."""
    return {frozenset({(label, value)}): number for value, number in numbers.items()}


def always(expected: Expected) -> Callable[[InDepth], Expected]:
    """Return an expectation that does not depend on the addresses of the services."""
    return lambda _: expected


def each_flower(number: float | Between, **labels: str) -> Callable[[InDepth], Expected]:
    """Return one number of the only group."""
    return lambda scene: of(number, job="flower", instance=scene.instance, **labels)


def nothing(_: InDepth) -> Expected:
    """Expect an empty result; each use has a comment with the reason."""
    return {}


SOME = Between(1e-9, 1e9)
FAILED = {"shop.pay": 2, "shop.mail": 0}
APDEX = {name: (WITHIN[name] + TOLERATED[name]) / 2 / (COUNT[name] + FAILED[name]) for name in COUNT}
LIVE = ("celery@w-1", "celery@w-2")
ALL_WORKERS = (*LIVE, "celery@w-3")
BUCKETS = ("0.01", "0.025", "0.05", "0.1", "0.25", "0.5", "1", "2.5", "5", "10", "30", "60", "300", "900", "3600")

# The bucket of the exact 95 % quantile of each type: 40 s for shop.pay, 0.4 s for shop.mail.
RUNTIME = {"shop.pay": Between(30, 60), "shop.mail": Between(0.25, 0.5)}
# The finished tasks of the scene waited half a second, the running one a second.
WAIT = {"shop.pay": Between(0.25, 0.5), "shop.mail": Between(0.25, 0.5), "shop.report": Between(0.5, 1)}

PANELS: Mapping[tuple[str, str], Callable[[InDepth], Expected]] = {
    ("Oldest task by type", "A"): always(
        {
            **of(Between(29, 30 + SCENE_TAKES), name="shop.report", state="STARTED"),
            **of(Between(29, 30 + SCENE_TAKES), name="shop.mail", state="RECEIVED"),
            # The tasks in the queue were sent and not received.
            **of(Between(0, SCENE_TAKES), name="shop.orders.place", state="PENDING"),
        }
    ),
    ("Failures by exception", "A"): always(by("exception", {"ValueError": 2})),
    # The tasks of the scene do not come at regular intervals.
    ("Overdue types", "A"): always(of(0, name="no type runs regularly, or not pushed: --with last-run")),
    ("Overdue types", "B"): nothing,
    ("Overdue types", "C"): nothing,
    # There is no real worker that answers; tests/panels/test_states.py has pool sizes and consumers.
    ("Saturation: running / processes", "A"): nothing,
    ("Saturation: running / processes", "B"): nothing,
    ("Consumers of each queue", "A"): nothing,
    # There are no task-sent events.
    ("Queue wait and runtime: quantile $quantile", "A"): nothing,
    ("Queue wait and runtime: quantile $quantile", "B"): always(of(Between(30, 60))),
    ("Alerts", "A"): always(of(0, text="none")),
    ("Flowers", "A"): always(of(0, text="1 of 1", seen="1", all="1")),
    ("Workers", "A"): always(of(1, text="2 of 3", live="2", all="3")),
    # Nothing is known about ten minutes ago; tests/panels/test_first_screen.py has other levels.
    ("Tasks in queues", "A"): always(of(0, text=str(QUEUED))),
    ("Idle workers", "A"): always(of(1, text="1 of 2", idle="1", all="2")),
    # All four tasks that succeeded between the pushes were within the target, the fifth failed.
    ("Apdex (15 min)", "A"): always(of(1, text="0.8")),
    ("Extras", "A"): lambda scene: {
        labels: number for extra in EXTRAS for labels, number in each_flower(1, extra=extra)(scene).items()
    },
    ("Queue length", "A"): always(by("queue", {"celery": QUEUED})),
    # Only the tasks in the queue have a task-sent event.
    ("Unfinished tasks by queue", "A"): always(by("queue", {"celery": QUEUED, "unknown": 3})),
    # The workers cannot be asked for their queues.
    ("Orphaned tasks by queue", "A"): nothing,
    ("Queued, running, live workers", "A"): always(of(QUEUED)),
    ("Queued, running, live workers", "B"): always(of(2)),
    ("Queued, running, live workers", "C"): always(of(2)),
    ("Growth of each queue", "A"): always(by("queue", {"celery": SOME})),
    ("Runtime by type: quantile $quantile", "A"): always(by("name", RUNTIME)),
    ("Runtime of all selected types", "A"): always(of(Between(1, 2.5))),
    ("Runtime of all selected types", "B"): always(of(Between(30, 60))),
    ("Runtime of all selected types", "C"): always(of(Between(30, 60))),
    ("Apdex by type", "A"): always(by("name", APDEX)),
    ("Apdex by type over time", "A"): always(by("name", APDEX)),
    ("Runtimes, heatmap", "A"): always(
        by(
            "le",
            {
                bound: sum(float(bound) >= seconds for seconds in (*[0.4] * 5, *[2.0] * 11, *[8.0] * 4, *[40.0] * 2))
                for bound in (*BUCKETS, "+Inf")
            },
        )
    ),
    ("Wait by type: quantile $quantile", "A"): always(by("name", WAIT)),
    ("Wait of all selected types", "A"): always(of(Between(0.25, 0.5))),
    ("Wait of all selected types", "B"): always(of(Between(0.25, 1))),
    ("Wait of all selected types", "C"): always(of(Between(0.5, 1))),
    ("Waits, heatmap", "A"): always(by("le", {bound: Between(0, 30) for bound in (*BUCKETS, "+Inf")})),
    ("Events per second", "A"): always(
        by("type", {f"task-{kind}": SOME for kind in ("sent", "received", "started", "succeeded", "failed")})
    ),
    ("Finished per second by type", "A"): always(by("task", {"shop.pay": SOME, "shop.mail": SOME})),
    # 1 of 4; rates of young counters are estimates.
    ("Failure ratio by type", "A"): always(by("task", {"shop.pay": Between(0.2, 0.4), "shop.mail": 0})),
    ("Recent runtime: quantile $quantile", "A"): always(
        by("task", {"shop.pay": Between(1, 2.5), "shop.mail": Between(0.25, 0.5)})
    ),
    # New counters are 0 for a minute.
    ("Failures by exception per day", "A"): always(by("exception", {"ValueError": 0})),
    ("Ended per second", "A"): always(by("state", dict.fromkeys(("SUCCESS", "FAILURE", "REVOKED", "REJECTED"), 0))),
    ("Failed share of the finished tasks", "A"): nothing,
    ("Failed share of the finished tasks", "B"): nothing,
    ("Not counted within 24 hours", "A"): always(of(0)),
    ("Not counted within 24 hours", "B"): always(of(0)),
    ("Active tasks", "A"): always(by("worker", {"celery@w-1": 0, "celery@w-2": 2})),
    ("Tasks processed per second", "A"): always(by("worker", dict.fromkeys(ALL_WORKERS, SOME))),
    ("Load average of the machine, 1 minute", "A"): always(by("worker", dict.fromkeys(LIVE, 1.5))),
    # Worker w-1 has the two RECEIVED tasks.
    ("Prefetched tasks", "A"): always(by("worker", {"celery@w-1": 2})),
    ("Age of the last heartbeat", "A"): always(by("worker", dict.fromkeys(ALL_WORKERS, Between(0, 90)))),
    ("Prefetch wait of running tasks", "A"): always(by("worker", {"celery@w-1": Between(0.9, 1.1)})),
    # The worker left before the first push.
    ("A worker went away", ""): nothing,
    ("Flower down", ""): nothing,
    # Grafana draws an annotation where the value is above 0.
    ("Data too old", ""): each_flower(0),
}


def test_every_query_has_an_expectation() -> None:
    assert {(query.where, query.ref) for query in queries_of(BOARD)} == PANELS.keys()


@pytest.mark.parametrize("query", queries_of(BOARD), ids=str)
def test_panel_shows_the_pushed_extras(scene: InDepth, query: PanelQuery) -> None:
    found = shown(scene.prometheus, query, CHOSEN, scene.at)
    print(query, found)
    expected = PANELS[query.where, query.ref](scene)
    assert found.keys() == expected.keys()
    for labels, number in expected.items():
        assert found[labels] == (number if isinstance(number, Between) else pytest.approx(number)), labels


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("queue", ["celery"]),
        ("worker", ["celery@w-1", "celery@w-2", "celery@w-3"]),
        ("target", [*BUCKETS, "+Inf"]),
        ("tolerated", [*BUCKETS, "+Inf"]),
    ],
)
def test_variable_has_the_values_of_the_data(scene: InDepth, name: str, expected: list[str]) -> None:
    variable = variables(BOARD)[name]
    assert sorted(offered(scene.prometheus, BOARD, variable, CHOSEN, scene.at)) == sorted(expected)


@pytest.mark.parametrize("query", [query for query in QUERIES if with_histograms(query)])
def test_query_in_the_docs_has_a_result(scene: InDepth, query: str) -> None:
    assert answer(scene.prometheus, filled_in(query, BOARD, CHOSEN), scene.at)


def test_apdex_in_the_docs_equals_that_of_the_panel(scene: InDepth) -> None:
    (query,) = [query for query in QUERIES if ") / 2 /" in query]
    assert answer(scene.prometheus, filled_in(query, BOARD, CHOSEN), scene.at) == pytest.approx(by("name", APDEX))
