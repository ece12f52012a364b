"""What is measured, and how often: everything in turns, in an order that changes, medians of the rounds."""

import compileall
import random
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import push_job
from bench import ways
from bench.cost import Cost, medians, run, run_probed
from bench.pools import QUICK as QUICK_POOLS
from bench.pools import PoolsPlan, PoolsResults, measure_pools
from bench.scene import FilledFlowers, flower_of_many_types, require_same_counts, small_flower
from bench.warm import QUICK as QUICK_WARM
from bench.warm import WarmPlan, WarmResults, measure_warm
from bench.writing import cost_of_writing
from testbed.services import Flower, Pushgateway, Testbed

Key = TypeVar("Key")

PUSH_JOB = "push-job push"
SIMPLE = "simple exporter"
DOWNLOAD = "bare download"
WITH_EXTRAS = "push-job push, all extras"
IMPORTS = "its libraries' import"


@dataclass(frozen=True)
class Plan:
    """How much to measure. `versions` are Flower's, None for the one installed beside this project."""

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
    warm: WarmPlan = field(default_factory=WarmPlan)


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
    warm=QUICK_WARM,
)


@dataclass
class Results:
    """Medians, each by what it is of. A Flower is named by its version."""

    plan: Plan
    by_size: dict[tuple[str, int, str], Cost] = field(default_factory=dict)  # Flower, tasks, way
    by_page_size: dict[tuple[str, int | None], Cost] = field(default_factory=dict)  # Flower, page size or None
    cold: dict[str, Cost] = field(default_factory=dict)  # PUSH_JOB or IMPORTS
    instances: dict[int, Cost] = field(default_factory=dict)  # Flowers in one run
    types: Cost | None = None
    types_scrape_seconds: float = 0.0
    writing: dict[str, Cost] = field(default_factory=dict)  # PROTOBUF or TEXT
    pools: PoolsResults = field(default_factory=PoolsResults)
    warm: WarmResults = field(default_factory=WarmResults)


def measure(plan: Plan) -> Results:
    """Start the services, fill them, measure, stop them.

    Raises:
        BenchError: a measured command failed, or two ways to count do not agree.
    """
    # An installation has its bytecode; a working tree may not, and would compile itself at each start.
    compileall.compile_dir(Path(push_job.__file__).parent, quiet=1)
    results = Results(plan, writing=cost_of_writing(plan.types, plan.rounds))
    with Testbed() as bed:
        pushgateway = bed.pushgateway()
        small = small_flower(bed, plan.small_tasks)
        measure_cold_start(results, small, pushgateway)
        measure_instances(results, small, pushgateway)
        small.stop()
        measure_types(results, bed, pushgateway)
        filled = FilledFlowers(bed, plan.versions)
        for size in plan.sizes:
            say(f"filling {len(filled.flowers)} Flowers with {size:,} tasks")
            filled.fill_up(size)
            measure_ways(results, filled, pushgateway)
        measure_page_sizes(results, filled, pushgateway)
    results.pools = measure_pools(plan.pools, say)
    results.warm = measure_warm(plan.warm, say)
    return results


def measure_ways(results: Results, filled: FilledFlowers, pushgateway: Pushgateway) -> None:
    """Each way to the tasks, on each Flower; at the last size push-job with all extras, too."""
    largest = filled.tasks == results.plan.sizes[-1]
    turns: dict[tuple[str, int, str], Callable[[], Cost]] = {}
    for version, flower in filled.flowers.items():
        commands = {
            PUSH_JOB: ways.push_job([flower.url], pushgateway.url, job=f"push-job-{version}"),
            SIMPLE: ways.simple_exporter(flower.url, pushgateway.url, job=f"simple-{version}"),
            DOWNLOAD: ways.download(flower.url),
        }
        if largest:
            extras = ("--with", ",".join(ways.ALL_EXTRAS))
            commands[WITH_EXTRAS] = ways.push_job([flower.url], pushgateway.url, *extras, job=f"extras-{version}")
        for way, command in commands.items():
            turns[version, filled.tasks, way] = _probed(command, flower)
    results.by_size |= take_turns(f"{filled.tasks:,} tasks", results.plan.rounds, turns)
    for version in filled.flowers:
        require_same_counts(pushgateway, [f"push-job-{version}", f"simple-{version}"])


def measure_page_sizes(results: Results, filled: FilledFlowers, pushgateway: Pushgateway) -> None:
    """push-job with pages of several sizes, at the largest number of tasks."""
    turns = {}
    for version, flower in filled.flowers.items():
        for size in results.plan.page_sizes:
            options = ("--page-size", str(size)) if size else ()
            command = ways.push_job([flower.url], pushgateway.url, *options)
            turns[version, size] = _probed(command, flower)
    results.by_page_size = take_turns("page sizes", results.plan.page_rounds, turns)


def measure_cold_start(results: Results, flower: Flower, pushgateway: Pushgateway) -> None:
    """A push of a small Flower against what importing its libraries takes."""
    turns = {
        PUSH_JOB: _plain(ways.push_job([flower.url], pushgateway.url)),
        IMPORTS: _plain(ways.IMPORTS),
    }
    results.cold = take_turns("cold start", results.plan.cold_rounds, turns)


def measure_instances(results: Results, flower: Flower, pushgateway: Pushgateway) -> None:
    """Many Flowers in one run against one: all loopback addresses lead to the one that listens on each."""
    many = results.plan.instances
    urls = [f"http://127.0.0.{number}:{flower.port}" for number in range(1, many + 1)]
    turns = {count: _plain(ways.push_job(urls[:count], pushgateway.url)) for count in (1, many)}
    results.instances = take_turns(f"{many} Flowers", results.plan.instance_rounds, turns)


def measure_types(results: Results, bed: Testbed, pushgateway: Pushgateway) -> None:
    """A push of as many task types as tasks: seven samples each for the Pushgateway."""
    flower = flower_of_many_types(bed, results.plan.types)
    options = ("--max-task-types", str(2 * results.plan.types))
    turns = {"types": _plain(ways.push_job([flower.url], pushgateway.url, *options, job="types"))}
    results.types = take_turns("many task types", results.plan.types_rounds, turns)["types"]
    for (name, _), value in pushgateway.samples(job="types").items():
        if name == "flower_scrape_duration_seconds":
            results.types_scrape_seconds = value
    flower.stop()


def take_turns(what: str, rounds: int, turns: Mapping[Key, Callable[[], Cost]]) -> dict[Key, Cost]:
    """Take each turn once a round, in an order that is drawn anew for each; the medians.

    In a fixed order, a full garbage collection of Flower's, which comes after so many answered tasks, would fall on
    the same ways in every round and spare the others.
    """
    costs: dict[Key, list[Cost]] = {key: [] for key in turns}
    order = random.Random(rounds)
    for number in range(rounds):
        say(f"{what}: round {number + 1} of {rounds}")
        for key in order.sample(list(turns), len(turns)):
            costs[key].append(turns[key]())
    return {key: medians(of_key) for key, of_key in costs.items()}


def say(line: str) -> None:
    """Tell on stderr what goes on."""
    print(line, file=sys.stderr, flush=True)


def _plain(command: Sequence[str]) -> Callable[[], Cost]:
    return lambda: run(command)


def _probed(command: Sequence[str], flower: Flower) -> Callable[[], Cost]:
    return lambda: run_probed(command, flower)
