"""Real services on free ports, for the tests, the demo, the benchmark and the playground.

`testbed.services.Testbed` starts and stops them. `testbed.shop` is the Celery application of the workers.
`testbed.events` sends task events without running tasks.
"""
