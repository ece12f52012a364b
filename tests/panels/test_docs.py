"""The queries in docs/panels.md work."""

import re

import pytest

from tests.panels.ask import answer
from tests.panels.boards import ROOT, filled_in
from tests.panels.conftest import Scene
from tests.panels.test_every_query import CHOSEN

TEXT = (ROOT / "docs" / "panels.md").read_text(encoding="utf-8")

QUERIES = re.findall(r"```promql\n(.*?)```", TEXT, re.DOTALL)


def with_histograms(query: str) -> bool:
    """Return whether a query needs `--with runtimes`."""
    return "celery_task_runtime_seconds" in query


@pytest.mark.parametrize("query", [query for query in QUERIES if not with_histograms(query)])
def test_query_in_the_docs_has_a_result(scene: Scene, query: str) -> None:
    assert answer(scene.prometheus, filled_in(query, "celery-by-flower", CHOSEN), scene.at)


def test_share_of_tasks_of_fast_types_is_correct(scene: Scene) -> None:
    (query,) = [query for query in QUERIES if "<= 2.5" in query]
    found = answer(scene.prometheus, filled_in(query, "celery-by-flower", CHOSEN), scene.at)
    # Both jobs together: shop.pay takes 38 s for 17 tasks, shop.mail 12 s for 12, mail.send 5 s for 25.
    assert found == {frozenset(): pytest.approx(1.0)}
    stricter = filled_in(query.replace("<= 2.5", "<= 2"), "celery-by-flower", CHOSEN)
    assert answer(scene.prometheus, stricter, scene.at) == {frozenset(): pytest.approx(37 / 54)}
