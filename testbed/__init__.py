"""Real services on free ports, for the tests, the demo, the benchmark and the playground.

`testbed.services.Testbed` starts them and cleans up, `testbed.shop` is the Celery application that the
workers run, `testbed.events` sends task events without running any task.
"""
