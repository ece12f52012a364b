"""The session of one server, with its sign-in.

It ignores cookies, redirects and ``.netrc`` files, and requests no compression.
"""

from __future__ import annotations

import http.cookiejar

import requests
from requests.adapters import HTTPAdapter

from push_job import __version__
from push_job.settings import Endpoint


def open_session(endpoint: Endpoint, adapter: HTTPAdapter) -> requests.Session:
    """Return a session for requests to `endpoint`, whose connections `adapter` opens."""
    session = _Session()
    headers = endpoint.sign_in.headers()

    def sign(request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers.update(headers)
        return request

    # Without any auth, requests would read .netrc.
    session.auth = sign
    # Kept cookies would grow without limit, and every request would carry them.
    session.cookies.set_policy(http.cookiejar.DefaultCookiePolicy(allowed_domains=[]))
    session.headers.update(
        # Compression would cost Flower CPU, and would allow a decompression bomb.
        {"User-Agent": f"flower-push-job/{__version__}", "Accept-Encoding": "identity", "Cache-Control": "no-cache"}
    )
    tls = endpoint.tls
    if tls.cert_file:
        session.cert = (tls.cert_file, tls.key_file) if tls.key_file else tls.cert_file
    for scheme in ("http://", "https://"):
        session.mount(scheme, adapter)
    return session


class _Session(requests.Session):
    """A session that follows no redirect.

    It does not read the body of a redirect to find out whether it could follow it.
    """

    def get_redirect_target(self, _response: requests.Response) -> str | None:
        """Return no target."""
        return None
