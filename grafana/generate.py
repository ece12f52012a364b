"""Writes the dashboards: `python -m grafana.generate`, or `make dashboards`."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path

from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard

from grafana.celery_by_flower import celery_by_flower
from grafana.in_depth import in_depth

FOLDER = Path(__file__).parent / "dashboards"

DASHBOARDS: Mapping[str, Callable[[], Dashboard]] = {
    "celery-by-flower.json": celery_by_flower,
    "celery-by-flower-in-depth.json": in_depth,
}


def written(dashboard: Dashboard) -> str:
    """The dashboard as the text of its file, with an `id` of null: Grafana gives it one.

    The SDK writes one and the same `id` for every variable. Grafana keys variables by it, so that of all of them one
    would survive; without it, it keys them by their names.
    """
    content = {"id": None, **json.loads(JSONEncoder().encode(dashboard))}
    for variable in content["templating"]["list"]:
        del variable["id"]
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


def main() -> None:
    """Writes every dashboard's file into grafana/dashboards/."""
    FOLDER.mkdir(exist_ok=True)
    for name, dashboard in DASHBOARDS.items():
        (FOLDER / name).write_text(written(dashboard()), encoding="utf-8")
        print(FOLDER / name)


if __name__ == "__main__":
    main()
