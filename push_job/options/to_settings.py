"""Make Settings of options, environment variables and files.

They are checked before the first request.
"""

from __future__ import annotations

import logging
import os
import ssl
from collections.abc import Iterable, Iterator
from importlib.util import find_spec
from typing import Any

import click

from push_job import auth, log
from push_job.http.client import proxy_of
from push_job.options.parsers import parse_flowers, parse_shard, read_secret, urls_of
from push_job.options.table import DEFAULT_FLOWER, DEFAULT_PUSHGATEWAY, PARSERS, SERVERS, variable_of
from push_job.options.usage import OneLineError
from push_job.settings import Endpoint, Settings, SettingsError, Tls
from push_job.text import Redactor


def read_settings(options: dict[str, Any]) -> Settings:
    """Check the options once and set up the log.

    Args:
        options: the values by click's parameter names.

    Raises:
        OneLineError: if a setting is wrong.
    """
    try:
        settings = _settings(options)
    except SettingsError as error:
        raise OneLineError(str(error)) from None
    log.set_up(options["log_format"], verbose=options["verbose"], redact=Redactor(settings.secrets()))
    for name in sorted(_unknown_variables()):
        log.event(logging.WARNING, "unknown environment variable", variable=name)
    for variable, option in _ignored_variables(options):
        log.event(logging.WARNING, "environment variable ignored; the file is used", variable=variable, option=option)
    if not settings.flowers:
        log.event(logging.INFO, "no Flower in this shard", shard=options["shard"])
    return settings


def _settings(options: dict[str, Any]) -> Settings:
    given = {name: value for name, value in options.items() if value is not None}
    access = _sign_in("flower", given), _tls("flower", given)
    flowers = parse_flowers(urls_of(options["flower"]) or [DEFAULT_FLOWER], *access)
    mine = flowers
    if options["shard"]:
        index, count = parse_shard(options["shard"])
        mine = flowers[index::count]
    pushgateway, *others = (
        _server("pushgateway", url, given) for url in given.get("pushgateway") or (DEFAULT_PUSHGATEWAY,)
    )
    if others:
        raise SettingsError(
            "--pushgateway is given twice; run one job per Pushgateway, so that one cannot delay the other"
        )
    prometheus, grafana = (
        _server(name, given[name], given) if given.get(name) else None for name in ("prometheus", "grafana")
    )
    servers = (*flowers, pushgateway, *filter(None, (prometheus, grafana)))
    values: dict[str, Any] = {field: parse(given[field]) for field, parse in PARSERS.items() if field in given}
    return Settings(
        flowers=mine,
        sharded=len(flowers) > len(mine),
        pushgateway=pushgateway,
        prometheus=prometheus,
        grafana=grafana,
        proxy_secrets=_proxy_secrets(servers),
        **values,
    )


def _server(server: str, url: str, options: dict[str, Any]) -> Endpoint:
    return Endpoint.parse(url, f"--{server}", _sign_in(server, options), _tls(server, options))


def _sign_in(server: str, options: dict[str, Any]) -> dict[str, str | None]:
    """Return the parts of the sign-in to one kind of server.

    Options, files and variables set them.
    """
    given: dict[str, str | None] = {name: options.get(f"{server}_{name}") for name in auth.parts(secret=False)}
    for name in auth.parts(secret=True):
        text = read_secret(options.get(f"{server}_{name}_file"), f"--{server}-{name}-file")
        # Compose files and manifests set an empty variable where nobody has set a value. A line end is that of a file
        # with variables, written on Windows.
        variable = os.environ.get(variable_of(f"{server}-{name}"), "").rstrip("\r\n")
        given[name] = text if text is not None else variable or None
    return given


def _secret_options() -> Iterator[tuple[str, str]]:
    """Yield the environment variable of each secret and the option for its file."""
    for server in SERVERS:
        for name in auth.parts(secret=True):
            yield variable_of(f"{server}-{name}"), f"--{server}-{name}-file"


def _unknown_variables() -> set[str]:
    """Return variables that look like options but are not.

    An example is a misspelt one in a manifest.
    """
    program = click.get_current_context().find_root().command
    commands = program.commands.values() if isinstance(program, click.Group) else [program]
    known = {variable for variable, _ in _secret_options()}
    for parameter in (parameter for command in commands for parameter in command.params):
        known.update([parameter.envvar] if isinstance(parameter.envvar, str) else parameter.envvar or ())
    return {name for name in os.environ if name.startswith("PUSH_JOB_")} - known


def _ignored_variables(options: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield ignored variables of secrets, and the options of their files.

    A variable is ignored if a file is given too.
    """
    for variable, option in _secret_options():
        if options.get(option.strip("-").replace("-", "_")) and os.environ.get(variable):
            yield variable, option


def _tls(server: str, options: dict[str, Any]) -> Tls:
    ca, cert, key = (options.get(f"{server}_{kind}_file") for kind in ("ca", "cert", "key"))
    if key and not cert:
        raise SettingsError(f"--{server}-key-file needs --{server}-cert-file")
    if ca:
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(ca)
        except OSError:  # includes ssl.SSLError
            raise SettingsError(f"--{server}-ca-file: {ca} is not a PEM file of certificates") from None
    if cert:
        try:
            # Without a password function, every connection would ask for a passphrase at the terminal.
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_cert_chain(cert, key, password=lambda: "")
        except OSError:
            wrong = f"{cert} does not match the key in {key}" if key else f"{cert} has no certificate and key"
            raise SettingsError(f"--{server}-cert-file: {wrong}; both must be PEM without a passphrase") from None
    return Tls(ca, cert, key)


def _proxy_secrets(servers: Iterable[Endpoint]) -> tuple[str, ...]:
    """Return the secrets in the URLs of the environment's proxies.

    Raises:
        SettingsError: if a proxy's URL is invalid or PySocks is missing.
    """
    secrets: set[str] = set()
    for url in {server.url for server in servers}:
        proxy = proxy_of(url)
        variable = f"{url.partition(':')[0].upper()}_PROXY or ALL_PROXY in the environment"
        if proxy and proxy.startswith("socks"):
            if find_spec("socks") is None:
                raise SettingsError(f"{variable} is a SOCKS proxy: pip install PySocks")
        elif proxy:
            secrets.update(Endpoint.parse(proxy, variable).sign_in.secrets())
    return tuple(secrets)
