"""The samples of one group on the Pushgateway, by name and labels."""

from collections.abc import Iterator, Mapping

from testbed.prometheus import Samples

#: The job's own families, which are in every push.
OWN_FAMILIES = {"flower_up", "flower_scrape_duration_seconds", "push_job_build_info"}

#: Further families of a scrape with state.
SCRAPE_FAMILIES = {"flower_scrape_full", "flower_scrape_read_tasks"}

#: Further families of the groups of `run`.
FAMILIES_OF_RUN = {"push_job_max_age_seconds"}

Values = dict[tuple[str, frozenset[tuple[str, str]]], float]


def group_values(samples: Samples, grouping: Mapping[str, str]) -> Values:
    """Return a group's samples without the labels of its grouping key.

    Samples that the Pushgateway adds are left out.
    """
    return {
        (name, frozenset(labels - grouping.items())): value
        for (name, labels), value in samples.items()
        if not name.startswith(("push_time_", "push_failure_time_"))
    }


def of_family(values: Values, name: str) -> dict[frozenset[tuple[str, str]], float]:
    """Return the samples with this name, by their labels."""
    return {labels: value for (family, labels), value in values.items() if family == name}


def labelled(values: Values, name: str) -> Iterator[tuple[dict[str, str], float]]:
    """Yield labels and value of the samples with this name."""
    for labels, value in of_family(values, name).items():
        yield dict(labels), value
