"""Every way to sign in works with both servers, and no secret is shown.

The ways are passwords, tokens, private CAs and client certificates.
"""

import ssl
from pathlib import Path
from urllib.parse import quote

import pytest
import trustme

from testbed.command import PushJob
from testbed.services import Flower, Pushgateway, Redis, Testbed
from testbed.web import Client
from tests.fakes.http import ScriptedServer, json_answer, status_answer

# Characters that break careless code: reserved ones of URLs, spaces, quotes. Flower answers 500 to others than ASCII.
USER = "ops team@example"
PASSWORD = "p@ss:w/ rd%=?#&\"'\\"
BEYOND_ASCII = PASSWORD + "ö€"


@pytest.fixture(scope="module")
def guarded_flower(testbed: Testbed, redis: Redis) -> Flower:
    return testbed.flower(redis, options=[f"--basic_auth={USER}:{PASSWORD}"], env={})


def assert_no_secret(*texts: str) -> None:
    for text in texts:
        for form in (PASSWORD, quote(PASSWORD, safe=""), quote(PASSWORD), repr(PASSWORD)[1:-1]):
            assert form not in text


def test_userinfo_in_the_url_is_percent_decoded(
    guarded_flower: Flower, clean_pushgateway: Pushgateway, push_job: PushJob
) -> None:
    url = guarded_flower.url.replace("://", f"://{quote(USER, safe='')}:{quote(PASSWORD, safe='')}@")
    done = push_job("push", "--flower", url, "--pushgateway", clean_pushgateway.url, "--verbose")
    assert done.returncode == 0, done.stderr
    (group,) = clean_pushgateway.groups()
    assert group["labels"]["instance"] == f"127.0.0.1:{guarded_flower.port}"
    assert_no_secret(done.stdout, done.stderr, Client().get(f"{clean_pushgateway.url}/metrics"))


def test_the_password_may_come_by_environment_or_file(
    guarded_flower: Flower, clean_pushgateway: Pushgateway, push_job: PushJob, tmp_path: Path
) -> None:
    options = (
        "push",
        "--flower",
        guarded_flower.url,
        "--pushgateway",
        clean_pushgateway.url,
        "--flower-username",
        USER,
    )
    assert push_job(*options, env={"PUSH_JOB_FLOWER_PASSWORD": PASSWORD}).returncode == 0
    file = tmp_path / "password"
    file.write_text(f"{PASSWORD}\n", encoding="utf-8")
    assert push_job(*options, "--flower-password-file", str(file)).returncode == 0


def test_a_password_file_completes_the_user_name_in_the_url(
    guarded_flower: Flower, clean_pushgateway: Pushgateway, push_job: PushJob, tmp_path: Path
) -> None:
    url = guarded_flower.url.replace("://", f"://{quote(USER, safe='')}@")
    file = tmp_path / "password"
    file.write_text(f"{PASSWORD}\r\n", encoding="utf-8-sig")
    options = ("--flower", url, "--pushgateway", clean_pushgateway.url, "--flower-password-file", str(file))
    done = push_job("push", *options)
    assert done.returncode == 0, done.stderr
    assert "PASSWORD" not in done.stderr
    done = push_job("push", *options, env={"PUSH_JOB_FLOWER_PASSWORD": "another"})
    assert done.returncode == 0, done.stderr
    warning, _ = done.stderr.splitlines()
    assert "level=warning" in warning
    assert "variable=PUSH_JOB_FLOWER_PASSWORD option=--flower-password-file" in warning


def test_a_wrong_password_is_refused_and_not_shown(
    guarded_flower: Flower, clean_pushgateway: Pushgateway, push_job: PushJob
) -> None:
    url = guarded_flower.url.replace("://", f"://nobody:{quote(PASSWORD, safe='')}@")
    for command in ("push", "show", "check"):
        extra = () if command == "show" else ("--pushgateway", clean_pushgateway.url)
        done = push_job(command, "--flower", url, *extra, "--verbose")
        assert done.returncode == 1
        assert "401" in done.stdout + done.stderr
        assert "--flower-username" not in done.stdout + done.stderr  # it is signed in already
        assert_no_secret(done.stdout, done.stderr)


def test_a_wrong_token_is_named_for_both_servers(quick_push_job: PushJob) -> None:
    with ScriptedServer({"*": status_answer(401)}) as server:
        done = quick_push_job(
            *("push", "--flower", server.url, "--pushgateway", server.url),
            env={"PUSH_JOB_FLOWER_TOKEN": "t0k-1", "PUSH_JOB_PUSHGATEWAY_TOKEN": "t0k-2"},
        )
    assert done.returncode == 3
    assert done.stderr.count("401") == 2
    assert "-username" not in done.stderr


