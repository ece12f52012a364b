"""Parsing of URLs, names of state files and grouping keys."""

from pathlib import Path

import pytest

from push_job.auth import Anonymous, BasicAuth, BearerToken
from push_job.settings import Endpoint, Settings, SettingsError


@pytest.mark.parametrize(
    ("text", "url", "address"),
    [
        ("http://flower:5555", "http://flower:5555", "flower:5555"),
        ("flower", "http://flower:80", "flower:80"),
        ("flower:5555", "http://flower:5555", "flower:5555"),
        ("https://flower", "https://flower:443", "flower:443"),
        ("HTTP://FLOWER:5555/", "http://flower:5555", "flower:5555"),
        ("http://flower/prefix/", "http://flower:80/prefix", "flower:80/prefix"),
        ("http://flower/a/../b/./", "http://flower:80/b", "flower:80/b"),
        ("http://[::1]:5555", "http://[::1]:5555", "[::1]:5555"),
        ("http://user:pw@flower:5555", "http://flower:5555", "flower:5555"),
        ("http://flower:65535", "http://flower:65535", "flower:65535"),
    ],
)
def test_a_url_becomes_an_address_without_credentials(text: str, url: str, address: str) -> None:
    endpoint = Endpoint.parse(text, "--flower")
    assert endpoint.url == url
    assert endpoint.address == address
    assert "pw" not in endpoint.url + endpoint.address + repr(endpoint)


@pytest.mark.parametrize(
    ("text", "given", "sign_in"),
    [
        ("http://f", {}, Anonymous()),
        ("http://f", {"token": "t"}, BearerToken("t")),
        ("http://u:p%40%2F%25@f", {}, BasicAuth("u", "p@/%")),
        ("http://u%3A:p:q@f", {}, BasicAuth("u:", "p:q")),
        ("http://u@f", {"password": "given"}, BasicAuth("u", "given")),
        ("http://u:p@f", {"username": "other", "password": "given"}, BasicAuth("u", "p")),
        ("http://u:p@f", {"token": "t"}, BasicAuth("u", "p")),
    ],
)
def test_userinfo_replaces_the_given_sign_in(text: str, given: dict[str, str | None], sign_in: object) -> None:
    assert Endpoint.parse(text, "--flower", given).sign_in == sign_in


@pytest.mark.parametrize(
    "text",
    [
        *("", "http://", "http://:5555", "ftp://f", "htpp://f", "http:/f", "http//f", "http://http://f", "https:f"),
        *(
            "http://f:0",
            "http://f:65536",
            "http://f:port",
            "http://f:-1",
            "http://f:5555x",
            "f:5555x",
            "::1",
            "http://::1",
        ),
        *("http://f/?x=1", "http://f/#x", "http://f /", "http://f\n", "http://f/\x00", "http://f/\udcf6"),
        *(
            "http://u:SECRET@",
            "http://u:SEC/RET@f",
            "http://u:SEC RET@f",
            "http://u:SECRET@f:x",
            "u:SECRET",
            "http://u@f",
        ),
        *("http://[::1", "http://u:SECRET@[::1"),
    ],
)
def test_an_invalid_url_is_refused_by_option_and_without_secrets(text: str) -> None:
    with pytest.raises(SettingsError, match=r"^--flower: ") as error:
        Endpoint.parse(text, "--flower")
    assert "SEC" not in str(error.value)
    assert "RET" not in str(error.value)


def settings(*urls: str, **changes: object) -> Settings:
    """Return settings with these Flowers."""
    flowers = tuple(Endpoint.parse(url, "--flower") for url in urls)
    return Settings(flowers, Endpoint.parse("http://gateway:9091", "--pushgateway"), **changes)  # type: ignore[arg-type]  # of various types


def test_one_flower_has_the_state_file_itself() -> None:
    one = settings("http://a", state_file="/s/state")
    assert one.state_path(one.flowers[0]) == Path("/s/state")
    without = settings("http://a")
    assert without.state_path(without.flowers[0]) is None


def test_each_of_several_flowers_has_a_state_file_of_its_own() -> None:
    urls = (
        "http://a:1/x",
        "http://a:1/x_",
        "http://a_1/x",
        "https://a:1/x",
        f"http://{'h' * 200}/1",
        f"http://{'h' * 200}/2",
    )
    several = settings(*urls, state_file="/s/state")
    paths = [several.state_path(flower) for flower in several.flowers]
    assert len(set(paths)) == len(urls)
    for path in paths:
        assert path is not None
        assert path.parent == Path("/s")
        assert path.name.startswith("state.")
        assert len(path.name) < 150


def test_a_shard_of_one_flower_has_the_file_it_would_have_among_others() -> None:
    several = settings("http://a", "http://b", state_file="state")
    shard = settings("http://a", state_file="state", sharded=True)
    assert shard.state_path(shard.flowers[0]) == several.state_path(several.flowers[0]) != Path("state")


def test_the_grouping_key_has_job_and_instance() -> None:
    one = settings("http://user:pw@a:1/x", job="shop", grouping=(("team", "web"),))
    assert one.grouping_key(one.flowers[0]) == {"job": "shop", "instance": "a:1/x", "team": "web"}


@pytest.mark.parametrize(("deadline", "reserve"), [(50.0, 5.0), (25.0, 5.0), (10.0, 2.0), (1.0, 0.2), (3600.0, 5.0)])
def test_a_fifth_of_the_deadline_is_reserved_but_at_most_five_seconds(deadline: float, reserve: float) -> None:
    assert settings("http://a", deadline=deadline).push_reserve == pytest.approx(reserve)


def test_secrets_are_those_of_all_servers() -> None:
    prometheus = Endpoint.parse("http://u:prometheus-pw@p", "--prometheus")
    one = settings("http://u:flower-pw@a", prometheus=prometheus, proxy_secrets=("proxy-pw",))
    assert {"flower-pw", "prometheus-pw", "proxy-pw"} <= set(one.secrets())
