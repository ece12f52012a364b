"""A server process of a test bed: start, wait until ready, stop, kill, pause."""

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
# Below the kernel's range for outgoing connections (from 32768), so that a port is still free after a restart.
PORTS = range(15000, 32000)


class ServiceError(Exception):
    """A service could not be started, or a condition did not become true in time."""


def wait_for(what: str, condition: Callable[[], bool], timeout: float, every: float = 0.05) -> None:
    """Wait until the condition holds.

    Raises:
        ServiceError: It does not within `timeout` seconds; the message contains `what`.
    """
    deadline = time.monotonic() + timeout
    while True:
        started = time.monotonic()
        if condition():
            return
        if time.monotonic() > deadline:
            raise ServiceError(f"timed out after {timeout:g} s waiting for {what}")
        # Check an expensive condition less often.
        time.sleep(max(every, time.monotonic() - started))


def let_signals_interrupt() -> None:
    """Make SIGINT and SIGTERM raise KeyboardInterrupt, even if SIGINT was ignored."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.default_int_handler)


def free_port() -> int:
    """Return a random free TCP port; concurrent test beds rarely collide."""
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
    """Return the path of a program.

    Raises:
        ServiceError: It is not installed; contains the name of Debian's package.
    """
    # Debian installs servers in sbin, which may not be in an ordinary user's PATH.
    path = shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
    if path is None:
        raise ServiceError(f"{program} is missing: install Debian's package {package}, or run `make servers`")
    return path


class Service(ABC):
    """A server process of a test bed.

    Subclasses define its command and when it is ready.

    Attributes:
        name: unique name in the test bed, and name of the log file.
        port: TCP port, the same for every start; 0 for a service without a port.
    """

    listens = True

    def __init__(self, folder: Path, name: str) -> None:
        """Create the service in the folder of the test bed without starting it."""
        self.folder = folder
        self.name = name
        self.port = 0
        self._process: subprocess.Popen[bytes] | None = None
        self._log_start = 0

    # Defined by subclasses.

    @abstractmethod
    def command(self) -> list[str]:
        """Return program and arguments."""

    def environment(self) -> dict[str, str]:
        """Return variables in addition to the inherited ones."""
        return {}

    @abstractmethod
    def is_ready(self) -> bool:
        """Return whether the service is ready; called repeatedly after the start."""

    # Common to all services.

    @property
    def pid(self) -> int:
        """Return the id of the main process."""
        if self._process is None:
            raise ServiceError(f"{self.name} is not running")
        return self._process.pid

    def start(self) -> None:
        """Start the service on its port and wait until it is ready.

        Raises:
            ServiceError: The program is missing, or not ready within a minute; contains the end of the log.
        """
        if self._process is not None:
            raise ServiceError(f"{self.name} is already running")
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
                raise ServiceError(f"{error}\nend of its log:\n{self._log_tail()}") from None
            except BaseException:
                self.kill()
                raise
            return
        raise ServiceError(f"{self.name}: all ports that were tried are in use\nend of its log:\n{self._log_tail()}")

    def stop(self) -> None:
        """Send SIGTERM, and SIGKILL after 10 s, if the service is running."""
        if self._process is None:
            return
        self.resume()
        self._process.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(STOP_SECONDS)
        self.kill()

    def kill(self) -> None:
        """Send SIGKILL to the service and its children, if it is running."""
        if self._process is None:
            return
        self._signal_group(signal.SIGKILL)
        self._process.wait()
        self._process = None

    def pause(self) -> None:
        """Send SIGSTOP and wait. The kernel still accepts connections.

        On a busy machine, threads of a process can run, and answer, for a short time after the signal is sent.
        """
        self._signal_group(signal.SIGSTOP)
        if self._process is not None:
            # waitid returns when the last thread has stopped, or with WEXITED if the process has ended.
            with contextlib.suppress(ChildProcessError):
                os.waitid(os.P_PID, self._process.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)

    def resume(self) -> None:
        """Send SIGCONT after `pause`."""
        self._signal_group(signal.SIGCONT)

    def log_text(self, this_start: bool = False) -> str:
        """Return the output of the service; with `this_start` only since its last start."""
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
        # Temporary folders of a killed worker are removed with the folder of the test bed.
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
                start_new_session=True,  # the test bed handles Ctrl-C
            )

    def _is_up(self) -> bool:
        if self._process is not None and (code := self._process.poll()) is not None:
            raise ServiceError(f"{self.name} ended during its start with exit code {code}")
        return self.is_ready()

    def _signal_group(self, signum: int) -> None:
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signum)
