"""From options, environment variables and files to Settings, checked before the first request."""

from __future__ import annotations

import logging
import os
import ssl
from collections.abc import Callable, Iterable, Iterator
from importlib.util import find_spec
from typing import Any

import click

from push_job import log
from push_job.http.client import proxy_of
from push_job.options.click_options import DEFAULT_FLOWER, DEFAULT_PUSHGATEWAY, OneLineError
from push_job.options.parsers import (
    parse_buckets,
    parse_extras,
    parse_flowers,
    parse_grouping,
    parse_job,
    parse_shard,
    read_secret,
)
from push_job.settings import Credentials, Endpoint, Settings, SettingsError, Tls

#: The kinds of servers, each with options of its own.
_SERVERS = ("flower", "pushgateway", "prometheus", "grafana")


def read_settings(options: dict[str, Any]) -> Settings:
    """Check the options once and set up the log. Raises OneLineError."""
    try:
        settings = _settings(options)
        secrets = settings.secrets() + _check_proxies(settings.servers)
    except SettingsError as error:
        raise OneLineError(str(error)) from None
    log.set_up(options["log_format"], verbose=options["verbose"], redact=log.Redactor(secrets))
    for name in sorted(_unknown_variables()):
        log.event(logging.WARNING, "no option has this variable; is it spelt right?", variable=name)
    for variable, file_option in _overruled_variables(options):
        log.event(logging.WARNING, "not read, for there is a file too", variable=variable, option=file_option)
    if not settings.flowers:
        log.event(logging.INFO, "no Flower falls into this shard", shard=options["shard"])
    return settings


def _unknown_variables() -> set[str]:
    """Variables that look like settings and are none, as a misspelt one in a manifest."""
    program = click.get_current_context().find_root().command
    commands = program.commands.values() if isinstance(program, click.Group) else [program]
    known = {_variable(server, name) for server in _SERVERS for name in Credentials.names(secret=True)}
    for parameter in (parameter for command in commands for parameter in command.params):
        known.update([parameter.envvar] if isinstance(parameter.envvar, str) else parameter.envvar or ())
    return {name for name in os.environ if name.startswith("PUSH_JOB_")} - known


def _settings(options: dict[str, Any]) -> Settings:
    given = {name: value for name, value in options.items() if value is not None}
    flower_access = _credentials("flower", options), _tls("flower", options)
    gateway_access = _credentials("pushgateway", options), _tls("pushgateway", options)
    flowers = parse_flowers(options["flower"] or [DEFAULT_FLOWER], *flower_access)
    several = len(flowers) > 1
    if options["shard"]:
        index, count = parse_shard(options["shard"])
        flowers = flowers[index::count]
    return Settings(
        flowers=flowers,
        several=several,
        pushgateway=Endpoint.parse(given.get("pushgateway", DEFAULT_PUSHGATEWAY), "--pushgateway", *gateway_access),
        prometheus=_behind("prometheus", given),
        grafana=_behind("grafana", given),
        **{name: parse(given[name]) for name, parse in _PARSERS.items() if name in given},
    )


def _behind(server: str, given: dict[str, Any]) -> Endpoint | None:
    """A server behind the Pushgateway, if its URL is given."""
    if not given.get(server):  # an empty variable is one that is not set
        return None
    return Endpoint.parse(given[server], f"--{server}", _credentials(server, given), _tls(server, given))


#: How the value of each option that is one of the Settings is read; what click has checked already stays as it is.
_PARSERS: dict[str, Callable[[Any], Any]] = {
    "job": parse_job,
    "grouping": parse_grouping,
    "extras": parse_extras,
    "buckets": parse_buckets,
    "timeout": float,
    "deadline": float,
    "page_size": int,
    "max_task_types": int,
    "forget_workers_after": float,
    "state_file": str,
    "full_every": float,
}


def _credentials(server: str, options: dict[str, Any]) -> Credentials:
    parts = {name: options.get(f"{server}_{name}") for name in Credentials.names(secret=False)}
    for name in Credentials.names(secret=True):
        path = options.get(f"{server}_{name}_file")
        # An empty variable is one that is not set: compose and manifests make such of what nobody has set.
        parts[name] = read_secret(path, f"--{server}-{name}-file") or os.environ.get(_variable(server, name)) or None
    try:
        return Credentials(**parts)
    except SettingsError as error:
        raise SettingsError(f"{server.title()}'s sign-in: {error}") from None


def _overruled_variables(options: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Variables of secrets that are set beside an option with a file, which goes first; and that option."""
    for server in _SERVERS:
        for name in Credentials.names(secret=True):
            if options.get(f"{server}_{name}_file") and os.environ.get(_variable(server, name)):
                yield _variable(server, name), f"--{server}-{name}-file"


def _variable(server: str, name: str) -> str:
    """The environment variable of a secret, which has no option."""
    return f"PUSH_JOB_{server}_{name}".upper()


def _tls(server: str, options: dict[str, Any]) -> Tls:
    ca, cert, key = (options.get(f"{server}_{kind}_file") for kind in ("ca", "cert", "key"))
    if key and not cert:
        raise SettingsError(f"--{server}-key-file needs --{server}-cert-file")
    if ca:
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(ca)
        except OSError:  # which ssl.SSLError is
            raise SettingsError(f"--{server}-ca-file: {ca} is no PEM file of certificates") from None
    if cert:
        try:
            # Left alone, each connection would ask at the terminal for a passphrase.
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_cert_chain(cert, key, password=lambda: "")
        except OSError:
            holds = f"{cert} is no certificate with the key in {key}" if key else f"{cert} holds no certificate and key"
            raise SettingsError(f"--{server}-cert-file: {holds}, in PEM and without a passphrase") from None
    return Tls(ca, cert, key)


def _check_proxies(servers: Iterable[Endpoint]) -> tuple[str, ...]:
    """The secrets of the proxies in the environment; raises SettingsError when one is no URL."""
    secrets: set[str] = set()
    for url in {server.url for server in servers}:
        proxy = proxy_of(url)
        variable = f"{url.partition(':')[0].upper()}_PROXY or ALL_PROXY in the environment"
        if proxy and proxy.startswith("socks"):
            # What a SOCKS proxy may look like is for its library to say.
            if find_spec("socks") is None:
                raise SettingsError(f"{variable} is a SOCKS proxy: pip install PySocks")
        elif proxy:
            secrets.update(Endpoint.parse(proxy, variable, Credentials(), Tls()).credentials.secrets())
    return tuple(secrets)
