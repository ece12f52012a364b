"""Keep the state of a Flower in a file.

With it a one-shot job can scrape incrementally.

The file is replaced completely or not at all: a new one is written, flushed and
renamed over the old one, readable by its owner only. A symbolic link to it stays
a link.

A file that is missing, cut off, damaged, from the future, of another version or
of another Flower is not used; one log line says why. A file that is not a state file
is never overwritten. `state_format` has the content.
"""

from __future__ import annotations

import contextlib
import glob
import hashlib
import logging
import os
import stat
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

from push_job import log
from push_job.flower.incremental.backoff import Backoff
from push_job.flower.incremental.state_format import Saved, UnusableError, decode, decode_attempts, encode
from push_job.flower.task import Column

#: The beginning of every state file, and of one in the current format. The SHA-256 of the rest follows.
_ANY_MAGIC = b"push-job state "
_MAGIC = _ANY_MAGIC + b"1\n"

#: Bytes of a state file; 2,000,000 tasks take 160 MB.
_SIZE_LIMIT = 2**29

#: Seconds after which a temporary file of a killed process is removed.
_ABANDONED = 3600.0


class _ForeignFileError(Exception):
    """The path leads to something that is not a state file; it must not be changed."""


class StateFile:
    """The state file of one Flower.

    Args:
        path: the file.
        flower: URL of the Flower.
        address: the Flower's ``instance``, for the log.

    Attributes:
        reason: why the file could not be used; empty if it could.
    """

    def __init__(self, path: Path, flower: str, address: str) -> None:
        self._path = path
        self._flower = flower
        self._address = address
        self._is_foreign = False
        self.reason = ""

    def load(self, columns: Iterable[Column]) -> Saved:
        """Return what was saved, with these columns; nothing if the file cannot be used."""
        level = logging.INFO
        try:
            return self._load(tuple(columns))
        except FileNotFoundError:
            reason = "the file does not exist yet"
        except OSError as error:
            reason = error.strerror or str(error)
        except UnusableError as error:
            reason = str(error)
        except _ForeignFileError as error:
            level, reason, self._is_foreign = logging.ERROR, str(error), True
        self.reason = reason
        self._log(level, "no state; reading all tasks", reason)
        return Saved()

    def attempts(self) -> Backoff | None:
        """Return the result of the last attempts of incremental scrapes, or None.

        Return None if the file cannot be used or has no state.
        """
        try:
            return decode_attempts(self._read(), self._flower)
        except (OSError, UnusableError, _ForeignFileError):
            return None

    def save(self, saved: Saved) -> None:
        """Write the file.

        A failure is only logged, because the scrape is still worth pushing.
        """
        if self._is_foreign:  # which `load` has logged
            return
        try:
            self._write(encode(saved, self._flower))
        except OSError as error:
            reason = error.strerror or str(error)
        except _ForeignFileError as error:
            reason = str(error)
        except Exception as bug:  # noqa: BLE001 - what was scraped can be pushed anyway
            reason = log.bug_text(bug, flower=self._address)
        else:
            return
        self._log(logging.WARNING, "state file not written", reason)

    def _log(self, level: int, message: str, reason: str) -> None:
        log.event(level, message, flower=self._address, state_file=str(self._path), reason=reason)

    def _load(self, columns: tuple[Column, ...]) -> Saved:
        saved, reason = decode(self._read(), self._flower, columns)
        if reason:
            self._log(logging.INFO, "only totals of the state used; reading all tasks", reason)
        return saved

    def _read(self) -> bytes:
        """Return the content. Raises OSError, UnusableError or _ForeignFileError."""
        with _open(self._path) as file:
            _check_is_state_file(file)
            if file.read(len(_MAGIC)) != _MAGIC:
                raise UnusableError("the file is of another version")
            digest = file.read(hashlib.sha256().digest_size)
            body = file.read(_SIZE_LIMIT)
        if hashlib.sha256(body).digest() != digest:
            raise UnusableError("the file is damaged")
        return body

    def _write(self, body: bytes) -> None:
        with contextlib.suppress(FileNotFoundError), _open(self._path) as existing:
            _check_is_state_file(existing)
        path = Path(os.path.realpath(self._path))  # renaming over a link would remove the link
        folder, prefix = path.parent, f".{path.name}."
        _remove_abandoned(folder, prefix)
        number, name = tempfile.mkstemp(prefix=prefix, suffix=".tmp", dir=folder)  # readable by its owner only
        try:
            with open(number, "wb") as file:
                file.write(_MAGIC)
                file.write(hashlib.sha256(body).digest())
                file.write(body)
                file.flush()
                os.fsync(file.fileno())
            os.replace(name, path)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(name)
            raise


def _open(path: Path) -> BinaryIO:
    """Open a file for reading, without waiting if it is a pipe or a terminal."""
    return open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb")


def _check_is_state_file(file: BinaryIO) -> None:
    """Raise _ForeignFileError unless the file is empty or a state file.

    Raises UnusableError if the file is too large. Otherwise its position is left at the beginning.
    """
    status = os.fstat(file.fileno())
    if not stat.S_ISREG(status.st_mode):
        raise _ForeignFileError("the path is not a regular file; it is left unchanged")
    beginning = file.read(len(_ANY_MAGIC))
    if beginning and beginning != _ANY_MAGIC:
        raise _ForeignFileError("the file is not a state file; it is left unchanged")
    if status.st_size > _SIZE_LIMIT:
        raise UnusableError("the file is too large")
    file.seek(0)


def _remove_abandoned(folder: Path, prefix: str) -> None:
    for path in folder.glob(f"{glob.escape(prefix)}*.tmp"):
        with contextlib.suppress(OSError):
            if time.time() - path.stat().st_mtime > _ABANDONED:
                path.unlink()
