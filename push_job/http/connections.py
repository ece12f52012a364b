"""Connections that another thread can break, whatever they are waiting for.

A socket's timeout starts anew with every byte, so a server that drips can hold a reader for as long as it likes, in the
middle of a header or of a TLS handshake too. Only shutting the socket down ends that.
"""

from __future__ import annotations

import contextlib
import socket
import weakref
from typing import Any

from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool, PoolManager
from urllib3.connection import HTTPConnection, HTTPSConnection


class _Abortable:
    """A connection that another thread can break, whatever it is waiting for.

    The copy of the socket stays valid when TLS takes the socket over; shutting it down wakes the reader.
    """

    _copy: socket.socket | None = None
    _aborted = False
    _answering = False

    def _new_conn(self) -> socket.socket:
        sock: socket.socket = super()._new_conn()  # type: ignore[misc]  # of urllib3's class, mixed in below
        if self._aborted:  # while a name was looked up, which nothing can break
            sock.close()
            raise TimeoutError("broken off")
        self._copy = sock.dup()
        return sock

    def abort(self) -> None:
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
        self._aborted = False
        if self._copy is not None:
            self._copy.close()
            self._copy = None


class _AbortableHTTPConnection(_Abortable, HTTPConnection):
    pass


class _AbortableHTTPSConnection(_Abortable, HTTPSConnection):
    pass


class _AbortablePool:
    """A pool that remembers the connections it has made for as long as they live."""

    def _new_conn(self) -> _Abortable:
        connection: _Abortable = super()._new_conn()  # type: ignore[misc]  # of urllib3's class, mixed in below
        self.__dict__.setdefault("made", weakref.WeakSet()).add(connection)
        return connection

    def abort(self) -> None:
        for connection in list(self.__dict__.get("made", ())):
            connection.abort()


class _AbortableHTTPPool(_AbortablePool, HTTPConnectionPool):  # type: ignore[misc]  # a narrower _new_conn
    ConnectionCls = _AbortableHTTPConnection


class _AbortableHTTPSPool(_AbortablePool, HTTPSConnectionPool):  # type: ignore[misc]  # a narrower _new_conn
    ConnectionCls = _AbortableHTTPSConnection


class AbortableAdapter(HTTPAdapter):
    """The requests adapter whose connections can be broken from another thread."""

    def __init__(self) -> None:
        super().__init__(pool_connections=2, pool_maxsize=64)
        self._use_abortable_pools(self.poolmanager)

    def proxy_manager_for(self, proxy: str, **proxy_kwargs: Any) -> Any:
        return self._use_abortable_pools(super().proxy_manager_for(proxy, **proxy_kwargs))

    def abort(self) -> None:
        for manager in (self.poolmanager, *list(self.proxy_manager.values())):
            for key in manager.pools.keys():  # noqa: SIM118 - urllib3's container is not iterable
                pool = manager.pools.get(key)
                if pool is not None:
                    pool.abort()

    @staticmethod
    def _use_abortable_pools(manager: PoolManager) -> PoolManager:
        manager.pool_classes_by_scheme = {"http": _AbortableHTTPPool, "https": _AbortableHTTPSPool}
        return manager
