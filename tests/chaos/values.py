"""The samples of one group on the Pushgateway, by name and labels."""

from collections.abc import Iterator, Mapping

from testbed.prometheus import Samples

#: What a push says of itself, whatever became of the scrape.
OWN_FAMILIES = {"flower_up", "flower_scrape_duration_seconds", "push_job_build_info"}

#: What a push of a job that remembers says of itself beside that, where the scrape went well.
READING_FAMILIES = {"flower_scrape_full", "flower_scrape_read_tasks"}

Values = dict[tuple[str, frozenset[tuple[str, str]]], float]


def group_values(samples: Samples, grouping: Mapping[str, str]) -> Values:
    """A group's samples without the labels that name the group, and without the Pushgateway's own of its pushes."""
    return {
        (name, frozenset(labels - grouping.items())): value
        for (name, labels), value in samples.items()
        if not name.startswith(("push_time_", "push_failure_time_"))
    }


def of_family(values: Values, name: str) -> dict[frozenset[tuple[str, str]], float]:
    """The samples with this name, by their labels."""
    return {labels: value for (family, labels), value in values.items() if family == name}


def labelled(values: Values, name: str) -> Iterator[tuple[dict[str, str], float]]:
    """The samples with this name, with their labels as a dict."""
    for labels, value in of_family(values, name).items():
        yield dict(labels), value
