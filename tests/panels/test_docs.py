"""docs/panels.md: its queries work, its alerts are the alerts that there are."""

import re

import pytest

from tests.panels.ask import answer
from tests.panels.boards import ROOT, filled_in
from tests.panels.conftest import Scene
from tests.panels.test_every_query import CHOSEN, rules

TEXT = (ROOT / "docs" / "panels.md").read_text(encoding="utf-8")

QUERIES = re.findall(r"```promql\n(.*?)```", TEXT, re.DOTALL)


def with_histograms(query: str) -> bool:
    """Whether a query needs `--with runtimes`, which the scene's pushes do without."""
    return "celery_task_runtime_seconds" in query


@pytest.mark.parametrize("query", [query for query in QUERIES if not with_histograms(query)])
def test_a_query_of_the_docs_answers(scene: Scene, query: str) -> None:
    assert answer(scene.prometheus, filled_in(query, "celery-by-flower", CHOSEN), scene.at)


def test_the_share_of_tasks_whose_type_is_quick_is_right(scene: Scene) -> None:
    (query,) = [query for query in QUERIES if "<= 2.5" in query]
    found = answer(scene.prometheus, filled_in(query, "celery-by-flower", CHOSEN), scene.at)
    # In both jobs together: shop.pay takes 38 s for 17 tasks, shop.mail 12 s for 12, mail.send 5 s for 25.
    assert found == {frozenset(): pytest.approx(1.0)}
    stricter = filled_in(query.replace("<= 2.5", "<= 2"), "celery-by-flower", CHOSEN)
    assert answer(scene.prometheus, stricter, scene.at) == {frozenset(): pytest.approx(37 / 54)}


def test_the_table_of_alerts_names_every_alert_with_its_severity() -> None:
    table = dict(re.findall(r"^\| ((?:Celery|Flower|Pushgateway)\w+) \| (critical|warning) \|", TEXT, re.MULTILINE))
    assert table == {rule["alert"]: rule["labels"]["severity"] for rule in rules() if "alert" in rule}
