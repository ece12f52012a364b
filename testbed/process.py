"""One server process: started on a free port, watched until it is ready, stopped, killed, paused."""

import contextlib
import os
import random
import shutil
import signal
import socket
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path

from testbed.guard import MARK

START_SECONDS = 60.0
STOP_SECONDS = 10.0
# Below the kernel's range for outgoing connections (32768 and up), so that a port is still free at a restart.
PORTS = range(15000, 32000)


class ServiceError(Exception):
    """A service could not be started, or did not come to what was waited for."""


def wait_for(what: str, condition: Callable[[], bool], timeout: float, every: float = 0.05) -> None:
    """Ask again and again until the condition holds.

    Raises:
        ServiceError: it did not within `timeout` seconds; the message carries `what`.
    """
    give_up = time.monotonic() + timeout
    while True:
        asked = time.monotonic()
        if condition():
            return
        if time.monotonic() > give_up:
            raise ServiceError(f"waited {timeout:g} s in vain for {what}")
        # A question that is dear to answer is asked less often.
        time.sleep(max(every, time.monotonic() - asked))


def let_signals_interrupt() -> None:
    """Make SIGINT and SIGTERM raise KeyboardInterrupt, SIGINT even where it was ignored: after a script's `&`."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.default_int_handler)


def free_port() -> int:
    """A TCP port that nothing listens on, by chance: test beds side by side seldom pick the same."""
    for port in random.sample(PORTS, 200):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("0.0.0.0", port))
            except OSError:
                continue
            return port
    raise ServiceError("found no free TCP port")


def find_program(program: str, package: str) -> str:
    """The program's path.

    Raises:
        ServiceError: it is not installed; names Debian's package.
    """
    # Debian puts servers into sbin too, which an ordinary user's PATH may lack.
    path = shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
    if path is None:
        raise ServiceError(f"{program} is missing: install Debian's package {package}, or run `make servers`")
    return path


class Service(ABC):
    """A server process of the test bed; each kind says in its own class how it starts and when it is ready.

    Attributes:
        name: unique in its test bed; the log file's name.
        port: the TCP port, the same for every start. 0 for a service that listens on none.
    """

    listens = True

    def __init__(self, folder: Path, name: str) -> None:
        """`folder` is the test bed's; nothing is started yet."""
        self.folder = folder
        self.name = name
        self.port = 0
        self._process: subprocess.Popen[bytes] | None = None
        self._log_start = 0

    # What a kind of service defines.

    @abstractmethod
    def command(self) -> list[str]:
        """Program and arguments, for the port at hand."""

    def environment(self) -> dict[str, str]:
        """Variables beside the inherited ones."""
        return {}

    @abstractmethod
    def is_ready(self) -> bool:
        """Whether it serves, asked again and again after the start."""

    # What every service does.

    @property
    def pid(self) -> int:
        """The process id of the server (of the main process, where there are several)."""
        if self._process is None:
            raise ServiceError(f"{self.name} is not running")
        return self._process.pid

    def start(self) -> None:
        """Start and wait until ready; after a stop or a kill the port stays the same.

        Raises:
            ServiceError: the program is missing, or it is not ready within a minute; shows the log's end.
        """
        if self._process is not None:
            raise ServiceError(f"{self.name} runs already")
        tries = 1 if self.port or not self.listens else 5
        for _ in range(tries):
            self.port = self.port or (free_port() if self.listens else 0)
            self._launch()
            try:
                wait_for(f"{self.name} to start", self._is_up, START_SECONDS)
            except ServiceError as error:
                self.kill()
                if "address already in use" in self.log_text(this_start=True).lower() and tries > 1:
                    self.port = 0
                    continue
                raise ServiceError(f"{error}\nits log ends:\n{self._log_tail()}") from None
            except BaseException:
                self.kill()
                raise
            return
        raise ServiceError(f"{self.name}: every port tried was taken\nits log ends:\n{self._log_tail()}")

    def stop(self) -> None:
        """SIGTERM, then wait; SIGKILL for what has not ended after 10 s. No error if it does not run."""
        if self._process is None:
            return
        self.resume()
        self._process.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(STOP_SECONDS)
        self.kill()

    def kill(self) -> None:
        """SIGKILL for the server and all its children at once. No error if it does not run."""
        if self._process is None:
            return
        self._signal_group(signal.SIGKILL)
        self._process.wait()
        self._process = None

    def pause(self) -> None:
        """SIGSTOP: connections are still accepted by the kernel, nothing is answered once this returns.

        Waits until the server has stopped: on a busy machine the threads of a process run on for a moment
        after the signal is sent, and answer.
        """
        self._signal_group(signal.SIGSTOP)
        if self._process is not None:
            # Told once the last thread has stopped (waitid(2)); WEXITED: a server that has ended is not waited for.
            with contextlib.suppress(ChildProcessError):
                os.waitid(os.P_PID, self._process.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)

    def resume(self) -> None:
        """SIGCONT after `pause`."""
        self._signal_group(signal.SIGCONT)

    def log_text(self, this_start: bool = False) -> str:
        """All that it has written to stdout and stderr; with `this_start` only since its last start."""
        data = self._log_path.read_bytes() if self._log_path.exists() else b""
        return data[self._log_start if this_start else 0 :].decode(errors="replace")

    @property
    def _log_path(self) -> Path:
        return self.folder / f"{self.name}.log"

    def _log_tail(self) -> str:
        return "\n".join(f"  {line}" for line in self.log_text(this_start=True).splitlines()[-15:]) or "  (empty)"

    def _launch(self) -> None:
        command = self.command()
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(("FLOWER_", "PUSH_JOB_"))}
        # A worker that is killed leaves its temporary folders behind: they go with the test bed's.
        own = {"TMPDIR": str(self.folder), MARK: str(self.folder)}
        with self._log_path.open("ab") as log:
            self._log_start = log.tell()
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self.folder,
                env={**inherited, **self.environment(), **own},
                start_new_session=True,  # Ctrl-C on the terminal is the test bed's to handle
            )

    def _is_up(self) -> bool:
        if self._process is not None and (code := self._process.poll()) is not None:
            raise ServiceError(f"{self.name} ended at its start with exit code {code}")
        return self.is_ready()

    def _signal_group(self, signum: int) -> None:
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signum)
