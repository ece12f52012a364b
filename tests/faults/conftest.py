"""Fixtures for tests of faults."""

from typing import Any

import pytest
from urllib3.util.retry import Retry


@pytest.fixture
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every retry follow at once; a pause that a server asks for is kept."""

    def at_once(**options: Any) -> Retry:
        return Retry(total=options.get("total"))

    monkeypatch.setattr("push_job.http.client.Retry", at_once)
