"""Run push-job between faulty connections and check the group after each run.

Several runs are made at a time.
"""

import contextlib
import json
import random
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from urllib.parse import quote

from push_job.flower.incremental.state import COLUMNS
from push_job.flower.incremental.state_file import StateFile
from testbed.services import Flower, Pushgateway, Testbed
from tests.chaos import jobs
from tests.chaos.extras import PREFIXES, without_extras
from tests.chaos.faults import flower_plan, gateway_plan
from tests.chaos.proxy import Proxy
from tests.chaos.truth import CLOCK_SLACK, MOVING, Truth, down_lies, fill_flower, moving_tasks
from tests.chaos.values import SCRAPE_FAMILIES, Values, group_values
from tests.run_loop import PUSH_FAILED

DEADLINES = (2.0, 2.5, 3.0)
TIMEOUTS = (0.7, 1.0, 5.0)
PAGE_SIZES = (50, 100, 300, 10_000)

#: Runs whose number is divisible by this select all extras.
WITH_EXTRAS = 4

#: Runs whose number leaves this rest have a state file, or run the loop.
WITH_STATE, LOOP = 1, 2

#: Seconds between the cycles of the loop, and the number of cycles after which it is stopped.
EVERY = 0.3
CYCLES = 5

#: Probability that a state file is damaged before it is read.
DAMAGE_LIKELIHOOD = 0.2

#: Seconds after its deadline within which a run must have ended.
GRACE = 2.0

#: Seconds after which a run is killed.
PATIENCE = 20.0

TRUTH, DOWN, BEFORE = "the truth", "flower_up 0", "as before"
EXPECTED = {0: (TRUTH,), 1: (DOWN,), 3: (BEFORE, TRUTH, DOWN)}
EXPECTED_OF_LOOP = {0: (BEFORE, TRUTH, DOWN)}

#: The group of an earlier push: old numbers, and a family that no push has any more.
OLD_GROUP = """\
# TYPE flower_up gauge
flower_up 1
# TYPE flower_scrape_tasks gauge
flower_scrape_tasks 7
# TYPE celery_workers gauge
celery_workers{app="celery@old"} 1
# TYPE celery_task_types_by_state gauge
celery_task_types_by_state{task_type="chaos.old",state="SUCCESS"} 7
# TYPE celery_family_of_an_older_version gauge
celery_family_of_an_older_version 1
"""


#: Warnings that may precede the line of a push, without and with extras.
_WARNINGS = ("list moved while read; reading pages again", "reading all tasks in one request")
_WARNINGS_OF_EXTRAS = (*_WARNINGS, "extra failed", "pushed without extras", "left out invalid or clashing families")


@dataclass(frozen=True)
class World:
    """The real servers, the content of Flower, and the state file between runs."""

    flower: Flower
    pushgateway: Pushgateway
    truth: Truth
    state: Path


@dataclass(frozen=True)
class Run:
    """Result of one run.

    Attributes:
        number: number of the run of this seed.
        exit_code: push-job's; negative if it had to be killed.
        group: TRUTH, DOWN, BEFORE, or what is wrong in the group.
        late: seconds after the deadline, negative if it was in time; counted from the first connection.
        seconds: duration from the first connection, without waits for a CPU.
        happened: the faults.
        incremental: whether the last push is of an incremental scrape; None without state.
        command: the command line.
        log: lines of the log.
        record: for a failure, all of this and all transferred bytes.
    """

    number: int
    exit_code: int
    group: str
    late: float
    seconds: float
    happened: list[str]
    incremental: bool | None
    command: str
    log: list[str]
    record: str = field(default="", repr=False)

    @property
    def needlessly_unpushed(self) -> bool:
        """Whether nothing was pushed over a faultless connection to the Pushgateway.

        That can happen on a very busy machine.
        """
        return self.exit_code == 3 and not any(what.startswith("Pushgateway") for what in self.happened)

    def failure(self) -> str | None:
        """Return why the run failed; None if it did not."""
        if self.late > GRACE:
            return f"it ended {self.late:.1f} s past its deadline"
        expected = EXPECTED_OF_LOOP if self.number % WITH_EXTRAS == LOOP else EXPECTED
        if self.exit_code not in expected:
            return f"exit code {self.exit_code}"
        if self.group not in expected[self.exit_code]:
            return f"exit code {self.exit_code}, but the group is neither of {expected[self.exit_code]}: {self.group}"
        if self.number % WITH_EXTRAS in (WITH_STATE, LOOP):
            return None  # these log more than one line
        warnings = _WARNINGS_OF_EXTRAS if "--with" in self.command else _WARNINGS
        lines = [line for line in self.log if not any(f'level=warning msg="{text}' in line for text in warnings)]
        if len(lines) != 1:
            return f"{len(lines)} log lines instead of one"
        return None


