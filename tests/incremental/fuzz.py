"""Warm readings against Celery's own memory of events: `python -m tests.incremental.fuzz [--turns N] [--seed N]`.

Each turn sends a burst of events, as odd as they come, and reads; at quiet moments all that is read is compared with a
count of the list as it is. 100,000 turns take about half an hour.
"""

import argparse
import gc
import logging
import math
import random
import re
import sys
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, cast

from push_job import log
from push_job.flower.api import Flower, FlowerError
from push_job.flower.incremental.scraper import TaskScraper
from push_job.flower.table import TaskTable
from push_job.flower.task import wait_of
from push_job.http.client import Client
from push_job.http.errors import TransportError
from tests.fakes.celery_flower import BY_CLOCK, BY_STAMP, CeleryFlower, DirectClient, never
from tests.independent import durations_by_labels

PAGE = 150
NAMES = ("shop.pay", "shop.mail", "shop.report")
ENDS = ("task-succeeded", "task-failed", "task-revoked", "task-retried", "task-rejected", "task-progressed")


@dataclass
class Sender:
    """Who sends events: a worker or a client, with a clock of its own and perhaps a logical clock of its own."""

    name: str
    skew: float = 0.0
    own_clock: int | None = None


@dataclass
class Found:
    """What came of the turns; `could_be` and `warm` are by kind of life."""

    turns: int = 0
    could_be: Counter[str] = field(default_factory=Counter)
    warm: Counter[str] = field(default_factory=Counter)
    faulty: int = 0
    few: int = 0
    wrong: list[str] = field(default_factory=list)
    reasons: Counter[str] = field(default_factory=Counter)


class _Told(logging.Handler):
    """Counts what the log says, and for what reason, numbers and names aside."""

    def __init__(self, reasons: Counter[str]) -> None:
        super().__init__()
        self.reasons = reasons
        self.order = ""

    def emit(self, record: logging.LogRecord) -> None:
        """Count one line."""
        reason = record.__dict__.get("fields", {}).get("reason", "")
        self.reasons[re.sub(r"\d+|celery@\w+", "N", f"{self.order} {record.getMessage()}: {reason}")] += 1


