"""Run rounds of all commands in random order, and take the medians."""

import compileall
import random
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import push_job
from bench import commands
from bench.cost import Cost, medians, run, run_probed
from bench.encoding import cost_of_encoding
from bench.flowers import FilledFlowers, flower_of_many_types, require_same_counts, small_flower
from bench.hard_cases import QUICK as QUICK_HARD_CASES
from bench.hard_cases import HardCasesPlan, HardCasesResults, measure_hard_cases
from bench.incremental import QUICK as QUICK_INCREMENTAL
from bench.incremental import IncrementalPlan, IncrementalResults, measure_incremental
from bench.pools import QUICK as QUICK_POOLS
from bench.pools import PoolsPlan, PoolsResults, measure_pools
from testbed.services import Flower, Pushgateway, Testbed

Key = TypeVar("Key")

PUSH_JOB = "push-job push"
SIMPLE = "simple exporter"
DOWNLOAD = "bare download"
WITH_EXTRAS = "push-job push, all extras"
IMPORTS = "its libraries' import"


@dataclass(frozen=True)
class Plan:
    """Extent of the measurements; None in `versions` is the installed Flower."""

    versions: tuple[str | None, ...] = (None, "2.0.1")
    sizes: tuple[int, ...] = (1_000, 10_000, 100_000)
    rounds: int = 9
    page_sizes: tuple[int | None, ...] = (5_100, 12_600, 29_300, 50_100, None)
    page_rounds: int = 5
    small_tasks: int = 100
    cold_rounds: int = 15
    instances: int = 200
    instance_rounds: int = 3
    types: int = 10_000
    types_rounds: int = 3
    pools: PoolsPlan = field(default_factory=PoolsPlan)
    incremental: IncrementalPlan = field(default_factory=IncrementalPlan)
    hard_cases: HardCasesPlan = field(default_factory=HardCasesPlan)


QUICK = Plan(
    sizes=(100, 2_000),
    rounds=2,
    page_sizes=(500, None),
    page_rounds=1,
    cold_rounds=3,
    instances=20,
    instance_rounds=1,
    types=500,
    types_rounds=1,
    pools=QUICK_POOLS,
    incremental=QUICK_INCREMENTAL,
    hard_cases=QUICK_HARD_CASES,
)


@dataclass
class Results:
    """Medians by measured item. A Flower is named by its version."""

    plan: Plan
    by_size: dict[tuple[str, int, str], Cost] = field(default_factory=dict)  # Flower, tasks, command
    by_page_size: dict[tuple[str, int | None], Cost] = field(default_factory=dict)  # Flower, page size or None
    cold: dict[str, Cost] = field(default_factory=dict)  # PUSH_JOB or IMPORTS
    instances: dict[int, Cost] = field(default_factory=dict)  # Flowers in one run
    types: Cost | None = None
    next_to_types: Cost | None = None
    types_scrape_seconds: float = 0.0
    encoding: dict[str, Cost] = field(default_factory=dict)  # PROTOBUF or TEXT
    pools: PoolsResults = field(default_factory=PoolsResults)
    incremental: IncrementalResults = field(default_factory=IncrementalResults)
    hard_cases: HardCasesResults = field(default_factory=dict)


def measure(plan: Plan) -> Results:
    """Start the services, fill them, measure and stop them.

    Raises:
        BenchError: A measured command failed, or two commands pushed different counts.
    """
    # Compile the working tree, so that the measured commands find bytecode, as in an installation.
    compileall.compile_dir(Path(push_job.__file__).parent, quiet=1)
    results = Results(plan, encoding=cost_of_encoding(plan.types, plan.rounds))
    with Testbed() as bed:
        # Each part has a Pushgateway of its own, because the first push of a process reads all its metrics back.
        small = small_flower(bed, plan.small_tasks)
        measure_cold_start(results, small, bed.pushgateway())
        measure_instances(results, small, bed.pushgateway())
        measure_types(results, bed, small, bed.pushgateway())
        small.stop()
        pushgateway = bed.pushgateway()
        filled = FilledFlowers(bed, plan.versions)
        for size in plan.sizes:
            log(f"filling {len(filled.flowers)} Flowers with {size:,} tasks")
            filled.fill_up(size)
            measure_commands(results, filled, pushgateway)
        measure_page_sizes(results, filled, pushgateway)
    results.pools = measure_pools(plan.pools, log)
    results.incremental = measure_incremental(plan.incremental, log)
    results.hard_cases = measure_hard_cases(plan.hard_cases, log)
    return results


