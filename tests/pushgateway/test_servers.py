"""Push, check and delete report the result of each kind of server and proxy.

The server or proxy is at the Pushgateway's URL.
"""

import ssl
import time
from dataclasses import dataclass, replace

import pytest
import trustme

from push_job.checks.pushgateway import CHECK_JOB
from testbed.command import PushJob
from testbed.other_servers import Nginx
from testbed.services import Client, Prometheus, Pushgateway, Testbed
from tests.fakes.http import Script, ScriptedServer, answer, status_answer
from tests.faults.cycles import fake_flower

LIMIT = "6k"

#: The directive of an nginx that drops the body of a push.
DROPS_BODY = "proxy_set_body '';"


@pytest.fixture(scope="module")
def nginx(testbed: Testbed, pushgateway: Pushgateway) -> Nginx:
    """An nginx in front of the Pushgateway.

    It has one path for each way to disturb pushes.
    """
    target = f"proxy_pass {pushgateway.url}/;"
    users = testbed.folder / "users"
    users.write_text("ops:{PLAIN}s3cr3t\n")
    return testbed.nginx(
        f"""
        location /plain/ {{ {target} }}
        location /small/ {{ client_max_body_size {LIMIT}; {target} }}
        location /tiny/ {{ client_max_body_size 300; {target} }}
        location /dropped/ {{ {target} {DROPS_BODY} }}
        location /only/metrics/job {{ proxy_pass {pushgateway.url}/metrics/job; }}
        location /ignored/ {{ return 200; }}
        location /files/ {{ root /nonexistent; }}
        location /limited/ {{ client_max_body_size 1m; {target} }}
        location /signed/ {{ auth_basic ops; auth_basic_user_file {users}; {target} }}
        """
    )


def flower_up(pushgateway: Pushgateway) -> float:
    """Return the value of flower_up in the only group."""
    [value] = [value for (name, _), value in pushgateway.samples().items() if name == "flower_up"]
    return value


@dataclass(frozen=True)
class Expected:
    """Expected results of push, check and delete.

    Attributes:
        push: exit code of push.
        check: exit code of check.
        delete: exit code of delete.
        is_stored: whether the Pushgateway has the group between push and delete.
        said: a word that the output of push or check contains.
        options: more options.
    """

    push: int
    check: int
    delete: int
    is_stored: bool
    said: str = ""
    options: tuple[str, ...] = ()


WORKS = Expected(0, 0, 0, is_stored=True)

#: What stands at the Pushgateway's URL, and what the commands do. The names are those of `urls`.
MATRIX = {
    "Pushgateway": WORKS,
    "Pushgateway, as text": replace(WORKS, options=("--push-format", "text")),
    "nginx with a prefix": WORKS,
    "nginx that lets only pushes through": WORKS,
    "nginx with a sign-in": WORKS,
    "nginx with a sign-in that is not given": Expected(3, 1, 3, is_stored=False, said="--pushgateway-username"),
    "nginx with a limit of 1 MiB": WORKS,
    "nginx that drops the body": Expected(3, 1, 0, is_stored=False, said="body"),
    "nginx that drops the body, as text": Expected(
        3, 1, 0, is_stored=False, said="body", options=("--push-format", "text")
    ),
    "nginx that answers 200 to everything": Expected(3, 1, 0, is_stored=False, said="another server"),
    "nginx with files": Expected(3, 1, 3, is_stored=False, said="not a Pushgateway"),
    "a wrong prefix": Expected(3, 1, 3, is_stored=False, said="prefix"),
    "Pushgateway with TLS, over http": Expected(3, 1, 3, is_stored=False, said="https://"),
    "Prometheus": Expected(3, 1, 3, is_stored=False, said="it is Prometheus"),
    "VictoriaMetrics": Expected(3, 1, 3, is_stored=False, said="--push-format text"),
}


