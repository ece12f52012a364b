"""What `push-job explain` makes of hostile data and of a lot of it: a screen of safe lines, in one order."""

import dataclasses
import json
import random
import time
from collections import Counter
from typing import Any

import pytest

from push_job.explain.asking import Asking, Consumers, FoundTask, Worker
from push_job.explain.case import Case, Level
from push_job.explain.diagnosis import Diagnosis
from push_job.explain.facts import Facts
from push_job.explain.findings import findings_of
from push_job.explain.printing import as_json, as_text
from push_job.flower.tasks_by_kind import Tally
from push_job.settings import Endpoint
from push_job.terminal.formatting import moment_words, name_words, time_words
from testbed.command import PushJob
from tests.fakes.http import Script, ScriptedServer, json_answer, status_answer

NOW = 1_795_564_800.0  # at midnight

STATES = ("SUCCESS", "FAILURE")

HOSTILE = ("\x1b[31mred", "line\nline", "\u202eto the left", "\u2028", "x" * 200, "{{ $a }}", "é" * 70, "\x00", "🛒")


class Answers(Asking):
    """Stands for a Flower that holds one task of whatever is asked for."""

    def __init__(self, task_id: str) -> None:
        self.task_id = task_id
        self.unanswered = {}
        self._questions = 0

    def _task(self, state: str, name: str = "shop.a", worker: str = "") -> FoundTask:
        return FoundTask(self.task_id, name, state, worker, "\x1b[2Jkey", NOW - 9000)

    def held_by(self, worker: str) -> list[FoundTask]:
        return [self._task("STARTED", worker=worker)]

    def oldest(self, state: str, count: int, name: str | None = None) -> list[FoundTask]:
        del count
        return [self._task(state, name or "shop.a")]

    def newest(self, state: str, name: str) -> FoundTask | None:
        return self._task(state, name)

    def earliest(self, count: int) -> float | None:
        del count
        return NOW - 9000

    def consumers(self, alive: set[str]) -> Consumers:
        return Consumers(answered=alive, queues=Counter({"celery": 1}), keys={"celery"})


def hostile_facts(names: list[str]) -> Facts:
    """Everything is wrong with everything of these names."""
    return Facts(
        workers={**dict.fromkeys(names, False), "celery@alive": True},
        tallies={(name, state): Tally(9, 4.5) for name in names for state in ("STARTED", "FAILURE", "SUCCESS")},
        task_count=1000,
        oldest={(name, state): 9000.0 for name in names for state in ("STARTED", "RECEIVED", "PENDING", "RETRY")},
        failures={name: Counter({f"E{name}": 5, "Error": 5}) for name in names},
        last_success=dict.fromkeys(names, NOW - 9000),
        last_failure=dict.fromkeys(names, NOW - 9),
        interval=dict.fromkeys(names, 60.0),
        waiting=dict.fromkeys(names, 7.0),
    )


def diagnosed(names: list[str], url: str = "http://flower:5555/ops", task_id: str = "../?a=1#\x1b") -> Diagnosis:
    listed = {name: Worker(NOW - 60, 1.0, 1.0) for name in names}
    case = Case(url, hostile_facts(names), Answers(task_id), listed, NOW, NOW, NOW - 86_400)
    flower = Endpoint.parse(url, "", {"username": "ops", "password": "s3cr3t"})
    return Diagnosis(flower, case.facts, findings_of(case))


