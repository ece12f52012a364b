"""How ``check`` asks the servers behind the Pushgateway, which Prometheus and Grafana are."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import Any

from push_job.checks.connectivity import Step, UnreachableError, reach
from push_job.flower.decoding import DecodingError, decode_json
from push_job.http.client import REDIRECTS, Client
from push_job.http.errors import TransportError
from push_job.settings import Endpoint, Settings
from push_job.terminal.formatting import printable

#: The most bytes of an answer: a large Prometheus has megabytes of rules and targets.
_MOST_BYTES = 64 * 2**20

_LONGEST = 200


class Behind:
    """One such server, called `kind` in options and words. `until` is a moment of ``time.monotonic()``."""

    def __init__(self, client: Client, kind: str, until: float) -> None:
        self._client = client
        self._kind = kind
        self._until = until

    def json(self, path: str, **params: str | int) -> Any:
        """What it answers to a GET of `path`. Raises UnreachableError, and TransportError for a refusal."""
        try:
            return decode_json(self._client.get(path, self._until, **params).body(_MOST_BYTES))
        except DecodingError as error:
            raise UnreachableError(f"it answered {path}, but {error}: is this {self._kind.title()}?") from None

    def data(self, path: str, **params: str | int) -> Any:
        """The data in an answer of Prometheus' API. Raises as `json` does."""
        found = self.json(path, **params)
        if not isinstance(found, dict) or found.get("status") != "success":
            raise UnreachableError(f"its {path} is not what Prometheus answers; is this one?")
        return found.get("data")

    def refused(self, error: TransportError) -> str:
        """What a refusal means and what mends it."""
        reason, kind = str(error), self._kind
        if error.status == 401:
            reason += self._client.endpoint.credentials.refused or (
                f": sign in with --{kind}-username and a password or with a token"
            )
        elif error.status == 403:
            reason += ": these credentials may not read that"
        elif error.status == 404:
            reason += f": is this {kind.title()}? if it is served below a path, put that into its URL"
        elif error.status in REDIRECTS:
            reason += ", a redirect: give the URL that it leads to; a login page needs a token instead"
        if error.status not in (None, 404) and error.body and not error.body.startswith("<"):
            reason += f": {told(error.body)}"
        return reason


def try_behind(
    server: Endpoint, kind: str, settings: Settings, steps: Callable[[Behind], Iterator[Step]]
) -> Iterator[Step]:
    """The steps to such a server and then those it is asked; the first that fails so that no other can is the last."""
    with contextlib.closing(Client(server, settings.timeout)) as client:
        ask = Behind(client, kind, time.monotonic() + settings.deadline)
        try:
            yield from reach(server, settings.timeout)
            yield from steps(ask)
        except TransportError as error:
            yield Step(False, ask.refused(error))
        except UnreachableError as error:
            yield Step(False, str(error))


def told(text: Any) -> str:
    """What a server said, as a part of a line."""
    return printable(" ".join(str(text).split()))[:_LONGEST]


def objects(found: Any) -> list[dict[str, Any]]:
    """The objects in a list; none in anything else."""
    return [entry for entry in found if isinstance(entry, dict)] if isinstance(found, list) else []


def labels_of(entry: dict[str, Any], key: str) -> dict[str, str]:
    """Labels, all of them text."""
    found = entry.get(key)
    return {str(name): str(value) for name, value in found.items()} if isinstance(found, dict) else {}
