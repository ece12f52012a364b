"""A real Flower with `--auth`, which no program can read."""

from testbed.command import PushJob
from testbed.services import Pushgateway, Redis, Testbed


def test_a_flower_with_oauth_is_reported_with_what_works(
    testbed: Testbed, redis: Redis, clean_pushgateway: Pushgateway, push_job: PushJob
) -> None:
    options = [
        "--auth=.*@example\\.com",
        "--auth_provider=flower.views.auth.GoogleAuth2LoginHandler",
        "--oauth2_key=key",
        "--oauth2_secret=secret",
        "--oauth2_redirect_uri=http://127.0.0.1/login",
    ]
    flower = testbed.flower(redis, options)
    for url in (flower.url, flower.url.replace("://", "://ops:pw@")):
        servers = ("--flower", url, "--pushgateway", clean_pushgateway.url)
        pushed, checked = push_job("push", *servers), push_job("check", *servers)
        assert (pushed.returncode, checked.returncode) == (1, 1)
        assert "--auth" in pushed.stderr
        assert "--auth" in checked.stdout
    flower.kill()
