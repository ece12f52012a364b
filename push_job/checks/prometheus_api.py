"""Client for the JSON APIs of Prometheus and Grafana."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import Any

from push_job.checks.connectivity import check_connection
from push_job.checks.step import CheckError, Step
from push_job.flower.decoding import DecodingError, decode_json
from push_job.http.client import REDIRECTS, Client, open_client
from push_job.http.errors import TransportError
from push_job.settings import Endpoint, Settings
from push_job.text import one_line

#: Bytes of one answer: a large Prometheus has megabytes of rules and targets.
_BODY_LIMIT = 64 * 2**20

_TEXT_LENGTH = 200


class JsonApi:
    """The API of a Prometheus or a Grafana.

    Args:
        client: sends the requests.
        kind: ``prometheus`` or ``grafana``, as in the options' names.
        until: deadline on the clock of ``time.monotonic()``.
    """

    def __init__(self, client: Client, kind: str, until: float) -> None:
        self._client = client
        self._kind = kind
        self._until = until

    def json(self, path: str, **params: str | int) -> Any:
        """Return the JSON at `path`.

        Raises:
            CheckError: if the answer is not valid JSON.
            TransportError: if the server refuses.
        """
        try:
            return decode_json(self._client.get(path, self._until, **params).body(_BODY_LIMIT))
        except DecodingError as error:
            raise CheckError(f"it answered {path}, but {error}; is this {self._kind.title()}?") from None

    def data(self, path: str, **params: str | int) -> dict[str, Any]:
        """Return the data in an answer of Prometheus' API.

        The result is empty if the answer has no object of data. Raises as `json` does.
        """
        found = self.json(path, **params)
        if not isinstance(found, dict) or found.get("status") != "success":
            raise CheckError(f"its {path} is not what Prometheus answers; is this one?")
        data = found.get("data")
        return data if isinstance(data, dict) else {}

    def explain(self, error: TransportError) -> str:
        """Return what a failed request means and what to do."""
        reason, kind = str(error), self._kind
        if error.status == 401:
            reason += f": {self._client.endpoint.sign_in.explain_401(kind)}"
        elif error.status == 403:
            reason += f": {self._client.endpoint.sign_in.explain_403()}"
        elif error.status == 404:
            reason += f": is this {kind.title()}? if it is served below a path, put that into its URL"
        elif error.status in REDIRECTS:
            reason += ", a redirect: use the URL that it leads to; for a login page, set a token"
        if error.status not in (None, 404) and error.body and not error.body.startswith("<"):
            reason += f": {short_text(error.body)}"
        return reason


def check_api(
    server: Endpoint, kind: str, settings: Settings, steps: Callable[[JsonApi], Iterator[Step]]
) -> Iterator[Step]:
    """Yield the steps of the connection and then `steps`.

    Stop at a failure that makes the later steps pointless.
    """
    with contextlib.closing(open_client(server, settings)) as client:
        api = JsonApi(client, kind, time.monotonic() + settings.deadline)
        try:
            yield from check_connection(server, settings.timeout)
            yield from steps(api)
        except TransportError as error:
            yield Step(False, api.explain(error))
        except CheckError as error:
            yield Step(False, str(error))


def short_text(text: Any) -> str:
    """Return a server's text as part of a line."""
    return one_line(text, _TEXT_LENGTH)


def objects(found: Any) -> list[dict[str, Any]]:
    """Return the objects in a list; none for anything else."""
    return [entry for entry in found if isinstance(entry, dict)] if isinstance(found, list) else []


def labels_of(entry: dict[str, Any], key: str) -> dict[str, str]:
    """Return the labels under `key`, all of them as text."""
    found = entry.get(key)
    return {str(name): str(value) for name, value in found.items()} if isinstance(found, dict) else {}
