"""Dashboards as code: `python -m grafana.generate` writes grafana/dashboards/*.json (`make dashboards`).

| module              | holds                                                                    |
|---------------------|--------------------------------------------------------------------------|
| queries.py          | PromQL: the families' selectors and the guard that hides data that is old |
| panels.py           | how each kind of panel looks and asks                                     |
| sound.py            | panels that tell whether the watching itself is sound                     |
| frame.py            | what surrounds the panels: variables, annotations, links, the grid        |
| celery_by_flower.py | the main dashboard                                                        |
| by_type.py          | its panels by task type, and where a click on one leads                   |
| in_depth.py         | the dashboard for what `--with` adds                                      |
| histograms.py       | its panels of runtimes and waits                                          |
| generate.py         | writes the files                                                          |

Grafana itself needs only `dashboards/` and `provisioning/`.
"""
