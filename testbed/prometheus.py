"""Pushgateway and Prometheus of a test bed."""

import time
import urllib.error
import urllib.parse
from pathlib import Path
from typing import Any, Protocol

from prometheus_client.parser import text_string_to_metric_families

from testbed.process import Service, ServiceError, find_program, wait_for
from testbed.web import Client

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


class Pushgateway(Service):
    """A Pushgateway without persistence.

    Attributes:
        client: HTTP client of the test bed.
        scheme: http, or https if the options enable TLS.
    """

    def __init__(self, folder: Path, name: str, options: list[str], client: Client) -> None:
        """Create a Pushgateway with more options, e.g. `--web.route-prefix=/push`."""
        super().__init__(folder, name)
        self.options = options
        self.client = client
        self.scheme = "http"
        self.prefix = ""
        for option in options:
            key, _, value = option.partition("=")
            if key == "--web.config.file" and "tls_server_config" in Path(value).read_text():
                self.scheme = "https"
            if key == "--web.route-prefix":
                self.prefix = "/" + value.strip("/") if value.strip("/") else ""

    @property
    def url(self) -> str:
        """Return the URL for pushes with the path prefix, without a trailing slash."""
        return f"{self.scheme}://127.0.0.1:{self.port}{self.prefix}"

    def command(self) -> list[str]:
        """See Service."""
        return [
            find_program("prometheus-pushgateway", "prometheus-pushgateway"),
            f"--web.listen-address=127.0.0.1:{self.port}",
            "--web.enable-admin-api",
            "--persistence.file=",
            *self.options,
        ]

    def is_ready(self) -> bool:
        """See Service."""
        return self.client.status(f"{self.url}/-/ready") is not None

    def groups(self) -> list[dict[str, Any]]:
        """Return every group: `labels` and one entry per metric family."""
        groups: list[dict[str, Any]] = self.client.get_json(f"{self.url}/api/v1/metrics")["data"]
        return groups

    def samples(self, **labels: str) -> Samples:
        """Return the pushed samples that have these labels, by name and all labels.

        The Pushgateway's own metrics, which have no label `job`, are left out.
        """
        wanted = frozenset(labels.items())
        found: Samples = {}
        for family in text_string_to_metric_families(self.client.get(f"{self.url}/metrics")):
            for sample in family.samples:
                if "job" in sample.labels and wanted <= sample.labels.items():
                    found[sample.name, frozenset(sample.labels.items())] = sample.value
        return found

    def wipe(self) -> None:
        """Delete every group."""
        self.client.get(f"{self.url}/api/v1/admin/wipe", method="PUT")


class Target(Protocol):
    """A server that can be scraped, usually a Pushgateway."""

    @property
    def url(self) -> str:
        """Return the URL without the path of the metrics."""


class Prometheus(Service):
    """A Prometheus that scrapes one Pushgateway or another server."""

    def __init__(
        self,
        folder: Path,
        name: str,
        pushgateway: Target,
        rule_files: list[Path],
        scrape_interval: str,
        *,
        honor_labels: bool,
    ) -> None:
        """Create a Prometheus; `scrape_interval` is also the interval of rule evaluations."""
        super().__init__(folder, name)
        self.target = pushgateway
        self.rule_files = rule_files
        self.scrape_interval = scrape_interval
        self.honor_labels = honor_labels

    @property
    def url(self) -> str:
        """Return the URL of the web interface, without a trailing slash."""
        return f"http://127.0.0.1:{self.port}"

    def command(self) -> list[str]:
        """See Service."""
        config = self.folder / f"{self.name}.yml"
        config.write_text(self._config())
        return [
            find_program("prometheus", "prometheus"),
            f"--config.file={config}",
            f"--storage.tsdb.path={self.folder / self.name}",
            f"--web.listen-address=127.0.0.1:{self.port}",
        ]

    def _config(self) -> str:
        target = urllib.parse.urlsplit(self.target.url)
        rules = "".join(f"  - '{Path(path).resolve()}'\n" for path in self.rule_files)
        return (
            f"global:\n  scrape_interval: {self.scrape_interval}\n  scrape_timeout: {self.scrape_interval}\n"
            f"  evaluation_interval: {self.scrape_interval}\n"
            + (f"rule_files:\n{rules}" if rules else "")
            + "scrape_configs:\n  - job_name: pushgateway\n"
            f"    honor_labels: {str(self.honor_labels).lower()}\n"
            f"    metrics_path: {target.path}/metrics\n"
            f"    static_configs:\n      - targets: ['{target.netloc}']\n"
        )

    def is_ready(self) -> bool:
        """See Service."""
        return Client().status(f"{self.url}/-/ready") == 200

    def query(self, expression: str) -> list[tuple[dict[str, str], float]]:
        """Return labels and value of each series of an instant query, in order.

        Raises:
            ServiceError: Prometheus rejects the query; contains the reason.
        """
        url = f"{self.url}/api/v1/query?" + urllib.parse.urlencode({"query": expression})
        try:
            data = Client().get_json(url)["data"]
        except urllib.error.HTTPError as error:
            with error:
                raise ServiceError(f"{expression}: {error.read().decode()}") from None
        if data["resultType"] == "scalar":
            return [({}, float(data["result"][1]))]
        if data["resultType"] != "vector":
            raise ServiceError(
                f"{expression}: the result is a {data['resultType']}, only vectors and scalars are supported"
            )
        return [(series["metric"], float(series["value"][1])) for series in data["result"]]

    def wait_for_scrape(self, timeout: float = 30) -> None:
        """Wait for the result of a scrape that began after this call.

        Raises:
            ServiceError: There is none within `timeout` seconds.
        """
        called = time.time()
        # The timestamp of `up` is the start of the scrape. It is stored in one transaction with the scraped samples.
        # timestamp() returns it only for a bare selector; for other expressions it is the time of the query.
        up = 'up{job="pushgateway"}'
        scraped = f"timestamp({up}) > {called} and {up} == 1"
        wait_for(f"a scrape of {self.target.url} by {self.name}", lambda: bool(self.query(scraped)), timeout)
