"""Dashboards as code; `make dashboards` writes grafana/dashboards/*.json.

| module                 | contents                                                          |
|------------------------|-------------------------------------------------------------------|
| queries.py             | PromQL: selectors and the guard that hides old data               |
| alert_limits.py        | limits of alerts and names of records, from prometheus/rules      |
| panel_types.py         | one builder for each kind of panel, with the common defaults      |
| layout.py              | rows on the grid, variables, annotations and links of a dashboard |
| tiles.py               | the tiles in the top row                                          |
| wrong_now.py           | the list of what is wrong now                                     |
| health_row.py          | the list of alerts, and panels about Flowers and pushes           |
| task_type_panels.py    | panels by task type, and their links                              |
| main_dashboard.py      | the dashboard "Celery by Flower"                                  |
| histogram_panels.py    | panels of the histograms of runtimes and waits                    |
| problems_row.py        | panels about stuck, failing and overdue tasks and full workers    |
| in_depth_dashboard.py  | the dashboard "Celery by Flower: in depth", for the extras        |
| task_type_dashboard.py | the dashboard "Celery by Flower: task type"                       |
| generate.py            | writes the files                                                  |

Grafana itself needs only `dashboards/` and `provisioning/`.
"""
