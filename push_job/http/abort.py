"""Connections that another thread can abort.

A socket's timeout restarts with every byte. A server that sends one byte at a
time can therefore hold a reader for as long as it likes, also in the middle of
a header or of a TLS handshake. Only shutting the socket down ends that.
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


class AbortableAdapter(HTTPAdapter):
    """A requests adapter whose connections another thread can abort."""

    def __init__(self) -> None:
        self._connections = _LiveConnections()
        super().__init__(pool_connections=2, pool_maxsize=64)
        self._use_abortable_pools(self.poolmanager)

    def proxy_manager_for(self, proxy: str, **proxy_kwargs: Any) -> Any:
        """Return the pool manager of a proxy, with abortable connections."""
        return self._use_abortable_pools(super().proxy_manager_for(proxy, **proxy_kwargs))

    def abort(self) -> None:
        """Abort every connection that is open or being opened."""
        self._connections.abort()

    def _use_abortable_pools(self, manager: PoolManager) -> PoolManager:
        # A pool passes arguments that it does not know to each connection.
        manager.pool_classes_by_scheme = {
            "http": partial(_AbortableHTTPPool, registry=self._connections),  # type: ignore[dict-item]  # only called
            "https": partial(_AbortableHTTPSPool, registry=self._connections),  # type: ignore[dict-item]  # only called
        }
        return manager


class _LiveConnections:
    """The connections that exist. Threads may add some while another one aborts them."""

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
    """Makes a urllib3 connection abortable.

    It keeps a duplicate of the socket, which stays valid when TLS takes the
    socket over. Shutting the duplicate down wakes the reader. The lock prevents
    a shutdown of a descriptor that was closed and used again.
    """

    def __init__(self, *args: Any, registry: _LiveConnections, **kwargs: Any) -> None:
        self._lock = threading.Lock()
        self._duplicate: socket.socket | None = None
        self._aborted = False
        self._answering = False
        super().__init__(*args, **kwargs)
        registry.add(self)

    def _new_conn(self) -> socket.socket:
        sock: socket.socket = super()._new_conn()  # type: ignore[misc]  # of urllib3's class, mixed in below
        with self._lock:
            if self._aborted:  # during a name lookup, which cannot be interrupted
                sock.close()
                raise TimeoutError("aborted")
            self._duplicate = sock.dup()
        return sock

    def abort(self) -> None:
        with self._lock:
            self._aborted = True
            if self._duplicate is not None:
                with contextlib.suppress(OSError):
                    self._duplicate.shutdown(socket.SHUT_RDWR)

    def getresponse(self) -> Any:
        # http.client closes the connection here if the answer is its last one, although its body is still to be read.
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
            if self._duplicate is not None:
                self._duplicate.close()
                self._duplicate = None


class _AbortableHTTPConnection(_Abortable, HTTPConnection):
    pass


class _AbortableHTTPSConnection(_Abortable, HTTPSConnection):
    def connect(self) -> None:
        try:
            super().connect()
        except TimeoutError as error:  # in the handshake; a timeout of connecting has an error of its own
            if self.proxy is None:
                raise NoTlsError from error
            raise


class _AbortableHTTPPool(HTTPConnectionPool):
    ConnectionCls = _AbortableHTTPConnection


class _AbortableHTTPSPool(HTTPSConnectionPool):
    ConnectionCls = _AbortableHTTPSConnection