def test_a_secret_that_a_server_repeats_is_not_logged(quick_push_job: PushJob) -> None:
    echo = status_answer(400, f"bad password {BEYOND_ASCII}".encode())
    with ScriptedServer({"*": echo}) as server:
        done = quick_push_job(
            *("push", "--flower", server.url, "--pushgateway", server.url, "--verbose"),
            *("--flower-username", USER, "--pushgateway-username", USER),
            env={"PUSH_JOB_FLOWER_PASSWORD": BEYOND_ASCII, "PUSH_JOB_PUSHGATEWAY_PASSWORD": BEYOND_ASCII},
        )
    assert done.returncode == 3
    assert "bad password ***" in done.stderr
    assert_no_secret(done.stderr)


def test_a_bearer_token_is_sent_to_its_server_only(quick_push_job: PushJob, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("flower-token\n")
    ok = {"/api/workers": json_answer({"celery@a": True}), "/api/tasks": json_answer({})}
    with ScriptedServer(ok) as flower, ScriptedServer({"*": status_answer(200)}) as gateway:
        done = quick_push_job(
            *("push", "--flower", flower.url, "--pushgateway", gateway.url, "--flower-token-file", str(token)),
            env={"PUSH_JOB_PUSHGATEWAY_TOKEN": "gateway-token"},
        )
    assert done.returncode == 0, done.stderr
    assert {request.headers["authorization"] for request in flower.requests} == {"Bearer flower-token"}
    assert {request.headers["authorization"] for request in gateway.pushes} == {"Bearer gateway-token"}


@pytest.mark.slow
def test_a_netrc_file_of_the_user_is_left_alone(push_job: PushJob, tmp_path: Path) -> None:
    (tmp_path / ".netrc").write_text("default login someone password else\n")
    with ScriptedServer({"*": status_answer(401)}) as server:
        push_job("push", "--flower", server.url, "--pushgateway", server.url, env={"HOME": str(tmp_path)})
    assert all("authorization" not in request.headers for request in server.requests)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> tuple[trustme.CA, Path]:
    """A private CA, and a folder with its certificates and keys.

    The files are ca.pem, server.pem, server.key, client.pem and client.key.
    """
    folder = tmp_path_factory.mktemp("pki")
    ca = trustme.CA()
    ca.cert_pem.write_to_path(str(folder / "ca.pem"))
    for name, cert in (("server", ca.issue_cert("127.0.0.1")), ("client", ca.issue_cert("job@example.com"))):
        cert.cert_chain_pems[0].write_to_path(str(folder / f"{name}.pem"))
        cert.private_key_pem.write_to_path(str(folder / f"{name}.key"))
    return ca, folder


def test_a_private_ca_and_client_certificates_work_with_both_real_servers(
    testbed: Testbed, redis: Redis, authority: tuple[trustme.CA, Path], push_job: PushJob
) -> None:
    _, folder = authority
    (folder / "web.yml").write_text(
        "tls_server_config:\n"
        f"  cert_file: {folder}/server.pem\n  key_file: {folder}/server.key\n"
        f"  client_ca_file: {folder}/ca.pem\n  client_auth_type: RequireAndVerifyClientCert\n"
    )
    context = ssl.create_default_context(cafile=str(folder / "ca.pem"))
    context.load_cert_chain(folder / "client.pem", folder / "client.key")
    gateway = testbed.pushgateway(options=[f"--web.config.file={folder}/web.yml"], client=Client(context=context))
    flower = testbed.flower(
        redis,
        options=[f"--certfile={folder}/server.pem", f"--keyfile={folder}/server.key", f"--ca_certs={folder}/ca.pem"],
    )
    flower_url, gateway_url = flower.url.replace("http:", "https:"), gateway.url.replace("http:", "https:")
    servers = ("push", "--flower", flower_url, "--pushgateway", gateway_url)
    trust = ("--flower-ca-file", f"{folder}/ca.pem", "--pushgateway-ca-file", f"{folder}/ca.pem")
    mine = [
        part
        for server in ("flower", "pushgateway")
        for kind, end in (("cert", "pem"), ("key", "key"))
        for part in (f"--{server}-{kind}-file", f"{folder}/client.{end}")
    ]
    assert push_job(*servers, *trust, *mine).returncode == 0

    untrusted = push_job(*servers, *mine)
    assert untrusted.returncode == 3
    assert untrusted.stderr.count("-ca-file") == 2

    unsigned = push_job(*servers, *trust, "--deadline", "20")
    assert unsigned.returncode == 3
    assert "Traceback" not in unsigned.stderr
    gateway.stop()
    flower.stop()
