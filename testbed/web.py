"""HTTP client of the test bed for its own services."""

import base64
import http.client
import json
import ssl
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from typing import Any


def trusting_context() -> ssl.SSLContext:
    """Return a TLS context that accepts any certificate."""
    # Python's default context would read all system certificates each time.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


@dataclass(frozen=True)
class Client:
    """HTTP client with credentials and TLS settings.

    Attributes:
        user: name and password for basic authentication, or None.
        context: TLS settings, e.g. with a client certificate.
    """

    user: tuple[str, str] | None = None
    context: ssl.SSLContext = field(default_factory=trusting_context)

    def get(self, url: str, method: str = "GET", timeout: float = 60) -> str:
        """Return the body of the answer.

        Raises:
            urllib.error.HTTPError: The status is 400 or higher.
            OSError: There is no answer.
        """
        request = urllib.request.Request(url, method=method)
        if self.user:
            request.add_header("Authorization", "Basic " + base64.b64encode(":".join(self.user).encode()).decode())
        opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=self.context)
        )
        with opener.open(request, timeout=timeout) as response:
            body: bytes = response.read()
        return body.decode()

    def get_json(self, url: str, timeout: float = 60) -> Any:
        """Return the decoded JSON of the answer. Raises the errors of `get`."""
        return json.loads(self.get(url, timeout=timeout))

    def status(self, url: str) -> int | None:
        """Return the HTTP status of the answer, or None if there is no answer."""
        try:
            self.get(url, timeout=5)
        except urllib.error.HTTPError as error:
            error.close()
            return error.code
        except (OSError, http.client.HTTPException):
            return None
        return 200