class Life:
    """A Flower's life, made up from a seed: who works, how much, and what goes wrong."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        chance = self.chance
        self.order = chance.choice((BY_STAMP, BY_CLOCK))
        self.room = chance.choice((200, 600, 10_000))
        self.flower = CeleryFlower(self.order, self.room)
        self.clock = 1000
        self.senders = [Sender(f"celery@w{number}") for number in range(chance.randint(1, 6))]
        if chance.random() < 0.5:
            self.senders.append(Sender("celery@slow", -90.0))
        if chance.random() < 0.5:
            self.senders.append(Sender("celery@fast", 90.0))
        self.kind = self.order
        if chance.random() < 0.3:
            self.senders.append(Sender("celery@reborn", 0.0, own_clock=0))
            self.kind += ", a logical clock began again"
        # One that only sends knows no other logical clock, unless it hears of others as a worker does.
        own_clock = chance.choice((None, 0))
        skew = chance.choice((0.0, 0.0, -90.0, 90.0))
        self.client = Sender("gen1@web", skew, own_clock) if chance.random() < 0.4 else None
        self.busy = chance.choice((1, 5, 20))
        self.odd = chance.choice((0.0, 0.0, 0.01, 0.05))
        self.ids: list[str] = []
        self.owner: dict[str, Sender] = {}
        self.named = 0

    def send(self, kind: str, uuid: str, sender: Sender, **fields: Any) -> None:
        """One event, a little after the last one."""
        self.flower.now += self.chance.choice((0.01, 0.3, 2.0))
        if sender.own_clock is None:
            self.clock += 1
            clock = self.clock
        else:
            sender.own_clock += 1
            clock = sender.own_clock
        self.flower.event(kind, uuid, sender.name, self.flower.now + sender.skew, clock, **fields)

    def live(self, events: int) -> None:
        """A burst of about so many events."""
        for _ in range(self.chance.randint(0, 2 * events)):
            self._step()

    def _step(self) -> None:
        chance = self.chance
        if len(self.ids) < 100 or chance.random() < 0.4:
            self._new_task()
            return
        # Mostly young tasks go on, and sometimes old ones.
        young = chance.random() < 0.8
        uuid = chance.choice(self.ids[-30:] if young else self.ids)
        sender = self.owner[uuid] if chance.random() < 0.95 else chance.choice(self.senders)
        kind = chance.choice(("task-started", *ENDS))
        if chance.random() < self.odd:
            kind = chance.choice(("task-sent", "task-received"))
            if kind == "task-sent":
                sender = self.client or Sender("gen9@web")
        name = {"name": _name_of(uuid)} if kind in ("task-sent", "task-received") else {}
        runtime = {"runtime": chance.random()} if kind == "task-succeeded" else {}
        self.send(kind, uuid, sender, **name, **runtime)

    def _new_task(self) -> None:
        chance = self.chance
        self.named += 1
        uuid = f"{chance.getrandbits(32):08x}-{self.named}"
        self.ids = [*self.ids[-2 * self.room :], uuid] if len(self.ids) > 3 * self.room else [*self.ids, uuid]
        sender = self.owner[uuid] = chance.choice(self.senders)
        if self.client and chance.random() < 0.5:
            self.send("task-sent", uuid, self.client, name=_name_of(uuid))
            if chance.random() < 0.3:
                return
        if chance.random() < self.odd:
            self.send("task-started", uuid, sender)
            return
        eta = {"eta": "2023-11-15T00:00:00"} if chance.random() < 0.1 else {}
        self.send("task-received", uuid, sender, name=_name_of(uuid), **eta)


def _name_of(uuid: str) -> str:
    return NAMES[int(uuid[0], 16) % len(NAMES)]


def run(turns: int, seed: int, lives: int) -> Found:
    """So many turns in all, in so many lives."""
    found = Found()
    gc.disable()
    gc.freeze()  # so that a life's own objects alone are looked through
    told = _Told(found.reasons)
    log.logger.addHandler(told)
    log.logger.setLevel(logging.INFO)
    log.logger.propagate = False
    for life in range(lives):
        live(told, found, turns // lives, seed * 1_000_003 + life)
    return found


def live(told: "_Told", found: Found, turns: int, seed: int) -> None:
    """One life."""
    life = Life(seed)
    told.order = life.kind
    chance = life.chance
    client = DirectClient(life.flower)
    flower = Flower(cast(Client, client), (wait_of,))
    reader = TaskScraper(math.inf)
    life.live(500)
    for turn in range(turns):
        fault = chance.random() < 0.02
        found.turns += 1
        found.faulty += fault
        if fault:
            _break(life, client)
        life.live(life.busy if chance.random() < 0.98 else 200)
        moving = chance.random() < 0.2
        life.flower.before_answer = (lambda _path: life.live(3)) if moving else (lambda _path: None)
        if chance.random() < 0.2:
            gc.collect()  # up to Flower 2.0.1 this is when a forgotten task leaves the list
        try:
            reading = reader.read(flower, PAGE, never())
        except FlowerError:
            if not fault:
                found.wrong.append(f"seed {seed} turn {turn}: an error without a fault")
            continue
        finally:
            life.flower.before_answer = lambda _path: None
        few = reading.whole and len(reading.tasks) <= PAGE
        found.few += not fault and few
        found.could_be[life.kind] += not fault and not few
        found.warm[life.kind] += not fault and not reading.whole
        if moving or fault:
            continue
        if reason := difference(life.flower, reading.tasks) or disorder(life.flower, reader):
            found.wrong.append(f"seed {seed} turn {turn} {life.order}: {reason}")
            return


def _break(life: Life, client: DirectClient) -> None:
    """Restart Flower, replace it by another, or let a request fail."""
    chance = life.chance
    kind = chance.choice(("restart", "other room", "break", "break"))
    if kind == "break":

        def refuse(_path: str) -> None:
            if chance.random() < 0.3:
                raise TransportError("it broke off", transient=True)

        life.flower.before_answer = refuse
        return
    room = life.room if kind == "restart" else chance.choice((200, 600))
    now, started = life.flower.now, life.flower.started + 1
    life.flower = client.flower = CeleryFlower(life.order, room, started)
    life.flower.now = now
    life.live(300)


def difference(flower: CeleryFlower, tasks: TaskTable) -> str | None:
    """What is wrong with what was read, by a count of the list as it is."""
    listed = dict(flower.tasks())
    counts, seconds = durations_by_labels(listed.values(), float(int(flower.now)))
    tallies = tasks.tally()
    if counts != Counter({labels: tally.count for labels, tally in tallies.items()}):
        return f"{len(tasks)} tasks of {len(listed)}: {_odd_ones(listed, tasks)}"
    for labels, tally in tallies.items():
        if abs(tally.seconds - seconds[labels]) > 1e-6 * max(1.0, tally.seconds):
            return f"seconds of {labels}: {tally.seconds}, counted {seconds[labels]}: {_odd_ones(listed, tasks)}"
    return None


def disorder(flower: CeleryFlower, reader: TaskScraper) -> str | None:
    """Which tasks are not remembered in the list's order, but for those of which it is not known."""
    memory = reader._memory
    if memory is None or memory.by_stamp:
        return None
    remembered = [task_id for task_id in memory.tasks if task_id not in memory.unplaced]
    listed = [task_id for task_id, _ in flower.tasks() if task_id not in memory.unplaced]
    odd = [pair for pair in zip(remembered, listed, strict=True) if pair[0] != pair[1]]
    return f"the order of {len(odd)}, the first is {odd[0]}" if odd else None


def _odd_ones(listed: dict[str, dict[str, Any]], tasks: TaskTable) -> list[Any]:
    """The tasks that differ: as they were read, and as they are."""
    found = tasks.content()
    return [
        (found.get(uuid), {name: value for name, value in listed.get(uuid, {}).items() if value is not None})
        for uuid in found.keys() | listed.keys()
        if uuid not in found
        or uuid not in listed
        or found[uuid].labels != (listed[uuid]["name"] or "unknown", listed[uuid]["state"])
        or found[uuid].stamp != listed[uuid]["timestamp"]
    ]


def main() -> int:
    """Exit code 1 if a reading was wrong."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.incremental.fuzz", description="Warm readings, by the thousand."
    )
    parser.add_argument("--turns", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    found = run(arguments.turns, arguments.seed, max(1, arguments.turns // 200))
    print(
        f"{found.turns} turns, {found.faulty} with a fault, {found.few} of one page;"
        f" {found.warm.total()} of the other {found.could_be.total()} were warm; {len(found.wrong)} wrong"
    )
    for kind, count in sorted(found.could_be.items()):
        print(f"{found.warm[kind]:>6} warm of {count} {kind}")
    for reason, count in found.reasons.most_common():
        print(f"{count:>6} {reason}")
    for line in found.wrong[:20]:
        print(line)
    return 1 if found.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
