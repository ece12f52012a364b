"""A real Celery beat that sends a shop task every second.

Usage: ``python -m tests.fakes.beat BROKER_URL SCHEDULE_FILE``.
"""

import sys

from testbed.shop import shop_app

TASK = "shop.vouchers.remind"
EVERY = 1.0

if __name__ == "__main__":
    broker_url, schedule = sys.argv[1:]
    shop = shop_app(broker_url)
    shop.conf.beat_schedule = {"remind": {"task": TASK, "schedule": EVERY, "args": (1,)}}
    shop.Beat(schedule=schedule, max_interval=0.2, loglevel="INFO", quiet=True).run()
