"""Labels of the families in the dashboards' queries, and limits from the rules."""

import pytest

from grafana.alert_limits import age_limit, alert_limit
from grafana.queries import fresh, own_labels
from push_job.metrics.extras import EXTRAS, families_with
from push_job.metrics.families import Family


@pytest.mark.parametrize("family", families_with(EXTRAS), ids=lambda family: family.name)
def test_every_family_has_a_guard_with_its_labels(family: Family) -> None:
    for series in family.sample_names:
        labels = own_labels(series)
        assert labels[: len(family.labels)] == family.labels
        assert (labels[-1:] == ("le",)) is series.endswith("_bucket")
        guard = f"and ignoring ({', '.join(labels)}) (time()" if labels else "and (time()"
        assert guard in fresh(series)


def test_unknown_family_is_a_clear_error() -> None:
    with pytest.raises(ValueError, match="no family has the series celery_wrokers"):
        fresh("celery_wrokers")


def test_limits_are_read_from_the_rules() -> None:
    assert alert_limit("CeleryTasksWaitTooLong") == age_limit() == 300
    with pytest.raises(ValueError, match="no alert CeleryWrong"):
        alert_limit("CeleryWrong")
    with pytest.raises(ValueError, match="has 0 limits"):
        alert_limit("CeleryNoWorkers")