def measure_commands(results: Results, filled: FilledFlowers, pushgateway: Pushgateway) -> None:
    """Measure each command on each Flower."""
    largest = filled.tasks == results.plan.sizes[-1]
    runs: dict[tuple[str, int, str], Callable[[], Cost]] = {}
    for version, flower in filled.flowers.items():
        by_name = {
            PUSH_JOB: commands.push_job([flower.url], pushgateway.url, job=f"push-job-{version}"),
            SIMPLE: commands.simple_exporter(flower.url, pushgateway.url, job=f"simple-{version}"),
            DOWNLOAD: commands.download(flower.url),
        }
        if largest:
            extras = ("--with", ",".join(commands.ALL_EXTRAS))
            by_name[WITH_EXTRAS] = commands.push_job([flower.url], pushgateway.url, *extras, job=f"extras-{version}")
        for name, command in by_name.items():
            runs[version, filled.tasks, name] = _probed(command, flower)
    results.by_size |= run_rounds(f"{filled.tasks:,} tasks", results.plan.rounds, runs)
    for version in filled.flowers:
        require_same_counts(pushgateway, [f"push-job-{version}", f"simple-{version}"])


def measure_page_sizes(results: Results, filled: FilledFlowers, pushgateway: Pushgateway) -> None:
    """Measure push-job with several page sizes, with the largest number of tasks."""
    runs = {}
    for version, flower in filled.flowers.items():
        for size in results.plan.page_sizes:
            options = ("--page-size", str(size)) if size else ()
            command = commands.push_job([flower.url], pushgateway.url, *options)
            runs[version, size] = _probed(command, flower)
    results.by_page_size = run_rounds("page sizes", results.plan.page_rounds, runs)


def measure_cold_start(results: Results, flower: Flower, pushgateway: Pushgateway) -> None:
    """Measure a push of a small Flower, and the import of its libraries."""
    runs = {
        PUSH_JOB: _plain(commands.push_job([flower.url], pushgateway.url)),
        IMPORTS: _plain(commands.IMPORTS),
    }
    results.cold = run_rounds("cold start", results.plan.cold_rounds, runs)


def measure_instances(results: Results, flower: Flower, pushgateway: Pushgateway) -> None:
    """Measure one run with many Flowers and one run with one."""
    many = results.plan.instances
    urls = [f"http://127.0.0.{number}:{flower.port}" for number in range(1, many + 1)]
    runs = {count: _plain(commands.push_job(urls[:count], pushgateway.url)) for count in (1, many)}
    results.instances = run_rounds(f"{many} Flowers", results.plan.instance_rounds, runs)


def measure_types(results: Results, bed: Testbed, small: Flower, pushgateway: Pushgateway) -> None:
    """Measure a push in which each task has its own type.

    There are seven samples per type. A small push next to it is measured too.
    """
    flower = flower_of_many_types(bed, results.plan.types)
    options = ("--max-task-types", str(2 * results.plan.types))
    runs = {"types": _plain(commands.push_job([flower.url], pushgateway.url, *options, job="types"))}
    results.types = run_rounds("many task types", results.plan.types_rounds, runs)["types"]
    for (name, _), value in pushgateway.samples(job="types").items():
        if name == "flower_scrape_duration_seconds":
            results.types_scrape_seconds = value
    next_to = {"small": _plain(commands.push_job([small.url], pushgateway.url))}
    results.next_to_types = run_rounds("a push next to many types", results.plan.types_rounds, next_to)["small"]
    flower.stop()


def run_rounds(what: str, rounds: int, runs: Mapping[Key, Callable[[], Cost]]) -> dict[Key, Cost]:
    """Run everything once per round, in a random order, and return the medians.

    Flower's full garbage collection occurs after a certain number of answered tasks. In a fixed order it would affect
    the same commands in every round.
    """
    costs: dict[Key, list[Cost]] = {key: [] for key in runs}
    order = random.Random(rounds)
    for number in range(rounds):
        log(f"{what}: round {number + 1} of {rounds}")
        for key in order.sample(list(runs), len(runs)):
            costs[key].append(runs[key]())
    return {key: medians(values) for key, values in costs.items()}


def log(line: str) -> None:
    """Print progress on stderr."""
    print(line, file=sys.stderr, flush=True)


def _plain(command: Sequence[str]) -> Callable[[], Cost]:
    return lambda: run(command)


def _probed(command: Sequence[str], flower: Flower) -> Callable[[], Cost]:
    return lambda: run_probed(command, flower)