@contextmanager
def world() -> Iterator[World]:
    """Start the servers; the moving tasks move until the end."""
    with Testbed() as bed:
        redis = bed.redis()
        flower = bed.flower(redis)
        pushgateway = bed.pushgateway()
        truth = fill_flower(redis, flower)
        with moving_tasks(redis, "movement"), tempfile.TemporaryDirectory() as folder:
            yield World(flower, pushgateway, truth, Path(folder, "state"))


def many_runs(world: World, seed: str, numbers: range, side_by_side: int) -> Iterator[Run]:
    """Do the runs of a seed, several at a time, and yield them in order."""
    with ThreadPoolExecutor(side_by_side) as pool:
        yield from pool.map(lambda number: one_run(world, seed, number), numbers)


def one_run(world: World, seed: str, number: int) -> Run:
    """Run `push-job push` or `run` between two proxies and check its group.

    Every run has a group of its own, which exists before and is deleted afterwards.
    """
    chance = random.Random(f"{seed}/{number}")
    deadline, timeout = chance.choice(DEADLINES), chance.choice(TIMEOUTS)
    to_flower = Proxy(world.flower.port, flower_plan(f"{seed}/{number}/flower"))
    to_gateway = Proxy(world.pushgateway.port, gateway_plan(f"{seed}/{number}/pushgateway"))
    grouping = {"job": "chaos", "instance": f"127.0.0.1:{to_flower.port}", "run": str(number)}
    path = "/".join(quote(part, safe="") for pair in grouping.items() for part in pair)
    group_url = f"{world.pushgateway.url}/metrics/{path}"
    _ask(group_url, "PUT", OLD_GROUP)
    before = _group(world, grouping)
    kind = number % WITH_EXTRAS
    arguments = [
        *(("run", "--every", str(EVERY), "--log-format", "json") if kind == LOOP else ("push",)),
        *("--flower", to_flower.url, "--pushgateway", to_gateway.url),
        *("--job", "chaos", "--grouping", f"run={number}"),
        *("--deadline", str(deadline), "--timeout", str(timeout)),
        *("--page-size", str(chance.choice(PAGE_SIZES))),
    ]
    extras = tuple(PREFIXES) if kind == 0 else ()
    arguments += [part for extra in extras for part in ("--with", extra)]
    with to_flower, to_gateway:
        earliest = time.time()
        if kind == LOOP:
            seconds, exit_code, log = _looped(arguments, to_flower, deadline)
            earliest = _start_of_last_push(log.splitlines(), deadline, earliest)
        elif kind == WITH_STATE:
            with _state_file(world, to_flower.url, random.Random(f"{seed}/{number}/state")) as file:
                seconds, exit_code, log = _timed([*arguments, "--state-file", str(file)], to_flower, deadline)
        else:
            seconds, exit_code, log = _timed(arguments, to_flower, deadline)
        latest = time.time()
    values = _group(world, grouping)
    incremental = _remove_scrape_families(values)
    _ask(group_url, "DELETE")
    run = Run(
        number=number,
        exit_code=exit_code,
        group=_verdict(world.truth, values, before, extras, earliest, latest),
        late=seconds - deadline,
        seconds=seconds,
        happened=[
            *(f"Flower: {what}" for what in to_flower.happened),
            *(f"Pushgateway: {what}" for what in to_gateway.happened),
        ],
        incremental=incremental,
        command=" ".join(["push-job", *arguments]),
        log=log.splitlines(),
    )
    return replace(run, record=_record(run, values, to_flower, to_gateway)) if run.failure() else run


def _record(run: Run, values: Values, to_flower: Proxy, to_gateway: Proxy) -> str:
    """Return all that is known of a run."""
    return "\n".join(
        [
            repr(run),
            "\nThe group:",
            *(f"{name} {dict(sorted(labels))} {value}" for (name, labels), value in sorted(values.items(), key=str)),
            *(
                f"\n{name}, {seconds:.3f} s, {what}:\n{it!r}"
                for name, proxy in (("Flower", to_flower), ("Pushgateway", to_gateway))
                for seconds, what, it in proxy.record
            ),
            "",
        ]
    )


