"""Connections that another thread can break, whatever they are waiting for.

A socket's timeout starts anew with every byte, so a server that drips can hold a reader for as long as it likes, in the
middle of a header or of a TLS handshake too. Only shutting the socket down ends that.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import weakref
from functools import partial
from typing import Any

from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool, PoolManager
from urllib3.connection import HTTPConnection, HTTPSConnection

from push_job.http.errors import NoTlsError


class _Made:
    """The connections that were made, for as long as they live. Other threads make some while one breaks them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._connections: weakref.WeakSet[_Abortable] = weakref.WeakSet()

    def add(self, connection: _Abortable) -> None:
        with self._lock:
            self._connections.add(connection)

    def abort(self) -> None:
        with self._lock:
            connections = list(self._connections)
        for connection in connections:
            connection.abort()


class _Abortable:
    """A connection that another thread can break, whatever it is waiting for.

    The copy of the socket stays valid when TLS takes the socket over; shutting it down wakes the reader. The lock is
    there because its number may be that of another connection as soon as it is closed.
    """

    def __init__(self, *args: Any, made: _Made, **kwargs: Any) -> None:
        self._lock = threading.Lock()
        self._copy: socket.socket | None = None
        self._aborted = False
        self._answering = False
        super().__init__(*args, **kwargs)
        made.add(self)

    def _new_conn(self) -> socket.socket:
        sock: socket.socket = super()._new_conn()  # type: ignore[misc]  # of urllib3's class, mixed in below
        with self._lock:
            if self._aborted:  # while a name was looked up, which nothing can break
                sock.close()
                raise TimeoutError("broken off")
            self._copy = sock.dup()
        return sock

    def abort(self) -> None:
        with self._lock:
            self._aborted = True
            if self._copy is not None:
                with contextlib.suppress(OSError):
                    self._copy.shutdown(socket.SHUT_RDWR)

    def getresponse(self) -> Any:
        # http.client closes a connection here when the answer is its last one, though it is still to be read.
        self._answering = True
        try:
            return super().getresponse()  # type: ignore[misc]  # of urllib3's class, mixed in below
        finally:
            self._answering = False

    def close(self) -> None:
        super().close()  # type: ignore[misc]  # of urllib3's class, mixed in below
        if self._answering:
            return
        with self._lock:
            self._aborted = False
            if self._copy is not None:
                self._copy.close()
                self._copy = None


class _AbortableHTTPConnection(_Abortable, HTTPConnection):
    pass


class _AbortableHTTPSConnection(_Abortable, HTTPSConnection):
    def connect(self) -> None:
        try:
            super().connect()
        except TimeoutError as error:  # not while connecting, which has an error of its own
            if self.proxy is None:
                raise NoTlsError from error
            raise


class _AbortableHTTPPool(HTTPConnectionPool):
    ConnectionCls = _AbortableHTTPConnection


class _AbortableHTTPSPool(HTTPSConnectionPool):
    ConnectionCls = _AbortableHTTPSConnection


class AbortableAdapter(HTTPAdapter):
    """The requests adapter whose connections can be broken from another thread."""

    def __init__(self) -> None:
        self._made = _Made()
        super().__init__(pool_connections=2, pool_maxsize=64)
        self._use_abortable_pools(self.poolmanager)

    def proxy_manager_for(self, proxy: str, **proxy_kwargs: Any) -> Any:
        return self._use_abortable_pools(super().proxy_manager_for(proxy, **proxy_kwargs))

    def abort(self) -> None:
        self._made.abort()

    def _use_abortable_pools(self, manager: PoolManager) -> PoolManager:
        # What a pool does not know itself it gives to each connection that it makes.
        manager.pool_classes_by_scheme = {
            "http": partial(_AbortableHTTPPool, made=self._made),  # type: ignore[dict-item]  # it is only called
            "https": partial(_AbortableHTTPSPool, made=self._made),  # type: ignore[dict-item]  # the same
        }
        return manager
