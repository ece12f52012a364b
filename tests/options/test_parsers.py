"""The parsers of options: what each text becomes, and which option an error names."""

import math
from pathlib import Path

import pytest

from push_job.metrics.extras import EXTRAS
from push_job.options import parsers
from push_job.settings import SettingsError, Tls


def test_flowers_are_parsed_in_their_order() -> None:
    flowers = parsers.parse_flowers(["a", "https://b/prefix/"], {}, Tls())
    assert [flower.url for flower in flowers] == ["http://a:80", "https://b:443/prefix"]


@pytest.mark.parametrize(
    "urls",
    [
        ["http://a:1,http://b:2"],
        ["a:1,b:2"],
        ["http://u:p@a:1,http://u:p@b:1"],
        ["http://a:1", "http://a:1/"],
        ["http://a", "http://a:80"],
        ["http://a", "http://A"],
    ],
)
def test_joined_and_repeated_flowers_are_refused(urls: list[str]) -> None:
    with pytest.raises(SettingsError, match=r"^--flower: "):
        parsers.parse_flowers(urls, {}, Tls())


def test_a_comma_in_a_path_or_an_encoded_one_in_a_password_is_allowed() -> None:
    assert len(parsers.parse_flowers(["http://a/x,y", "http://u:p%2Cw@b"], {}, Tls())) == 2


def test_grouping_is_sorted_by_name() -> None:
    assert parsers.parse_grouping(["team=shop", "env=a=b", "zone="]) == (("env", "a=b"), ("team", "shop"), ("zone", ""))


@pytest.mark.parametrize(
    "pairs",
    [
        ["novalue"],
        ["=x"],
        ["0a=1"],
        ["a-b=1"],
        ["__a=1"],
        ["job=x"],
        ["instance=x"],
        ["state=x"],
        ["le=x"],
        ["worker=x"],
        ["a=1", "a=1"],
        ["a=."],
        ["a=.."],
        ["a=\udcf6"],
    ],
)
def test_a_wrong_grouping_label_is_refused(pairs: list[str]) -> None:
    with pytest.raises(SettingsError, match=r"^--grouping: "):
        parsers.parse_grouping(pairs)


@pytest.mark.parametrize("name", ["", ".", "..", "\udcf6"])
def test_a_wrong_job_is_refused(name: str) -> None:
    with pytest.raises(SettingsError, match=r"^--job: "):
        parsers.parse_job(name)


@pytest.mark.parametrize(("text", "shard"), [("0/1", (0, 1)), ("3/4", (3, 4)), ("999998/999999", (999998, 999999))])
def test_a_shard_is_its_number_and_their_count(text: str, shard: tuple[int, int]) -> None:
    assert parsers.parse_shard(text) == shard


@pytest.mark.parametrize(
    "text", ["", "1", "1/1", "4/4", "0/0", "-1/4", "1/-4", "a/b", "0/4/8", " 0/4", "\u0660/\u0664"]
)
def test_a_wrong_shard_is_refused(text: str) -> None:
    with pytest.raises(SettingsError, match=r"^--shard: "):
        parsers.parse_shard(text)


def test_extras_keep_the_order_in_which_they_are_read() -> None:
    assert parsers.parse_extras(["all"]) == tuple(EXTRAS)
    assert parsers.parse_extras(["waits, queues", "waits"]) == tuple(
        name for name in EXTRAS if name in {"waits", "queues"}
    )
    assert parsers.parse_extras([]) == parsers.parse_extras(["", ","]) == ()
    with pytest.raises(SettingsError, match=r"^--with: .*everything"):
        parsers.parse_extras(["queues,everything"])


@pytest.mark.parametrize(("text", "bounds"), [("1", (1.0,)), ("0.1,1, 10", (0.1, 1.0, 10.0)), ("1e-3 2", (0.001, 2.0))])
def test_buckets_are_rising_numbers(text: str, bounds: tuple[float, ...]) -> None:
    assert parsers.parse_buckets(text) == bounds


@pytest.mark.parametrize("text", ["", ",", "0", "0,1", "-1,1", "1,1", "2,1", "1,inf", "inf", "nan", "1,nan", "1,x"])
def test_wrong_buckets_are_refused(text: str) -> None:
    with pytest.raises(SettingsError, match=r"^--buckets: "):
        parsers.parse_buckets(text)
    assert not math.isinf(parsers.parse_buckets("1,2")[-1])


@pytest.mark.parametrize(
    ("content", "secret"),
    [
        (b"s3cret", "s3cret"),
        (b"s3cret\n", "s3cret"),
        (b"s3cret\r\n", "s3cret"),
        (b"\xef\xbb\xbfs3cret\n", "s3cret"),
        (b" blanks \n\n", " blanks "),
        ("ö€".encode(), "ö€"),
    ],
)
def test_a_secret_file_loses_its_line_end_and_byte_order_mark(tmp_path: Path, content: bytes, secret: str) -> None:
    file = tmp_path / "secret"
    file.write_bytes(content)
    assert parsers.read_secret(str(file), "--x-file") == secret


def test_a_secret_file_that_cannot_be_read_is_refused_without_its_content(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_bytes(b"s3cret\xff")
    for path in (str(file), str(tmp_path / "missing"), str(tmp_path)):
        with pytest.raises(SettingsError, match=r"^--x-file: ") as error:
            parsers.read_secret(path, "--x-file")
        assert path in str(error.value)
        assert "s3cret" not in str(error.value)
    assert parsers.read_secret(None, "--x-file") is None
