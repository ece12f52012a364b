"""The benchmark runs, and the compared commands do the same work."""

import pytest

from bench import commands
from bench.cost import BenchError, run
from bench.flowers import FilledFlowers, require_same_counts, task_counts
from bench.hard_cases import HardCase, HardCasesPlan
from bench.incremental import CYCLE, CYCLE_EXTRAS, STATE_FILE_EXTRAS, IncrementalPlan
from bench.measure import PUSH_JOB, Plan, measure
from bench.pools import WITH, PoolsPlan
from bench.report import report
from bench.targets import targets
from testbed.services import Pushgateway, Testbed

pytestmark = pytest.mark.services

#: Every part of the load: retries, a restart, and a file of tasks.
RESTARTED = HardCase("restarted", retried=0.2, persistent=True, restart=True)

TINY = Plan(
    versions=(None,),
    sizes=(20, 60),
    rounds=1,
    page_sizes=(20,),
    page_rounds=1,
    small_tasks=5,
    cold_rounds=1,
    instances=3,
    instance_rounds=1,
    types=30,
    types_rounds=1,
    pools=PoolsPlan(versions=(None,), workers=1, rounds=1, pushes=1),
    incremental=IncrementalPlan(versions=(None,), sizes=(1_200,), changes=(20,), usual=50, rounds=1),
    hard_cases=HardCasesPlan(versions=(None,), cases=(RESTARTED,), tasks=1_200, rate=20, cycles=1, interval=0.2),
)


def test_benchmark_prints_a_line_for_each_target() -> None:
    results = measure(TINY)
    text = report(results, (0.0, 0.0, 0.0))
    lines = [line.split("|")[1:-1] for line in text.splitlines() if line.startswith("| ")]
    rows = [tuple(cell.strip() for cell in line) for line in lines]
    for target in targets(results):
        ratio, limit = f"{target.measured:.2f}", f"{target.limit:.2f}"
        assert (target.what, target.against, target.flower, ratio, limit) in {row[:5] for row in rows}
    assert {row[:2] for row in rows} >= {("20", PUSH_JOB), ("60", PUSH_JOB), ("60", "simple exporter")}
    assert {row[0] for row in rows} >= {CYCLE, CYCLE_EXTRAS, STATE_FILE_EXTRAS}
    assert WITH in {row[1] for row in rows}
    assert min(results.pools.answer_bytes.values()) > 500  # contains at least its queues and its pool
    [(cycle, read)] = results.incremental.by_size.values()
    assert cycle.flower_cpu > 0
    [hard] = results.hard_cases.values()
    assert hard.first.cpu > 0
    assert hard.cycles == 1
    assert read < 1_200  # an incremental scrape
    assert all(cost.cpu > 0 and cost.stall > 0 for cost in results.by_size.values())


def test_simple_exporter_and_push_job_push_the_same_counts(testbed: Testbed, clean_pushgateway: Pushgateway) -> None:
    filled = FilledFlowers(testbed, [None])
    filled.fill_up(300)
    (flower,) = filled.flowers.values()
    run(commands.push_job([flower.url], clean_pushgateway.url, "--page-size", "100", job="ours"))
    run(commands.simple_exporter(flower.url, clean_pushgateway.url, job="simple"))
    assert task_counts(clean_pushgateway, "ours") == task_counts(clean_pushgateway, "simple")
    assert require_same_counts(clean_pushgateway, ["ours", "simple"]) == 300

    filled.fill_up(301)
    run(commands.simple_exporter(flower.url, clean_pushgateway.url, job="simple"))
    flower.stop()
    with pytest.raises(BenchError, match="different counts"):
        require_same_counts(clean_pushgateway, ["ours", "simple"])


def test_memory_of_the_benchmark_is_not_measured() -> None:
    ballast = b"x" * (200 * 2**20)
    assert run(["true"]).memory < len(ballast) / 2**20 / 4


def test_failed_command_is_an_error() -> None:
    with pytest.raises(BenchError, match="no such thing"):
        run(["sh", "-c", "echo no such thing; exit 3"])
