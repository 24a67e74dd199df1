"""A server whose connections come from proxies, each behind a PROXY header."""

from __future__ import annotations

import asyncio
import ssl as ssl_module
from functools import partial
from typing import Any

from dsadapter.addressing.sockaddr import SocketAddress
from dsadapter.frameworks.asyncio.loop_sockets import ProxiedHandedSocket, asks_objects
from dsadapter.frameworks.asyncio.loop_waiting import LoopWaiting
from dsadapter.frameworks.asyncio.server.accepting import ProtocolFactory
from dsadapter.frameworks.asyncio.server.served_connections import ServedConnections
from dsadapter.frameworks.asyncio.transports import CanonicalTransport, canonical_factory
from dsadapter.frameworks.selecting import watching_of
from dsadapter.listener import Listener
from dsadapter.proxied import ProxyGate
from dsadapter.proxied.proxied_socket import proxied
from dsadapter.proxied.proxied_view import ProxiedView
from dsadapter.ready.ready_socket import ReadySocket
from dsadapter.sockets.canonical import ONE_CONNECTION, CanonicalSocket
from dsadapter.sockets.failing_accepts import ACCEPT_AGAIN


class ProxiedServer(asyncio.AbstractServer):
    """What ``asyncio.Server`` is, for one socket whose connections begin with a header.

    :param sock: listening; it becomes the server's.
    :param life: the socket's, whose policy has ``proxy_from``.
    :param options: of ``loop.create_server``; those about handshakes count.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        sock: ReadySocket,
        life: Listener,
        factory: ProtocolFactory,
        ssl: ssl_module.SSLContext | None,
        options: dict[str, Any],
    ) -> None:
        self._loop = loop
        self._socket: ReadySocket | None = sock
        self._watching = watching_of(loop)
        self._life = life
        self._factory = factory
        self._options: dict[str, Any] = {}
        if ssl is not None:
            handshake = {name: options[name] for name in options if name.startswith("ssl_")}
            self._options = {"ssl": ssl, **handshake}
        self._accepting: asyncio.Task[None] | None = None
        self._served = ServedConnections(loop, sock)
        self.gate = ProxyGate(life, LoopWaiting(loop), self._passed)
        sock.setblocking(False)

    @property
    def sockets(self) -> tuple[Any, ...]:
        """The listening socket; none once it is closed."""
        return () if self._socket is None else (self._socket,)

    def get_loop(self) -> asyncio.AbstractEventLoop:
        """The loop that it serves on."""
        return self._loop

    def is_serving(self) -> bool:
        """Whether it accepts connections."""
        return self._accepting is not None

    async def start_serving(self) -> None:
        """Accept connections from now on."""
        if self._socket is not None and self._accepting is None:
            self._accepting = self._loop.create_task(self._accept(self._socket))

    async def serve_forever(self) -> None:
        """Accept connections until it is cancelled or closed."""
        await self.start_serving()
        if self._accepting is None:
            raise RuntimeError(f"server {self!r} is closed")
        await self._accepting

    def close(self) -> None:
        """Close the listening socket, and the connections that have no header yet."""
        sock, self._socket = self._socket, None
        if sock is None:
            return
        task, self._accepting = self._accepting, None
        if task is not None:
            task.cancel()
            self._watching.remove_reader(sock.fileno())
        self.gate.close()
        sock.close()

    async def wait_closed(self) -> None:
        """Wait a turn; it has closed by then."""
        await asyncio.sleep(0)

    def close_clients(self) -> None:
        """Close every connection, gracefully."""
        self._served.close()

    def abort_clients(self) -> None:
        """Close every connection at once."""
        self._served.abort()

    async def _accept(self, sock: ReadySocket) -> None:
        while True:
            try:
                try:
                    # Plugins are told of nothing that has not passed.
                    accepted, peer = CanonicalSocket.accept(sock)
                except BlockingIOError:
                    await self._readable(sock)
                    continue
            except OSError as error:
                if error.errno in ONE_CONNECTION:
                    await asyncio.sleep(0)
                    continue
                self._served.report(f"accepts again in {ACCEPT_AGAIN:g} s", error)
                await asyncio.sleep(ACCEPT_AGAIN)
            else:
                try:
                    self.gate.accepted(accepted, peer)
                except Exception as error:
                    # The loop may have no means left to wait for its header.
                    accepted.close()
                    self._served.report("accepting failed", error)
                # A flood of connections leaves the loop its turns.
                await asyncio.sleep(0)

    async def _readable(self, sock: ReadySocket) -> None:
        ready = asyncio.Event()
        self._watching.add_reader(sock.fileno(), ready.set)
        try:
            await ready.wait()
        finally:
            if sock.fileno() != -1:
                self._watching.remove_reader(sock.fileno())

    def _passed(
        self,
        sock: CanonicalSocket,
        peer: SocketAddress,
        local: SocketAddress,
        proxy: SocketAddress | None,
    ) -> None:
        try:
            lost = self._life.accepted(peer, local, proxy)
            named = proxied(sock, peer, local, lost, kind=ProxiedHandedSocket)
        except Exception as error:
            # A plugin that fails is its own business.
            sock.close()
            self._served.report("accepting failed", error)
            return
        factory = self._factory
        if not asks_objects(self._loop):
            # It reads names from the descriptor.
            factory = canonical_factory(factory, kind=partial(_ProxiedTransport, (peer, local)))
        connect = self._loop.connect_accepted_socket
        self._served.begin(named, partial(connect, factory, named, **self._options))


class _ProxiedTransport(CanonicalTransport):
    """A loop's transport under the names that a header gave."""

    __slots__ = ("_names",)

    def __init__(self, names: tuple[SocketAddress, SocketAddress], original: Any) -> None:
        super().__init__(original)
        self._names = names

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        if name == "peername":
            return self._names[0]
        if name == "sockname":
            return self._names[1]
        if name == "socket":
            value = self._original.get_extra_info(name, default)
            return None if value is None else ProxiedView(self._names, value)
        return super().get_extra_info(name, default)
