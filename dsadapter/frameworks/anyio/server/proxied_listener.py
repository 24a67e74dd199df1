"""Listening behind proxies under AnyIO: each connection when its PROXY header has come."""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping
from math import inf
from typing import Any

import anyio
import anyio.lowlevel
from anyio.abc import SocketAttribute, SocketStream

from dsadapter.addressing.sockaddr import SocketAddress
from dsadapter.frameworks.anyio.server.socket_listener import DualStackSocketListener
from dsadapter.frameworks.anyio.socket_stream import DelegatingStream, ObservedStream, plain_stream
from dsadapter.frameworks.anyio.socket_waits import notify_closing, wait_readable
from dsadapter.listener import Listener
from dsadapter.proxied.proxied_queue import Passed, ProxiedQueue
from dsadapter.proxied.proxied_view import ProxiedView
from dsadapter.ready.life import Life
from dsadapter.sockets.canonical import CanonicalSocket, PlainSocket


class ListenerBehindProxies(DualStackSocketListener):
    """One whose connections begin with a header."""

    def __init__(self, sock: CanonicalSocket, listener: Listener, life: Life) -> None:
        super().__init__(sock, listener, life)
        self.queue = ProxiedQueue(sock, listener)

    async def accept(self) -> SocketStream:
        """As AnyIO's."""
        await anyio.lowlevel.checkpoint()
        while True:
            if self._sock.fileno() < 0:
                # Who was cancelled in the turn in which it woke has seen nothing of that yet.
                await anyio.lowlevel.checkpoint_if_cancelled()
                raise anyio.ClosedResourceError
            passed = self.queue.take()
            if passed is None:
                patience = self.queue.patience
                with anyio.move_on_after(inf if patience is None else patience):
                    await wait_readable(self.queue.fileno())
                continue
            try:
                return await self._under_names(passed)
            except ConnectionResetError:
                # Nothing could be read from it.
                continue

    async def _under_names(self, passed: Passed) -> SocketStream:
        sock, peer, local, proxy = passed
        # Trio takes no subclass of socket.socket.
        plain = socket.socket(sock.family, sock.type, sock.proto, PlainSocket.detach(sock))
        stream = ProxiedStream(await plain_stream(plain, False), (peer, local))
        try:
            lost = self._listener.accepted(peer, local, proxy)
        except BaseException:
            await anyio.aclose_forcefully(stream)
            raise
        return stream if lost is None else ObservedStream(stream, lost)

    async def aclose(self) -> None:
        """As AnyIO's; connections that wait for their header are closed."""
        if self._sock.fileno() >= 0:
            notify_closing(self.queue.fileno())
            self.queue.close()
        await super().aclose()


class ProxiedStream(DelegatingStream):
    """A stream under the names that a header gave."""

    def __init__(self, original: SocketStream, names: tuple[SocketAddress, SocketAddress]) -> None:
        super().__init__(original)
        self._names = names

    @property
    def extra_attributes(self) -> Mapping[Any, Callable[[], Any]]:
        """As AnyIO's, of the client."""
        told = dict(self._original.extra_attributes)
        peer, local = self._names
        view: Any = ProxiedView(self._names, told[SocketAttribute.raw_socket]())
        told[SocketAttribute.raw_socket] = lambda: view
        told[SocketAttribute.remote_address] = lambda: peer
        told[SocketAttribute.remote_port] = lambda: peer[1]
        told[SocketAttribute.local_address] = lambda: local
        told[SocketAttribute.local_port] = lambda: local[1]
        return told
