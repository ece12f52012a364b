"""Ways to sign in to a server.

To add one, write a subclass of `SignIn` here and list it in `METHODS`. Its
options, environment variables, errors and redaction follow from its fields:

- a field is the option ``--SERVER-FIELD``;
- a field with ``repr=False`` is a secret. It has no option of its own, because
  every process can read a command line. It comes from the file named by
  ``--SERVER-FIELD-file`` or from the variable ``PUSH_JOB_SERVER_FIELD``.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import Field, dataclass, field, fields
from typing import Any, ClassVar

from push_job.text import is_utf8


class SignInError(Exception):
    """The parts of a sign-in are incomplete or invalid."""


@dataclass(frozen=True)
class SignIn(ABC):
    """One way to sign in; the base class of all methods."""

    #: What a 401 means with this method; ``{server}`` stands for the kind of server.
    rejected: ClassVar[str]

    #: How to set the method; ``{server}`` as above.
    how_to_set: ClassVar[str]

    @abstractmethod
    def headers(self) -> dict[str, str]:
        """Return the headers that sign a request."""

    def explain_401(self, server: str) -> str:
        """Return the explanation of a 401.

        It says what the status means and what to do. `server` is the kind of server, such as ``flower``.
        """
        return self.rejected.format(server=server)

    def explain_403(self) -> str:
        """Return what a 403 means."""
        return "these credentials are not allowed to do this"

    def secrets(self) -> tuple[str, ...]:
        """Return every text that must never be shown, as given and as sent."""
        return tuple(getattr(self, part.name) for part in fields(self) if is_secret(part))


@dataclass(frozen=True)
class Anonymous(SignIn):
    """No sign-in."""

    def explain_401(self, server: str) -> str:
        """Return how to sign in."""
        return "set " + " or ".join(method.how_to_set.format(server=server) for method in METHODS)

    def explain_403(self) -> str:
        """Return what a 403 means."""
        return "it forbids this without a sign-in, or a proxy or firewall in between does"

    def headers(self) -> dict[str, str]:
        """Return no header."""
        return {}


def _part(help_text: str, *, secret: bool = False) -> Any:
    """Declare a field of a sign-in, with the help text of its option."""
    return field(repr=not secret, metadata={"help": help_text})


@dataclass(frozen=True)
class BasicAuth(SignIn):
    """A user name and a password (RFC 7617)."""

    username: str = _part("User name for basic auth.")
    password: str = _part("the password", secret=True)

    rejected: ClassVar[str] = "the user name or password is wrong"
    how_to_set: ClassVar[str] = "--{server}-username and a password"

    def __post_init__(self) -> None:
        if not (is_utf8(self.username) and is_utf8(self.password)):
            raise SignInError("the user name and the password must be UTF-8 text")

    def headers(self) -> dict[str, str]:
        """Return the Authorization header."""
        return {"Authorization": f"Basic {self._encoded}"}

    def secrets(self) -> tuple[str, ...]:
        """Return the password and its encoded form."""
        return (self.password, self._encoded)

    @property
    def _encoded(self) -> str:
        return b64encode(f"{self.username}:{self.password}".encode()).decode()


@dataclass(frozen=True)
class BearerToken(SignIn):
    """A bearer token (RFC 6750)."""

    token: str = _part("a bearer token", secret=True)

    rejected: ClassVar[str] = "the bearer token is wrong or has expired"
    how_to_set: ClassVar[str] = "a token"

    def __post_init__(self) -> None:
        # A header could not carry it, and the library's error would show it.
        if not re.fullmatch(r"[\x21-\x7e]+", self.token):
            raise SignInError("the bearer token must be printable ASCII without spaces")

    def headers(self) -> dict[str, str]:
        """Return the Authorization header."""
        return {"Authorization": f"Bearer {self.token}"}


METHODS: tuple[type[SignIn], ...] = (BasicAuth, BearerToken)


def is_secret(part: Field[Any]) -> bool:
    """Return whether a field of a sign-in is a secret."""
    return not part.repr


def parts(*, secret: bool) -> dict[str, str]:
    """Return the help text of each part of all methods, by the part's name."""
    return {
        part.name: part.metadata["help"] for method in METHODS for part in fields(method) if is_secret(part) is secret
    }


def sign_in_with(given: Mapping[str, str | None]) -> SignIn:
    """Return the method that the given parts make up; Anonymous without any.

    Args:
        given: the value of each part by its name; None where it is not set.

    Raises:
        SignInError: if parts of two methods are set, or a part is missing.
    """
    used = [method for method in METHODS if any(given.get(part.name) is not None for part in fields(method))]
    if not used:
        return Anonymous()
    if len(used) > 1:
        raise SignInError(f"{_names(used[0])} and {_names(used[1])} are both set; use one of them")
    missing = [part.name for part in fields(used[0]) if not given.get(part.name)]
    if missing:
        present = next(part.name for part in fields(used[0]) if given.get(part.name) is not None)
        raise SignInError(f"a {present} is set, but the {missing[0]} is missing or empty")
    return used[0](**{part.name: given[part.name] for part in fields(used[0])})


def _names(method: type[SignIn]) -> str:
    return " and ".join(part.name for part in fields(method))
