"""From where on ``explain`` takes something for trouble.

The first ones are those of the alerts, by the names of the chart's values, so that what pages somebody is told; a test
compares them.
"""

from __future__ import annotations

#: CeleryTaskStuck: seconds that a task may be in a state that is not its end.
STUCK_SECONDS = 3600

#: CeleryTasksWaitTooLong: seconds that a task may wait for a worker.
WAIT_SECONDS = 300

#: CeleryFailureRatioHigh: which part of the ended tasks may have failed, where there are so many of them.
FAILURE_RATIO = 0.1
FAILURE_MINIMUM = 20

#: CeleryPeriodicTaskOverdue: how many of its own intervals a type's last success may lie back; and the shortest
#: interval, in seconds, that is surely a schedule's: a minute, as trembling clocks tell it.
OVERDUE_INTERVALS = 3
SHORTEST_INTERVAL = 50

#: CeleryWorkersFull: which part of what the workers can run at once may be busy.
BUSY_RATIO = 0.95

#: Seconds for which something that happened is news, as the alerts look back.
RECENTLY = 3600

#: A started task is taken for stuck after so many times the mean runtime of its type, but not before five minutes.
STUCK_FACTOR = 10
STUCK_NOT_BEFORE = 300

#: A type fails if so many of its tasks have, and FAILURE_RATIO of those that have ended.
FAILURES_OF_A_TYPE = 3