@pytest.fixture(scope="module")
def urls(
    testbed: Testbed,
    pushgateway: Pushgateway,
    prometheus: Prometheus,
    nginx: Nginx,
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[str, str]:
    """The URL of each server of the matrix."""
    return {
        "Pushgateway": pushgateway.url,
        "Pushgateway, as text": pushgateway.url,
        "nginx with a prefix": f"{nginx.url}/plain",
        "nginx that lets only pushes through": f"{nginx.url}/only",
        "nginx with a sign-in": f"{nginx.url}/signed".replace("://", "://ops:s3cr3t@"),
        "nginx with a sign-in that is not given": f"{nginx.url}/signed",
        "nginx with a limit of 1 MiB": f"{nginx.url}/limited",
        "nginx that drops the body": f"{nginx.url}/dropped",
        "nginx that drops the body, as text": f"{nginx.url}/dropped",
        "nginx that answers 200 to everything": f"{nginx.url}/ignored",
        "nginx with files": f"{nginx.url}/files",
        "a wrong prefix": f"{pushgateway.url}/wrong",
        "Pushgateway with TLS, over http": tls_pushgateway(testbed, tmp_path_factory).url.replace("https", "http"),
        "Prometheus": prometheus.url,
        "VictoriaMetrics": f"{testbed.victoriametrics().url}/api/v1/import/prometheus",
    }


def tls_pushgateway(testbed: Testbed, folders: pytest.TempPathFactory) -> Pushgateway:
    """Start a Pushgateway with TLS."""
    authority, folder = trustme.CA(), folders.mktemp("tls")
    certificate = authority.issue_cert("127.0.0.1")
    certificate.cert_chain_pems[0].write_to_path(folder / "server.pem")
    certificate.private_key_pem.write_to_path(folder / "server.key")
    (folder / "web.yml").write_text("tls_server_config: {cert_file: server.pem, key_file: server.key}")
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return testbed.pushgateway([f"--web.config.file={folder / 'web.yml'}"], Client(context=context))


@pytest.mark.limit(
    "the Pushgateway, or a proxy in front of it",
    "a success without storing the push",
    "is noticed by the first push of a process and by `check`",
)
@pytest.mark.parametrize("name", MATRIX)
def test_push_check_and_delete_report_what_happens(
    name: str, urls: dict[str, str], clean_pushgateway: Pushgateway, quick_push_job: PushJob
) -> None:
    expected = MATRIX[name]
    with fake_flower() as flower:
        options = ("--flower", flower.url, "--pushgateway", urls[name], "--deadline", "20", *expected.options)
        pushed = quick_push_job("push", *options)
        values = [value for (family, _), value in clean_pushgateway.samples().items() if family == "flower_up"]
        checked = quick_push_job("check", *options)
        deleted = quick_push_job("delete", *options)
    output = pushed.stderr + checked.stdout
    assert (pushed.returncode, checked.returncode, deleted.returncode) == (
        expected.push,
        expected.check,
        expected.delete,
    ), output + deleted.stdout
    assert values == ([1.0] if expected.is_stored else [])
    assert expected.said in output
    assert ("msg=pushed" in pushed.stderr) is expected.is_stored
    assert not any(group["labels"]["job"] == CHECK_JOB for group in clean_pushgateway.groups())
    if expected.delete == 0:
        assert clean_pushgateway.groups() == []


def test_a_push_that_is_too_large_is_repeated_without_extras(
    nginx: Nginx, clean_pushgateway: Pushgateway, push_job: PushJob
) -> None:
    with fake_flower() as flower:
        servers = ("--flower", flower.url, "--pushgateway", f"{nginx.url}/small")
        extras = ("--with", "runtimes,waits,ages,last-run", "--buckets", BOUNDS)
        assert push_job("push", *servers).returncode == 0
        assert push_job("check", *servers).returncode == 0
        checked = push_job("check", *servers, *extras)
        assert checked.returncode == 1
        assert "client_max_body_size" in checked.stdout
        done = push_job("push", *servers, *extras)
    assert done.returncode == 0
    assert "client_max_body_size" in done.stderr
    assert flower_up(clean_pushgateway) == 1


#: So many buckets that the histogram does not fit into the proxy's limit.
BOUNDS = ",".join(str(bound) for bound in range(1, 700))


def test_a_push_that_is_too_large_even_without_extras_becomes_flower_up_0(
    nginx: Nginx, clean_pushgateway: Pushgateway, push_job: PushJob
) -> None:
    with fake_flower() as flower:
        done = push_job("push", "--flower", flower.url, "--pushgateway", f"{nginx.url}/tiny")
    assert done.returncode == 3
    assert "client_max_body_size" in done.stderr
    names = {name for name, _ in clean_pushgateway.samples()}
    assert "celery_workers" not in names


ANSWERS: dict[str, Script] = {
    "204": status_answer(204),
    "a login page": answer(b"<html>Sign in</html>"),
    "JSON": answer(b'{"status": "ok"}'),
    "a redirect": status_answer(308, headers={"Location": "https://pushgateway.example/"}),
    "201": status_answer(201),
}


@pytest.mark.parametrize("name", ANSWERS)
@pytest.mark.limit(
    "the Pushgateway, or a proxy in front of it",
    "an answer that is not a Pushgateway's",
    'is exit code 3, never "pushed"',
)
def test_an_answer_of_another_server_is_exit_code_3(name: str, quick_push_job: PushJob) -> None:
    with fake_flower() as flower, ScriptedServer({"*": ANSWERS[name]}) as server:
        done = quick_push_job("push", "--flower", flower.url, "--pushgateway", server.url, "--deadline", "20")
    assert done.returncode == 3
    assert "push_error=" in done.stderr
    assert "msg=pushed" not in done.stderr


def test_a_text_push_has_the_push_time(quick_push_job: PushJob) -> None:
    with fake_flower() as flower, ScriptedServer({"*": status_answer(204)}) as server:
        done = quick_push_job("push", "--flower", flower.url, "--pushgateway", server.url, "--push-format", "text")
        assert done.returncode == 0
        (request,) = server.pushes
    assert request.headers["content-type"].startswith("text/plain")
    text = request.body.decode()
    assert "\npush_time_seconds " in text
    assert "\nflower_up 1.0" in text


def test_two_pushgateways_are_refused(quick_push_job: PushJob) -> None:
    done = quick_push_job("push", "--pushgateway", "http://127.0.0.1:1", "--pushgateway", "http://127.0.0.1:2")
    assert done.returncode == 2
    assert "--pushgateway" in done.stderr


def test_stale_groups_are_listed_and_deleted_after_a_question(
    clean_pushgateway: Pushgateway, push_job: PushJob
) -> None:
    with fake_flower() as flower:
        servers = ("--flower", flower.url, "--pushgateway", clean_pushgateway.url)
        for number in range(2):
            assert push_job("push", *servers, "--grouping", f"team=team {number}/x").returncode == 0
        other = push_job("push", *servers, "--job", "other")
        assert other.returncode == 0
    time.sleep(1.1)  # the Pushgateway's clock is read from its answers in seconds
    stale = ("delete", "--pushgateway", clean_pushgateway.url, "--stale", "0.001")
    assert push_job(*stale).returncode == 2  # without an answer nothing is deleted
    assert len(clean_pushgateway.groups()) == 3
    done = push_job(*stale, "--yes")
    assert done.returncode == 0
    assert done.stdout.count("deleted: ") == 2
    (left,) = clean_pushgateway.groups()
    assert left["labels"]["job"] == "other"
    assert push_job("delete", "--pushgateway", clean_pushgateway.url, "--stale", "1h", "--yes").returncode == 0
