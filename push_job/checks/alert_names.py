"""Generated from prometheus/rules by `make generate`: the names of our alerts."""

ALERT_NAMES = (
    "CeleryNoWorkers",
    "CeleryWorkerWentAway",
    "CeleryFailureRatioHigh",
    "CeleryTasksWaitTooLong",
    "CeleryBacklogAllWorkersIdle",
    "CeleryBacklogSomeWorkersIdle",
    "FlowerExtraFails",
    "PushgatewayDown",
    "FlowerPushMissing",
    "FlowerPushStale",
    "FlowerPushRefused",
    "FlowerGroupGone",
    "FlowerDown",
    "FlowerUnsteady",
    "CeleryTaskStuck",
    "CeleryTypeFailing",
    "CeleryPeriodicTaskOverdue",
    "CeleryQueueNotConsumed",
    "CeleryWorkersFull",
    "CeleryNewException",
)
