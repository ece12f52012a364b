"""Samples of an extra that the Pushgateway would reject do not fail the push.

The Pushgateway would reject the whole push.
"""

import re
from collections.abc import Sequence

import pytest
import requests

from testbed.command import PushJob
from testbed.services import Pushgateway
from tests.extras_answers import EVENTS, METRICS, UNASKED, left_out, pushed
from tests.extras_reading import of_family
from tests.fakes.http import Script, ScriptedServer, answer, status_answer
from tests.faults.cycles import PUSHED, fake_flower, run_cycle
from tests.independent import key

CLASHES = {
    "a family of ours as a counter": "# TYPE flower_up counter\nflower_up 7",
    "a family of ours as a histogram": (
        '# TYPE celery_workers histogram\ncelery_workers_bucket{le="+Inf"} 7\n'
        "celery_workers_count 7\ncelery_workers_sum 7"
    ),
    "a family of ours without a type": 'celery_workers{app="celery@a"} 7',
    "a family of ours by its suffix": "# TYPE push_job_build info\npush_job_build_info 7",
    "an extra's family": '# TYPE celery_queue_length counter\ncelery_queue_length{queue="celery"} 7',
    "the Pushgateway's family": "# TYPE push_time_seconds counter\npush_time_seconds 7",
    "a series twice": '# TYPE flower_x gauge\nflower_x{a="b"} 7\nflower_x{a="b"} 7',
    "a family twice": "# TYPE flower_events_total gauge\nflower_events_total 7",
    "a bound that is no number": '# TYPE flower_x histogram\nflower_x_bucket{le="lots"} 7\nflower_x_count 7',
    "a quantile that is no number": '# TYPE flower_x summary\nflower_x{quantile="most"} 7',
    "a gaugehistogram": "# TYPE flower_x gaugehistogram\nflower_x 7",
    "a quoted name": '# TYPE "flower.x y" gauge\n{"flower.x y"} 7',
    "a quoted label": '# TYPE flower_x gauge\nflower_x{"a b"="c"} 7',
}


@pytest.mark.parametrize("clash", CLASHES)
def test_our_family_is_kept_and_one_of_flower_with_its_name_is_left_out(
    clean_pushgateway: Pushgateway, push_job: PushJob, clash: str
) -> None:
    answers = {"/metrics": answer(METRICS + CLASHES[clash].encode() + b"\n")}
    with pushed(push_job, clean_pushgateway, answers) as (samples, warnings):
        assert left_out(samples) == set()
        assert 7 not in samples.values()
        assert samples[EVENTS] == 3
        assert samples[key("celery_queue_length", queue="celery")] == 4
        (warning,) = warnings
        assert re.search(r"left out .*families=", warning)


def test_samples_that_a_pushgateway_would_reject_or_overwrite_are_corrected(
    clean_pushgateway: Pushgateway, push_job: PushJob
) -> None:
    page = METRICS + (
        b"# TYPE flower_stamped gauge\nflower_stamped 5 1700000000000\n"
        b'# TYPE flower_placed gauge\nflower_placed{job="a",instance="b"} 6\nflower_placed{job="a",instance="c"} 7\n'
        b"# TYPE flower_large gauge\nflower_large 1" + b"0" * 400 + b"\n"
        b"# TYPE flower_empty gauge\n"
    )
    with pushed(push_job, clean_pushgateway, {"/metrics": answer(page)}) as (samples, warnings):
        assert warnings == []
        assert samples[key("flower_stamped")] == 5
        assert samples[key("flower_placed", exported_job="a", exported_instance="b")] == 6
        assert samples[key("flower_placed", exported_job="a", exported_instance="c")] == 7
        assert samples[EVENTS] == 3


def test_a_clash_of_an_extra_with_another_group_does_not_fail_the_push(
    clean_pushgateway: Pushgateway, push_job: PushJob
) -> None:
    body = "# TYPE celery_queue_length counter\ncelery_queue_length 1\n"
    assert requests.put(f"{clean_pushgateway.url}/metrics/job/other", data=body, timeout=10).status_code == 200
    with pushed(push_job, clean_pushgateway, {}) as (samples, warnings):
        assert left_out(samples) == set(UNASKED)
        assert not of_family(samples, "celery_worker_")
        (warning,) = warnings
        assert "pushed without extras" in warning
        assert "celery_queue_length" in warning
    clean_pushgateway.wipe()


@pytest.mark.parametrize(("second", "is_told"), [(PUSHED, True), (status_answer(400), False)])
def test_a_push_without_the_extras_is_logged_after_it(
    second: Script, is_told: bool, caplog: pytest.LogCaptureFixture
) -> None:
    with fake_flower() as flower, ScriptedServer({"*": [status_answer(400), second]}) as gateway:
        cycle = run_cycle(flower.url, gateway.url, extras=("runtimes",))
        assert len(gateway.pushes) == 2
    assert (cycle.outcome.push_error is None) == is_told
    assert ("pushed without extras" in caplog.messages) == is_told


CELERY_EXPORTER: Sequence[tuple[str, str, str]] = (
    *(
        (f"celery_task_{event}_total", "counter", "name hostname queue_name")
        for event in ("sent", "received", "started")
    ),
    *((f"celery_task_{event}_total", "counter", "name hostname queue_name") for event in ("succeeded", "retried")),
    ("celery_worker_up", "gauge", "hostname"),
    ("celery_worker_tasks_active", "gauge", "hostname"),
    ("celery_task_runtime", "histogram", "name hostname queue_name"),
    ("celery_queue_length", "gauge", "queue_name"),
    ("celery_active_worker_count", "gauge", "queue_name"),
)


def test_extras_and_the_families_of_celery_exporter_share_a_pushgateway(
    clean_pushgateway: Pushgateway, push_job: PushJob
) -> None:
    lines = []
    for name, kind, labels in CELERY_EXPORTER:
        shown = ",".join(f'{label}="x"' for label in labels.split())
        lines.append(f"# TYPE {name} {kind}")
        if kind == "histogram":
            lines += [f'{name}_bucket{{{shown},le="+Inf"}} 1', f"{name}_count{{{shown}}} 1", f"{name}_sum{{{shown}}} 1"]
        else:
            lines.append(f"{name}{{{shown}}} 1")
    body = "\n".join([*lines, ""])
    url = f"{clean_pushgateway.url}/metrics/job/celery-exporter"
    assert requests.put(url, data=body, timeout=10).status_code == 200
    with pushed(push_job, clean_pushgateway, {}) as (samples, warnings):
        assert warnings == []
        assert left_out(samples) == set()
    assert len(clean_pushgateway.groups()) == 2
