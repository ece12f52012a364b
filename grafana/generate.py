"""Write the dashboards: `python -m grafana.generate`, or `make dashboards`."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard

from grafana.in_depth_dashboard import in_depth_dashboard
from grafana.main_dashboard import main_dashboard
from grafana.task_type_dashboard import task_type_dashboard

FOLDER = Path(__file__).parent / "dashboards"

DASHBOARDS: Mapping[str, Callable[[], Dashboard]] = {
    "celery-by-flower.json": main_dashboard,
    "celery-by-flower-in-depth.json": in_depth_dashboard,
    "celery-by-flower-task-type.json": task_type_dashboard,
}


def serialize(dashboard: Dashboard) -> str:
    """Return the text of a dashboard's file.

    The dashboard's `id` is null, so that Grafana assigns one. The `id` of variables is removed: the SDK writes the same
    for every variable, and Grafana would keep only one of them. Without an `id`, Grafana identifies them by name.
    """
    content = {"id": None, **json.loads(JSONEncoder().encode(dashboard))}
    for variable in content["templating"]["list"]:
        del variable["id"]
    for panel in content["panels"]:
        for one in (panel, *panel.get("panels", [])):
            _remove_newer_options(one)
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


def _remove_newer_options(panel: dict[str, Any]) -> None:
    """Remove defaults of the SDK that the oldest supported Grafana does not know."""
    options = panel.get("options", {})
    for name in ("cellHeight", "showTypeIcons"):
        options.pop(name, None)
    options.get("footer", {}).pop("countRows", None)
    for link in panel.get("fieldConfig", {}).get("defaults", {}).get("links", []):
        for name in link.keys() - {"title", "url", "targetBlank"}:
            del link[name]


def main() -> None:
    """Write the file of every dashboard into grafana/dashboards/."""
    FOLDER.mkdir(exist_ok=True)
    for name, dashboard in DASHBOARDS.items():
        (FOLDER / name).write_text(serialize(dashboard()), encoding="utf-8")
        print(FOLDER / name)


if __name__ == "__main__":
    main()
