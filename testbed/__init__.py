"""Real services on free ports, for tests, demo, benchmark and playground.

`testbed.services.Testbed` starts and stops them. `testbed.shop` is the Celery application of the workers.
`testbed.events` sends task events without running tasks.
"""
