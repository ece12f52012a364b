"""Measure the cost of `--with pools` for Flower and real workers."""

from collections.abc import Callable
from dataclasses import dataclass, field
from statistics import median

import psutil

from bench import commands
from bench.cost import Cost, medians, processor_time, run
from bench.flowers import flower_version
from testbed.services import Flower, Pushgateway, Testbed, Worker

WITHOUT = "push-job push"
WITH = "push-job push --with pools"


@dataclass(frozen=True)
class PoolsPlan:
    """Extent; a round has several `pushes`, because one is too short to measure."""

    versions: tuple[str | None, ...] = (None, "2.0.1")
    workers: int = 2
    rounds: int = 3
    pushes: int = 10


QUICK = PoolsPlan(rounds=1, pushes=2)


@dataclass
class PoolsResults:
    """Medians per push by Flower and command, and CPU seconds per worker."""

    pushes: dict[tuple[str, str], Cost] = field(default_factory=dict)
    worker_cpu: dict[tuple[str, str], float] = field(default_factory=dict)
    answer_bytes: dict[str, int] = field(default_factory=dict)  # bytes per worker in the answer, by Flower


def measure_pools(plan: PoolsPlan, log: Callable[[str], None]) -> PoolsResults:
    """Start the services, measure and stop them."""
    results = PoolsResults()
    with Testbed() as bed:
        pushgateway, redis = bed.pushgateway(), bed.redis()
        workers = [bed.worker(redis, name=f"pools-{number}") for number in range(plan.workers)]
        for version in plan.versions:
            flower = bed.flower(redis, version=version)
            for worker in workers:
                flower.wait_for_worker(worker.node)
            _measure(results, plan, flower, workers, pushgateway, log)
            flower.stop()
    return results


def _measure(
    results: PoolsResults,
    plan: PoolsPlan,
    flower: Flower,
    workers: list[Worker],
    pushgateway: Pushgateway,
    log: Callable[[str], None],
) -> None:
    version = flower_version(flower)
    answer = flower.client.get(f"{flower.url}/api/workers?refresh=1")
    results.answer_bytes[version] = len(answer) // len(workers)
    by_name = {
        WITHOUT: commands.push_job([flower.url], pushgateway.url, job="pools"),
        WITH: commands.push_job([flower.url], pushgateway.url, "--with", "pools", job="pools"),
    }
    costs: dict[str, list[Cost]] = {name: [] for name in by_name}
    shares: dict[str, list[float]] = {name: [] for name in by_name}
    for number in range(plan.rounds):
        log(f"pools, Flower {version}: round {number + 1} of {plan.rounds}")
        for name, command in by_name.items():
            before = _spent(flower), sum(map(_spent, workers))
            done = medians([run(command) for _ in range(plan.pushes)])
            flowers, of_workers = _spent(flower) - before[0], sum(map(_spent, workers)) - before[1]
            costs[name].append(Cost(done.seconds, done.cpu, done.memory, flower_cpu=flowers / plan.pushes))
            shares[name].append(of_workers / plan.pushes / len(workers))
    for name in by_name:
        results.pushes[version, name] = medians(costs[name])
        results.worker_cpu[version, name] = median(shares[name])


def _spent(service: Flower | Worker) -> float:
    """Return the CPU time of a service and its children so far, in seconds."""
    process = psutil.Process(service.pid)
    return sum(map(processor_time, [process, *process.children(recursive=True)]))
