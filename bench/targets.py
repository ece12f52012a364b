"""The ratios that the project wants to reach, and whether a run reaches them."""

from collections.abc import Iterator
from dataclasses import dataclass

from bench import warm
from bench.cost import Cost
from bench.measure import DOWNLOAD, IMPORTS, PUSH_JOB, SIMPLE, WITH_EXTRAS, Results
from bench.writing import PROTOBUF, TEXT

#: How much longer than the bare download a push may take. The newest Flower sorts all of its tasks for each page.
WALL_LIMIT = 2.0
WALL_LIMITS = {"2.0.1": 1.3}


@dataclass(frozen=True)
class Target:
    """One number to reach.

    Attributes:
        what: of a push.
        against: what it is divided by, or the unit of `measured`.
        flower: the version of Flower, or which one else.
        limit: the most that `measured` may be.
    """

    what: str
    against: str
    flower: str
    measured: float
    limit: float

    @property
    def reached(self) -> bool:
        """Whether it is."""
        return self.measured <= self.limit


def targets(results: Results) -> Iterator[Target]:
    """Each target with what was measured."""
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
        yield from _of_extras("all extras", version, results.by_size[version, largest, WITH_EXTRAS], push)
    yield from _of_turns(results)
    small = f"{results.plan.small_tasks} tasks"
    one, many = results.instances[1], results.instances[results.plan.instances]
    alone = results.plan.instances * one.seconds
    yield Target(
        f"wall time, {results.plan.instances} Flowers in one run",
        f"{results.plan.instances} times one",
        small,
        many.seconds / alone,
        1 / 3,
    )
    protobuf, text, types = results.writing[PROTOBUF], results.writing[TEXT], f"{results.plan.types:,} task types"
    yield Target("CPU, writing it", "as text", types, protobuf.cpu / text.cpu, 1.0)
    yield Target("memory, writing it", "as text", types, protobuf.memory / text.memory, 1.0)
    push, imports = results.cold[PUSH_JOB], results.cold[IMPORTS]
    yield Target("wall time, cold start", "importing its libraries", small, push.seconds / imports.seconds, 1.5)
    yield Target("peak memory, cold start", "MiB", small, push.memory, 50)


def _of_turns(results: Results) -> Iterator[Target]:
    """Those of turns that remember."""
    for version in dict.fromkeys(version for version, _ in results.warm.ways):
        ways = {way: cost for (its_version, way), cost in results.warm.ways.items() if its_version == version}
        run, file, cold, simple = ways[warm.RUN], ways[warm.FILE], ways[warm.COLD], ways[warm.SIMPLE]
        other, old = "the simple exporter", version in WALL_LIMITS
        share, stall_share, cold_limit = (1 / 8, 1 / 8, 1.15) if old else (1 / 5, 1 / 6, 1.3)
        of_flower = cold.flower_cpu / ways[warm.DOWNLOAD].flower_cpu
        yield Target("Flower's CPU, a turn of run", other, version, run.flower_cpu / simple.flower_cpu, share)
        yield Target("wall time, a turn of run", other, version, run.seconds / simple.seconds, share)
        yield Target("Flower's longest stall, a turn of run", other, version, run.stall / simple.stall, stall_share)
        yield Target("own CPU, a turn of run", other, version, run.cpu / simple.cpu, 1 / 20)
        yield Target("peak memory, run", other, version, run.memory / simple.memory, 1 / 5)
        yield Target("own CPU, with a memory file", other, version, file.cpu / simple.cpu, 1 / 6)
        yield Target("peak memory, with a memory file", other, version, file.memory / simple.memory, 1 / 5)
        yield from _of_extras("a turn of run, all extras", version, ways[warm.RUN_EXTRAS], run)
        yield from _of_extras("with a memory file, all extras", version, ways[warm.FILE_EXTRAS], file)
        yield Target("Flower's CPU, a cold scan", "the bare download", version, of_flower, cold_limit)


def _of_extras(what: str, version: str, extras: Cost, plain: Cost) -> Iterator[Target]:
    """Those of a way with all extras against the same without."""
    yield Target(f"wall time, {what}", "without extras", version, extras.seconds / plain.seconds, 1.25)
    yield Target(f"own CPU, {what}", "without extras", version, extras.cpu / plain.cpu, 1.25)
    yield Target(f"peak memory, {what}", "without extras", version, extras.memory / plain.memory, 1.25)
