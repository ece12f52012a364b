"""Run `push-job` in this process.

This is a fifth of a second faster than in a process of its own.
"""

import logging
import os
import signal
import subprocess
from collections.abc import Mapping

from click.testing import CliRunner

from push_job import log
from push_job.cli import main


def call_push_job(*args: str, env: Mapping[str, str] | None = None) -> "subprocess.CompletedProcess[str]":
    """Run the command and return what a process would have returned.

    Use it for tests of options and output. A test of signals, closed streams, memory or imports needs a process of its
    own (`push_job`).

    Args:
        args: command line arguments.
        env: variables in addition to this process's environment, which has none of push-job's.
    """
    handlers, level, propagates = log.logger.handlers[:], log.logger.level, log.logger.propagate
    stops = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    before = dict(os.environ)
    try:
        os.environ.update(env or {})
        done = CliRunner().invoke(main, args, prog_name="push-job")
    finally:
        os.environ.clear()
        os.environ.update(before)
        for number, handler in stops.items():
            signal.signal(number, handler)
        log.logger.handlers[:], log.logger.propagate = handlers, propagates
        log.logger.setLevel(level or logging.NOTSET)
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return subprocess.CompletedProcess(["push-job", *args], done.exit_code, done.stdout, done.stderr)
