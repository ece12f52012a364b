"""Writes the dashboards: `python -m grafana.generate`, or `make dashboards`."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

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
    for panel in content["panels"]:
        for one in (panel, *panel.get("panels", [])):
            _without_what_is_newer(one)
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


def _without_what_is_newer(panel: dict[str, Any]) -> None:
    """The SDK writes defaults of Grafana's newest version: what the oldest that is supported does not know goes."""
    options = panel.get("options", {})
    for name in ("cellHeight", "showTypeIcons"):
        options.pop(name, None)
    options.get("footer", {}).pop("countRows", None)
    for link in panel.get("fieldConfig", {}).get("defaults", {}).get("links", []):
        for name in link.keys() - {"title", "url", "targetBlank"}:
            del link[name]


def main() -> None:
    """Writes every dashboard's file into grafana/dashboards/."""
    FOLDER.mkdir(exist_ok=True)
    for name, dashboard in DASHBOARDS.items():
        (FOLDER / name).write_text(written(dashboard()), encoding="utf-8")
        print(FOLDER / name)


if __name__ == "__main__":
    main()