@pytest.mark.parametrize("width", [40, 80, 100, 300])
@pytest.mark.parametrize("flowers", [1, 3])
def test_whatever_is_wrong_it_is_a_screen_of_safe_lines(
    width: int, flowers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    found = [diagnosed(list(HOSTILE), f"http://flower-{number}:5555/ops") for number in range(flowers)]
    lines = as_text(found, in_unicode=True).replace("\x1b[1m", "").replace("\x1b[31m✗\x1b[0m", "✗")
    lines = lines.replace("\x1b[0m", "")
    assert all(sign.isprintable() or sign == "\n" for sign in lines)
    assert sum(-(-len(line) // width) for line in lines.splitlines()) <= 24
    total = sum(len(diagnosis.findings) for diagnosis in found)
    shown = sum(line.startswith(("✗ ", "x ")) for line in lines.splitlines())
    assert shown >= 1
    assert lines.splitlines()[-1] == f"and {total - shown:,} more: --format json has them all"
    assert "s3cr3t" not in lines


def test_each_kind_is_found_and_the_worst_comes_first() -> None:
    kinds = [finding.kind for finding in diagnosed(list(HOSTILE)).findings]
    order = ["worker-gone", "no-consumer", "stuck", "waiting", "failing", "overdue", "flower-full"]
    assert [kind for place, kind in enumerate(kinds) if kind not in kinds[:place]] == [
        kind for kind in order if kind in kinds
    ]
    assert {"worker-gone", "no-consumer", "stuck", "failing", "flower-full"} <= set(kinds)


def test_the_order_of_what_flower_says_changes_nothing() -> None:
    shuffled = list(HOSTILE)
    random.Random(1).shuffle(shuffled)
    assert as_json([diagnosed(shuffled)]) == as_json([diagnosed(list(HOSTILE))])


def test_a_link_keeps_the_prefix_and_quotes_the_id_and_one_without_end_has_none() -> None:
    links = {finding.link for finding in diagnosed(["shop.a"]).findings if finding.kind == "stuck"}
    assert links == {"http://flower:5555/ops/task/..%2F%3Fa%3D1%23%1B"}
    assert all(finding.link is None for finding in diagnosed(["shop.a"], task_id="x" * 201).findings)


def test_json_has_every_finding_with_its_level_and_no_secret() -> None:
    diagnosis = diagnosed([f"shop.{number}" for number in range(50)])
    report = json.loads(as_json([diagnosis]))
    assert report["well"] is False
    assert len(report["flowers"][0]["findings"]) == len(diagnosis.findings) > 50
    assert {finding["level"] for finding in report["flowers"][0]["findings"]} == {"wrong", "note"}
    assert "s3cr3t" not in str(report)


def test_of_a_kind_only_the_first_few_are_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "300")
    text = as_text([diagnosed([f"shop.{number}" for number in range(50)])], in_unicode=False)
    assert sum("went silent" in line for line in text.splitlines()) == 3


def test_all_is_well_is_said_of_what_is_well() -> None:
    facts = Facts({"celery@a": True}, {("shop.a", "SUCCESS"): Tally(3, 1.0)}, 3, {}, {}, {}, {}, {}, {"celery": 0.0})
    case = Case("http://f:1", facts, Answers("a"), {}, NOW, NOW, NOW - 86_400)
    assert findings_of(case) == []
    flower = Endpoint("http://f:1")
    assert "all is well (1 live worker, 3 tasks)" in as_text([Diagnosis(flower, facts, [])], in_unicode=True)
    assert json.loads(as_json([Diagnosis(flower, facts, [])]))["well"] is True


class Unsure(Answers):
    """Its workers say what `told` is of which queues they consume."""

    def __init__(self, told: Consumers) -> None:
        super().__init__("a")
        self.told = told

    def consumers(self, alive: set[str]) -> Consumers:
        del alive
        return self.told


@pytest.mark.parametrize("told", [Consumers(), Consumers(answered={"celery@a"}, queues=Counter({"q": 1}))])
def test_a_queue_is_without_consumer_only_if_every_live_worker_has_said_what_it_consumes(told: Consumers) -> None:
    workers = {"celery@a": True, "celery@busy": True}
    facts = Facts(workers, {("shop.a", "PENDING"): Tally(1, 9.0)}, 1, {}, {}, {}, {}, {}, {"night": 3.0})
    case = Case("http://f:1", facts, Unsure(told), {}, NOW, NOW, NOW - 86_400)
    assert [(finding.kind, finding.level) for finding in findings_of(case)] == [("not-answered", Level.UNSURE)]
    told.answered |= workers.keys()
    assert {finding.kind for finding in findings_of(case)} == {"no-consumer"}


def test_a_routing_key_is_not_compared_where_an_exchange_takes_patterns() -> None:
    facts = Facts(
        {"celery@a": True},
        {("shop.a", "PENDING"): Tally(1, 90.0)},
        1,
        {("shop.a", "PENDING"): 90.0},
        {},
        {},
        {},
        {},
        {},
    )
    topic = Consumers(answered={"celery@a"}, queues=Counter({"q": 1}), keys={"shop.#"}, any_key=True)
    case = Case("http://f:1", facts, Unsure(topic), {}, NOW, NOW, NOW - 86_400)
    assert findings_of(case) == []
    topic.any_key = False
    assert [finding.subject for finding in findings_of(case)] == ["\x1b[2Jkey"]


def test_a_type_that_failed_long_ago_and_succeeds_since_is_no_trouble() -> None:
    facts = hostile_facts(["shop.a"])
    facts.last_failure["shop.a"], facts.last_success["shop.a"] = NOW - 9000, NOW - 5
    case = Case("http://f:1", facts, Answers("a"), {}, NOW, NOW, NOW - 86_400)
    assert [finding for finding in findings_of(case) if finding.kind == "failing"] == []


def test_what_came_while_the_tasks_were_read_is_not_taken_for_overdue() -> None:
    facts = Facts({"celery@a": True}, {}, 3, {}, {}, {"shop.a": NOW - 200}, {}, {"shop.a": 60.0}, {})
    read_for_long = Case("http://f:1", facts, Answers("a"), {}, NOW, NOW - 30, NOW - 86_400)
    assert findings_of(read_for_long) == []
    at_once = Case("http://f:1", facts, Answers("a"), {}, NOW, NOW, NOW - 86_400)
    assert [(finding.kind, finding.level) for finding in findings_of(at_once)] == [("overdue", Level.WRONG)]


def facts_with(
    tallies: dict[tuple[str, str], Tally],
    oldest: dict[tuple[str, str], float] | None = None,
    waiting: float = 0.0,
    **more: Any,
) -> Facts:
    """What a Flower says that sees one worker."""
    empty: dict[str, Any] = {"failures": {}, "last_success": {}, "last_failure": {}, "interval": {}}
    queued = {"celery": waiting}
    return Facts({"celery@a": True}, tallies, 100, oldest=oldest or {}, waiting=queued, **{**empty, **more})


SLOW = {("shop.a", "SUCCESS"): Tally(3, 3000.0), ("shop.a", "STARTED"): Tally(1, 3700.0)}
FEW_OF_MANY = [f"shop.{number}" for number in range(20)]
LAST_BEAT = {"shop.a": NOW - 400}


@pytest.mark.parametrize(
    ("facts", "active", "finding"),
    [
        (facts_with(SLOW, {("shop.a", "STARTED"): 3700.0}), 1, ("stuck", Level.UNSURE)),
        (facts_with(SLOW, {("shop.a", "STARTED"): 3500.0}), 1, None),
        (facts_with(SLOW, {("shop.a", "STARTED"): 10_100.0}), 1, ("stuck", Level.WRONG)),
        (
            facts_with(
                {(name, state): Tally(1 + 3 * (state == "SUCCESS"), 1.0) for name in FEW_OF_MANY for state in STATES},
                failures={name: Counter({"KeyError": 1}) for name in FEW_OF_MANY},
                last_failure=dict.fromkeys(FEW_OF_MANY, NOW - 9),
            ),
            1,
            ("failing", Level.WRONG),
        ),
        (facts_with({}, last_success=LAST_BEAT, interval={"shop.a": 59.98}), 1, ("overdue", Level.WRONG)),
        (facts_with({}, last_success=LAST_BEAT, interval={"shop.a": 30.0}), 1, ("overdue", Level.UNSURE)),
        (facts_with({}, last_success=LAST_BEAT, interval={"shop.a": 140.0}), 1, None),
        (facts_with({}, waiting=7.0), 19, ("workers-full", Level.UNSURE)),
        (facts_with({}, {("shop.a", "RECEIVED"): 301.0}, waiting=7.0), 19, ("workers-full", Level.WRONG)),
        (facts_with({}, waiting=7.0), 18, None),
        (facts_with({}, waiting=7.0), 0, ("workers-idle", Level.UNSURE)),
        (facts_with({}), 0, None),
    ],
)
def test_what_makes_an_alert_fire_is_told_though_not_always_as_wrong(
    facts: Facts, active: int, finding: tuple[str, Level] | None
) -> None:
    asked = Unsure(Consumers({"celery@a"}, Counter({"celery": 1}), any_key=True, processes={"celery@a": 20.0}))
    case = Case("http://f:1", facts, asked, {"celery@a": Worker(NOW, 1.0, active)}, NOW, NOW, NOW - 86_400)
    found = [(found.kind, found.level) for found in findings_of(case)]
    assert found == ([finding] if finding else [])


def test_failures_of_single_types_are_told_instead_of_those_of_all() -> None:
    failed = {(name, "FAILURE"): Tally(3, 0.0) for name in FEW_OF_MANY}
    facts = facts_with(failed, failures={name: Counter({"KeyError": 3}) for name in FEW_OF_MANY})
    case = Case("http://f:1", facts, Answers("a"), {}, NOW, NOW, NOW - 86_400)
    assert {finding.subject for finding in findings_of(case)} == set(FEW_OF_MANY)


@pytest.mark.parametrize(
    ("daily", "words"),
    [(NOW - 3600, "likely Celery beat has stopped"), (NOW - 30, "other periodic tasks still come")],
    ids=["came before beat stopped", "came since"],
)
def test_what_is_not_due_yet_does_not_speak_for_beat(daily: float, words: str) -> None:
    last = {"shop.minutely": NOW - 400, "shop.daily": daily}
    facts = facts_with({}, last_success=last, interval={"shop.minutely": 60.0, "shop.daily": 86_400.0})
    case = Case("http://f:1", facts, Answers("a"), {}, NOW, NOW, NOW - 86_400)
    [finding] = findings_of(case)
    assert finding.subject == "shop.minutely"
    assert words in finding.likely


class Asked(Answers):
    """Answers with tasks of `found`."""

    def __init__(self, *found: FoundTask) -> None:
        super().__init__("a")
        self.found = found

    def held_by(self, worker: str) -> list[FoundTask]:
        return [task for task in self.found if task.worker == worker and task.state in ("STARTED", "RECEIVED")]

    def newest(self, state: str, name: str) -> FoundTask | None:
        return next((task for task in self.found if (task.state, task.name) == (state, name)), None)

    def oldest(self, state: str, count: int, name: str | None = None) -> list[FoundTask]:
        del count
        return [task for task in self.found if task.state == state and name in (None, task.name)]

    def earliest(self, count: int) -> float | None:
        del count
        return None


def task(state: str, since: float, worker: str = "celery@a", name: str = "shop.a") -> FoundTask:
    return FoundTask(f"{state}-{since}", name, state, worker, "celery", since)


def case_of(facts: Facts, asked: Asking, listed: dict[str, Worker] | None = None) -> Case:
    return Case("http://f:1", facts, asked, listed or {}, NOW, NOW, NOW - 86_400)


@pytest.mark.parametrize(
    ("state", "words"),
    [
        ("STARTED", "likely it takes longer than it did"),
        ("RECEIVED", "likely its worker is busy with something long"),
        ("PENDING", "no worker has fetched it"),
        ("REVOKED", "likely it expires before a worker takes it"),
    ],
)
def test_a_type_that_is_overdue_and_still_comes_is_not_laid_to_beat(state: str, words: str) -> None:
    facts = facts_with({("shop.a", state): Tally(1, 30.0)}, last_success=LAST_BEAT, interval={"shop.a": 60.0})
    newest = task(state, NOW - 30)
    [finding] = findings_of(case_of(facts, Asked(newest)))
    assert (finding.kind, finding.level) == ("overdue", Level.WRONG)
    assert f"still comes, but last succeeded 7 minutes ago; the newest one is {state}" in finding.fact
    assert words in finding.likely
    assert "beat" not in f"{finding.likely} {finding.do}"
    assert finding.link == f"http://f:1/task/{newest.id}"
    # One of before the last success says nothing, nor does one that is to come.
    for since in (NOW - 500, NOW + 900):
        [finding] = findings_of(case_of(facts, Asked(task(state, since))))
        assert "beat has stopped" in finding.likely


def test_a_task_that_was_lost_before_the_last_success_does_not_hide_that_its_type_is_overdue() -> None:
    kinds = {("shop.a", "STARTED"): Tally(1, 0.0), ("shop.a", "SUCCESS"): Tally(9, 9.0)}
    facts = facts_with(kinds, {("shop.a", "STARTED"): 40_000.0}, last_success=LAST_BEAT, interval={"shop.a": 60.0})
    lost = Asked(task("STARTED", NOW - 40_000))
    assert [finding.kind for finding in findings_of(case_of(facts, lost))] == ["stuck", "overdue"]
    facts.workers["celery@gone"] = False
    held = Asked(task("STARTED", NOW - 40_000, "celery@gone"))
    found = findings_of(case_of(facts, held, {"celery@gone": Worker(NOW - 9000, 1.0, 0.0)}))
    assert [finding.kind for finding in found] == ["worker-gone", "overdue"]
    # It does hide it where the type waits for just that task.
    facts.last_success["shop.a"] = NOW - 40_100
    assert [finding.kind for finding in findings_of(case_of(facts, lost))] == ["stuck"]


@pytest.mark.parametrize(
    ("beats", "held", "level"), [(4, 0, "wrong"), (4, 1, "wrong"), (1, 0, "note"), (1, 1, "unsure")]
)
def test_a_worker_that_may_have_been_stopped_in_order_is_not_called_killed(beats: int, held: int, level: str) -> None:
    facts = facts_with({})
    facts.workers["celery@gone"] = False
    found = [task("STARTED", NOW - 20, "celery@gone")] * held
    [finding] = findings_of(case_of(facts, Asked(*found), {"celery@gone": Worker(NOW - 9, 1.0, 0.0, beats)}))
    assert (finding.kind, finding.level.value) == ("worker-gone", level)
    assert ("likely it was killed" in finding.likely) == (level == "wrong")
    assert ("warm shutdown" in finding.likely) == (level == "unsure")


def test_what_waits_at_a_worker_that_is_gone_is_not_said_to_be_at_a_busy_one() -> None:
    facts = facts_with({("shop.a", "RECEIVED"): Tally(1, 0.0)}, {("shop.a", "RECEIVED"): 400.0})
    facts.workers.update({f"celery@gone-{number}": False for number in range(9)})
    asked = Asked(task("RECEIVED", NOW - 400, "celery@gone-8"))
    [finding] = findings_of(case_of(facts, asked))
    assert (finding.kind, finding.likely) == ("waiting", "its worker has gone away with it")


def test_tasks_that_only_their_senders_told_of_are_not_said_to_wait() -> None:
    facts = facts_with({("shop.a", "PENDING"): Tally(100, 0.0)}, {("shop.a", "PENDING"): 400.0})
    asked = Asked(task("PENDING", NOW - 400, ""))
    [waits] = [found for found in findings_of(case_of(facts, asked)) if found.kind == "waiting"]
    assert waits.level is Level.WRONG
    told = {"celery@a": Worker(NOW, 100.0, 0.0)}
    [waits] = [found for found in findings_of(case_of(facts, asked, told)) if found.kind == "waiting"]
    assert (waits.level, waits.do) == (Level.UNSURE, "start the workers with -E, or worker_send_task_events = True")
    assert "workers have done 100 and told of none" in waits.likely


@pytest.mark.parametrize(("interval", "ago", "told"), [(10.0, 14, False), (10.0, 24, True), (86_400.0, 90_000, True)])
def test_one_failure_of_a_periodic_task_is_news_if_it_comes_seldom_or_has_missed_the_next_run_too(
    interval: float, ago: float, told: bool
) -> None:
    facts = facts_with(
        {("shop.a", "SUCCESS"): Tally(60, 1.0), ("shop.a", "FAILURE"): Tally(1, 1.0)},
        failures={"shop.a": Counter({"KeyError": 1})},
        last_failure={"shop.a": NOW - 4},
        last_success={"shop.a": NOW - ago},
        interval={"shop.a": interval},
    )
    found = findings_of(case_of(facts, Asked()))
    assert [finding.kind for finding in found] == ["failing"] * told
    assert [finding.likely for finding in found] == ["none has succeeded since"] * told


def test_where_flower_cannot_ask_its_broker_silent_workers_are_not_called_killed() -> None:
    facts = dataclasses.replace(facts_with({}), workers={"celery@a": False}, left_out=frozenset({"queues"}))
    listed = {"celery@a": Worker(NOW - 12, 1.0, 1.0)}
    none, gone, unanswered = findings_of(case_of(facts, Asked(task("STARTED", NOW - 20)), listed))
    assert "likely that is away" in none.likely
    assert none.do.startswith("see whether the broker runs")
    assert gone.likely == "likely it has lost the broker, as Flower has"
    assert (unanswered.kind, unanswered.level) == ("not-answered", Level.UNSURE)


def test_where_no_flower_is_in_the_shard_nothing_is_called_well(push_job: PushJob) -> None:
    done = push_job("explain", "--flower", "http://127.0.0.1:9", "--shard", "1/2")
    assert (done.returncode, done.stdout) == (0, "No Flower is in this shard\n")


def test_words_for_names_times_and_moments() -> None:
    assert name_words("a" * 60) == "a" * 60
    assert name_words("x" * 100 + ".tasks.send") == "…" + "x" * 48 + ".tasks.send"
    assert name_words("a\x1b[31m\n") == "a�[31m�"
    assert [time_words(seconds) for seconds in (0.04, 3, 119, 120, 7200, 172_800)] == [
        *("0.0 s", "3 s", "119 s", "2 minutes", "2 hours", "2 days"),
    ]
    assert moment_words(NOW + 60, NOW) == "00:01 UTC"
    assert moment_words(NOW - 60, NOW) == "2026-11-24 23:59 UTC"
    assert moment_words(1e18, NOW) == "an unknown time"


ODD: tuple[Any, ...] = (None, True, -1, 1.5, 10**400, "", "x\x1b", "\ud800", [], {}, [1], {"a": 1})


@pytest.mark.parametrize("odd", ODD)
def test_odd_answers_of_flower_are_left_out(push_job: PushJob, odd: object) -> None:
    old = time.time() - 9000
    fields = dict.fromkeys(
        ("received", "sent", "started", "worker", "routing_key", "exchange", "timestamp", "eta"), odd
    )
    tasks: dict[str, Any] = {
        "sent": {"name": "shop.a", "state": "PENDING", "sent": old, "timestamp": old},
        "held": {"name": "shop.a", "state": "STARTED", "started": old, "timestamp": old, "worker": "celery@gone"},
        "failed": {"name": "shop.b", "state": "FAILURE", "failed": odd, "exception": odd},
        **{f"odd-{state}": {"name": odd, "state": state, **fields} for state in ("PENDING", "STARTED", "RECEIVED")},
    }
    rows = [{"hostname": name, "heartbeats": odd, "processed": odd, "active": odd} for name in ("celery@gone", odd)]
    asked = {"celery@a": {"active_queues": [odd, {"name": odd, "routing_key": odd, "exchange": odd}], "stats": odd}}
    answers: dict[str, Script | list[Script]] = {
        "/api/workers": [json_answer({"celery@a": True, "celery@gone": False}), json_answer(asked)],
        "/api/tasks": json_answer(tasks),
        "/api/queues/length": json_answer({"active_queues": [{"name": odd, "messages": 3}]}),
        "/workers": json_answer({"data": rows}),
    }
    with ScriptedServer(answers) as server:
        done = push_job("explain", "--flower", server.url)
    assert done.returncode == 1, done.stderr
    assert "mistake" not in done.stdout
    assert "\x1b" not in done.stdout
    assert "held 1 STARTED task" in " ".join(done.stdout.split())


def test_questions_that_are_refused_leave_out_what_they_would_tell(push_job: PushJob) -> None:
    failed = {"name": "shop.a", "state": "FAILURE", "failed": time.time(), "exception": "ValueError('x')"}
    tasks = json_answer({str(number): failed for number in range(3)})
    answers: dict[str, Script | list[Script]] = {
        "/api/workers": json_answer({"celery@a": True}),
        "/api/tasks": [tasks, status_answer(500)],
        "/workers": status_answer(403),
    }
    with ScriptedServer(answers) as server:
        done = push_job("explain", "--flower", server.url, "--format", "json")
        assert done.returncode == 1
    finding, unanswered = json.loads(done.stdout)["flowers"][0]["findings"]
    assert (finding["level"], finding["kind"], finding["link"]) == ("wrong", "failing", None)
    assert (unanswered["level"], unanswered["kind"]) == ("unsure", "not-answered")
    assert "Flower did not tell how many messages wait in the queues, nor which workers went away" in unanswered["fact"]


def test_what_is_refused_is_not_taken_for_well(push_job: PushJob) -> None:
    tasks = json_answer({"1": {"name": "shop.a", "state": "SUCCESS", "timestamp": time.time(), "runtime": 1.0}})
    answers: dict[str, Script | list[Script]] = {
        "/api/workers": json_answer({"celery@a": True, "celery@gone": False}),
        "/api/tasks": tasks,
        "/workers": status_answer(403),
    }
    with ScriptedServer(answers) as server:
        done = push_job("explain", "--flower", server.url)
    assert done.returncode == 0
    text = " ".join(done.stdout.split())
    assert "nothing is known to be wrong, but not all can be known" in text
    assert "? Flower did not tell" in text
