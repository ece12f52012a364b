"""Target ratios, and whether a measurement reaches them."""

from collections.abc import Iterator
from dataclasses import dataclass

from bench import incremental
from bench.cost import Cost
from bench.encoding import PROTOBUF, TEXT
from bench.measure import DOWNLOAD, IMPORTS, PUSH_JOB, SIMPLE, WITH_EXTRAS, Results

#: Highest ratio of the wall times of a push and a bare download. The newest Flower sorts all tasks for each page.
WALL_LIMIT = 2.0
WALL_LIMITS = {"2.0.1": 1.3}


@dataclass(frozen=True)
class Target:
    """A target for one measured number.

    Attributes:
        what: measured property of a push.
        against: what the number is divided by, or its unit.
        flower: version or description of the Flower.
        measured: measured number.
        limit: highest acceptable number.
    """

    what: str
    against: str
    flower: str
    measured: float
    limit: float

    @property
    def reached(self) -> bool:
        """Return whether the number is within its limit."""
        return self.measured <= self.limit


def targets(results: Results) -> Iterator[Target]:
    """Yield each target with its measured number."""
    smallest, largest = results.plan.sizes[0], results.plan.sizes[-1]
    for version in dict.fromkeys(version for version, _, _ in results.by_size):
        push = results.by_size[version, largest, PUSH_JOB]
        small_push = results.by_size[version, smallest, PUSH_JOB]
        simple = results.by_size[version, largest, SIMPLE]
        download = results.by_size[version, largest, DOWNLOAD]
        wall_limit = WALL_LIMITS.get(version, WALL_LIMIT)
        yield Target("own CPU", "the simple exporter", version, push.cpu / simple.cpu, 1 / 4)
        yield Target("peak memory", "the simple exporter", version, push.memory / simple.memory, 1 / 5)
        yield Target("peak memory", f"its own at {smallest:,} tasks", version, push.memory / small_push.memory, 1.5)
        yield Target("wall time", "the bare download", version, push.seconds / download.seconds, wall_limit)
        yield Target("Flower's longest stall", "the simple exporter", version, push.stall / simple.stall, 1 / 4)
        yield from _extra_targets("all extras", version, results.by_size[version, largest, WITH_EXTRAS], push)
    yield from _incremental_targets(results)
    small = f"{results.plan.small_tasks} tasks"
    one, many = results.instances[1], results.instances[results.plan.instances]
    alone = results.plan.instances * one.seconds
    yield Target(
        f"wall time, {results.plan.instances} Flowers in one run",
        f"{results.plan.instances} runs with one",
        small,
        many.seconds / alone,
        1 / 3,
    )
    protobuf, text, types = results.encoding[PROTOBUF], results.encoding[TEXT], f"{results.plan.types:,} task types"
    yield Target("CPU, encoding", "the text format", types, protobuf.cpu / text.cpu, 1.0)
    yield Target("memory, encoding", "the text format", types, protobuf.memory / text.memory, 1.0)
    push, imports = results.cold[PUSH_JOB], results.cold[IMPORTS]
    yield Target("wall time, cold start", "importing its libraries", small, push.seconds / imports.seconds, 1.5)
    yield Target("peak memory, cold start", "MiB", small, push.memory, 50)


def _incremental_targets(results: Results) -> Iterator[Target]:
    """Yield the targets of incremental scrapes."""
    for version in dict.fromkeys(version for version, _ in results.incremental.by_command):
        costs = {
            name: cost for (its_version, name), cost in results.incremental.by_command.items() if its_version == version
        }
        run, file, full = costs[incremental.CYCLE], costs[incremental.STATE_FILE], costs[incremental.FULL]
        simple = costs[incremental.SIMPLE]
        other, old = "the simple exporter", version in WALL_LIMITS
        share, stall_share, full_limit = (1 / 8, 1 / 8, 1.15) if old else (1 / 5, 1 / 6, 1.3)
        flower_ratio = full.flower_cpu / costs[incremental.DOWNLOAD].flower_cpu
        yield Target("Flower's CPU, a cycle of run", other, version, run.flower_cpu / simple.flower_cpu, share)
        yield Target("wall time, a cycle of run", other, version, run.seconds / simple.seconds, share)
        yield Target("Flower's longest stall, a cycle of run", other, version, run.stall / simple.stall, stall_share)
        yield Target("own CPU, a cycle of run", other, version, run.cpu / simple.cpu, 1 / 20)
        yield Target("peak memory, run", other, version, run.memory / simple.memory, 1 / 5)
        yield Target("own CPU, push with a state file", other, version, file.cpu / simple.cpu, 1 / 6)
        yield Target("peak memory, push with a state file", other, version, file.memory / simple.memory, 1 / 5)
        yield from _extra_targets("a cycle of run, all extras", version, costs[incremental.CYCLE_EXTRAS], run)
        yield from _extra_targets(
            "push with a state file, all extras", version, costs[incremental.STATE_FILE_EXTRAS], file
        )
        yield Target("Flower's CPU, a full scrape", "the bare download", version, flower_ratio, full_limit)


def _extra_targets(what: str, version: str, extras: Cost, plain: Cost) -> Iterator[Target]:
    """Yield the targets of a command with all extras, against the same without extras."""
    yield Target(f"wall time, {what}", "without extras", version, extras.seconds / plain.seconds, 1.25)
    yield Target(f"own CPU, {what}", "without extras", version, extras.cpu / plain.cpu, 1.25)
    yield Target(f"peak memory, {what}", "without extras", version, extras.memory / plain.memory, 1.25)