def _timed(arguments: list[str], first: Proxy, deadline: float) -> tuple[float, int, str]:
    """Run push-job; return its seconds, its exit code and its stderr.

    The seconds begin with the first connection to `first`. They do not contain the start of push-job, which is before
    the deadline begins, nor the time in which it was ready to run but had no CPU. Where no first connection can be
    seen, the start is assumed to take as long as that of another process just before.
    """
    start = 0.0 if first.listens_at_once else _seconds_of_a_start()
    with jobs.started(arguments) as job:
        begun = time.monotonic() + start
        if first.listens_at_once:
            first.first_contact.wait(PATIENCE)
            begun = time.monotonic()
        job.wait(deadline + PATIENCE)
        seconds = time.monotonic() - begun - job.seconds_without_cpu()
        job.kill()
        return seconds, job.exit_code, job.log


@contextmanager
def _state_file(world: World, flower_url: str, chance: random.Random) -> Iterator[Path]:
    """Yield a state file for a run, and keep its state afterwards.

    The file has the state of the last run that had one. It may be damaged.
    """
    with tempfile.TemporaryDirectory() as folder:
        file, columns = Path(folder, "state"), COLUMNS
        kept, own = StateFile(world.state, "kept", "kept"), StateFile(file, flower_url, flower_url)
        if (saved := kept.load(columns)).state:
            own.save(saved)
            if chance.random() < DAMAGE_LIKELIHOOD:
                _damage(file, chance)
        yield file
        if (saved := own.load(columns)).state:
            kept.save(saved)


def _damage(file: Path, chance: random.Random) -> None:
    """Cut a file off, or flip a bit of it."""
    content = bytearray(file.read_bytes())
    place = chance.randrange(len(content))
    if chance.random() < 0.5:
        del content[place:]
    else:
        content[place] ^= 1 << chance.randrange(8)
    file.write_bytes(content)


def _looped(arguments: list[str], first: Proxy, deadline: float) -> tuple[float, int, str]:
    """Run some cycles of the loop and stop it; return seconds, exit code and log.

    The seconds are those from the stop until the end of the process, without the time in which it had no CPU.
    """
    with jobs.started(arguments) as job:
        # Before the first connection, the process may not handle signals yet.
        first.first_contact.wait(PATIENCE if first.listens_at_once else 2 * _seconds_of_a_start())
        until = time.monotonic() + 2 * deadline + EVERY * CYCLES
        while time.monotonic() < until and job.log.count('"seconds"') < CYCLES:
            time.sleep(0.05)
        waited = job.seconds_without_cpu()
        job.terminate()
        stopped = time.monotonic()
        job.wait(deadline + PATIENCE)
        seconds = time.monotonic() - stopped - (job.seconds_without_cpu() - waited)
        job.kill()
        return seconds, job.exit_code, job.log


def _start_of_last_push(log: Sequence[str], deadline: float, otherwise: float) -> float:
    """Return a Unix time before the start of the last cycle that pushed."""
    cycles = [line for line in map(json.loads, log) if "seconds" in line and line["msg"] != PUSH_FAILED]
    if not cycles:
        return otherwise
    ended = datetime.fromisoformat(cycles[-1]["ts"].replace("Z", "+00:00")).timestamp()
    return max(otherwise, ended - deadline - CLOCK_SLACK)


def _remove_scrape_families(values: Values) -> bool | None:
    """Remove the families of a scrape with state; return whether it was incremental.

    Return None if the group does not have all of these families.
    """
    found = {name: values.pop((name, frozenset()), None) for name in SCRAPE_FAMILIES}
    return None if None in found.values() else found["flower_scrape_full"] == 0.0


def _seconds_of_a_start() -> float:
    begun = time.monotonic()
    with jobs.started(["--version"]) as job:
        job.wait(PATIENCE)
    return time.monotonic() - begun


def _verdict(
    truth: Truth, values: Values, before: Values, extras: Sequence[str], earliest: float, latest: float
) -> str:
    if values == before:
        return BEFORE
    lies = truth.lies(without_extras(values), earliest, latest) + truth.extras.lies(values, extras, except_type=MOVING)
    if not lies:
        return TRUTH
    if not down_lies(values):
        return DOWN
    return "\n    ".join(["", *lies])


def _group(world: World, grouping: dict[str, str]) -> Values:
    return group_values(world.pushgateway.samples(**grouping), grouping)


def _ask(url: str, method: str, body: str | None = None) -> None:
    request = urllib.request.Request(url, method=method, data=body.encode() if body else None)
    with contextlib.closing(urllib.request.urlopen(request)):
        pass
