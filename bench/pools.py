"""What `--with pools` costs, the one extra that asks the workers: Flower, and each of two real workers."""

from collections.abc import Callable
from dataclasses import dataclass, field
from statistics import median

import psutil

from bench import ways
from bench.cost import Cost, medians, processor_time, run
from bench.scene import flower_version
from testbed.services import Flower, Pushgateway, Testbed, Worker

WITHOUT = "push-job push"
WITH = "push-job push --with pools"


@dataclass(frozen=True)
class PoolsPlan:
    """How much to measure: so many `pushes` of each way a round, for one is too short for the system's clock."""

    versions: tuple[str | None, ...] = (None, "2.0.1")
    workers: int = 2
    rounds: int = 3
    pushes: int = 10


QUICK = PoolsPlan(rounds=1, pushes=2)


@dataclass
class PoolsResults:
    """Medians of one push, by Flower and way; of each worker the seconds of processor time that a push took it."""

    pushes: dict[tuple[str, str], Cost] = field(default_factory=dict)
    of_a_worker: dict[tuple[str, str], float] = field(default_factory=dict)
    answered: dict[str, int] = field(default_factory=dict)  # by Flower: bytes that it answers of each worker


def measure_pools(plan: PoolsPlan, say: Callable[[str], None]) -> PoolsResults:
    """Start the services, measure, stop them."""
    results = PoolsResults()
    with Testbed() as bed:
        pushgateway, redis = bed.pushgateway(), bed.redis()
        workers = [bed.worker(redis, name=f"pools-{number}") for number in range(plan.workers)]
        for version in plan.versions:
            flower = bed.flower(redis, version=version)
            for worker in workers:
                flower.wait_for_worker(worker.node)
            _measure(results, plan, flower, workers, pushgateway, say)
            flower.stop()
    return results


def _measure(
    results: PoolsResults,
    plan: PoolsPlan,
    flower: Flower,
    workers: list[Worker],
    pushgateway: Pushgateway,
    say: Callable[[str], None],
) -> None:
    version = flower_version(flower)
    answer = flower.client.get(f"{flower.url}/api/workers?refresh=1")
    results.answered[version] = len(answer) // len(workers)
    commands = {
        WITHOUT: ways.push_job([flower.url], pushgateway.url, job="pools"),
        WITH: ways.push_job([flower.url], pushgateway.url, "--with", "pools", job="pools"),
    }
    costs: dict[str, list[Cost]] = {way: [] for way in commands}
    shares: dict[str, list[float]] = {way: [] for way in commands}
    for number in range(plan.rounds):
        say(f"pools, Flower {version}: round {number + 1} of {plan.rounds}")
        for way, command in commands.items():
            before = _spent(flower), sum(map(_spent, workers))
            done = medians([run(command) for _ in range(plan.pushes)])
            flowers, of_workers = _spent(flower) - before[0], sum(map(_spent, workers)) - before[1]
            costs[way].append(Cost(done.seconds, done.cpu, done.memory, flower_cpu=flowers / plan.pushes))
            shares[way].append(of_workers / plan.pushes / len(workers))
    for way in commands:
        results.pushes[version, way] = medians(costs[way])
        results.of_a_worker[version, way] = median(shares[way])


def _spent(service: Flower | Worker) -> float:
    """Seconds of processor time so far, of its children too, as a worker's pool is."""
    process = psutil.Process(service.pid)
    return sum(map(processor_time, [process, *process.children(recursive=True)]))
