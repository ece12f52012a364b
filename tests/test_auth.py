"""Each way to sign in needs its parts, sends its header and hides its secrets."""

from dataclasses import fields

import pytest

from push_job.auth import METHODS, Anonymous, BasicAuth, BearerToken, SignInError, is_secret, parts, sign_in_with

#: A value for each part, "name=" for an empty one.
ALL = {"username": "ops", "password": "s3cret", "token": "t0ken"}


@pytest.mark.parametrize(
    ("given", "method"),
    [
        ({}, Anonymous()),
        (dict.fromkeys(ALL), Anonymous()),
        ({"username": "ops", "password": "s3cret"}, BasicAuth("ops", "s3cret")),
        ({"username": "ops", "password": "s3cret", "token": None}, BasicAuth("ops", "s3cret")),
        ({"token": "t0ken"}, BearerToken("t0ken")),
    ],
)
def test_parts_make_one_method(given: dict[str, str | None], method: object) -> None:
    assert sign_in_with(given) == method


@pytest.mark.parametrize(
    "given",
    [ALL, {"username": "ops", "token": "t0ken"}, {"password": "s3cret", "token": "t0ken"}, {**ALL, "password": ""}],
)
def test_parts_of_two_methods_are_refused(given: dict[str, str | None]) -> None:
    with pytest.raises(SignInError) as error:
        sign_in_with(given)
    for name in ("username", "password", "token"):
        assert name in str(error.value)


@pytest.mark.parametrize(
    ("given", "missing"),
    [
        ({"username": "ops"}, "password"),
        ({"username": "ops", "password": None}, "password"),
        ({"username": "ops", "password": ""}, "password"),
        ({"username": "", "password": "s3cret"}, "username"),
        ({"password": "s3cret"}, "username"),
        ({"token": ""}, "token"),
    ],
)
def test_a_missing_or_empty_part_is_refused_by_name(given: dict[str, str | None], missing: str) -> None:
    with pytest.raises(SignInError, match=rf"\b{missing} is missing"):
        sign_in_with(given)


@pytest.mark.parametrize(
    "given",
    [
        {"token": "two words"},
        {"token": "new\nline"},
        {"token": "tök"},
        {"token": "\x7f"},
        {"username": "ops", "password": "\udcf6"},
        {"username": "\udcf6", "password": "s3cret"},
    ],
)
def test_a_part_that_no_header_can_carry_is_refused_and_not_shown(given: dict[str, str | None]) -> None:
    with pytest.raises(SignInError) as error:
        sign_in_with(given)
    for secret in (given.get("token"), given.get("password")):
        assert secret is None or secret not in str(error.value)


@pytest.mark.parametrize(
    ("method", "header"),
    [
        (Anonymous(), None),
        (BasicAuth("Aladdin", "open sesame"), "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="),  # the example of RFC 7617
        (BasicAuth("ö", "£"), "Basic w7Y6wqM="),
        (BearerToken("mF_9.B5f-4.1JqM"), "Bearer mF_9.B5f-4.1JqM"),  # the example of RFC 6750
    ],
)
def test_headers_are_those_of_the_rfc(method: Anonymous | BasicAuth | BearerToken, header: str | None) -> None:
    assert method.headers() == ({} if header is None else {"Authorization": header})


def test_secrets_are_hidden_as_given_and_as_sent() -> None:
    assert set(BasicAuth("Aladdin", "open sesame").secrets()) == {"open sesame", "QWxhZGRpbjpvcGVuIHNlc2FtZQ=="}
    assert BearerToken("t0ken").secrets() == ("t0ken",)
    assert Anonymous().secrets() == ()
    assert "s3cret" not in repr(BasicAuth("ops", "s3cret"))
    assert "t0ken" not in repr(BearerToken("t0ken"))


def test_every_part_is_an_option_or_a_secret() -> None:
    names = [part.name for method in METHODS for part in fields(method)]
    assert all(name.isalpha() and name not in ("ca", "cert", "key") for name in names)  # options have these names
    shown, hidden = parts(secret=False), parts(secret=True)
    assert sorted(names) == sorted([*shown, *hidden])
    assert set(hidden) == {part.name for method in METHODS for part in fields(method) if is_secret(part)}
    assert set(hidden) == {"password", "token"}


@pytest.mark.parametrize("server", ["flower", "pushgateway", "grafana"])
def test_a_401_without_a_sign_in_names_every_method(server: str) -> None:
    words = Anonymous().explain_401(server)
    assert f"--{server}-username" in words
    assert "token" in words
    for method in (BasicAuth("ops", "s3cret"), BearerToken("t0ken")):
        assert "--" not in method.explain_401(server)  # it is signed in already
