"""AnyIO's streams of connections, with canonical attributes."""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any

import anyio.lowlevel
from anyio.abc import SocketAttribute, SocketStream

from dsadapter.ready.canonical_view import CanonicalView
from dsadapter.ready.life import Life
from dsadapter.sockets.families import BY_NUMBER

FRAMEWORK = "anyio"
LISTENING = {"host": "local_host", "port": "local_port", **BY_NUMBER}
"""Parameters as AnyIO's users type them."""

_TCP, _NO_DELAY = int(socket.IPPROTO_TCP), int(socket.TCP_NODELAY)


Make = Callable[[socket.socket], Awaitable[SocketStream]]


def of_back_end(name: str, else_: Callable[..., Any]) -> Callable[..., Any]:
    """A function of the running back end itself; AnyIO's own, which looks for the back end each
    time, where AnyIO does not tell it. To be asked for in the event loop."""
    token = getattr(anyio.lowlevel, "current_token", int)()
    found: Callable[..., Any] = getattr(getattr(token, "backend_class", None), name, else_)
    return found


def closes_alone() -> bool:
    """Whether streams of the running back end alone close their sockets, as on Trio; a transport of
    asyncio's does so, too, when the connection is reset."""
    wrap = of_back_end("wrap_stream_socket", SocketStream.from_socket)
    return wrap.__module__.endswith("_trio")


async def plain_stream(
    sock: socket.socket, is_mapped: bool, make: Make = SocketStream.from_socket
) -> SocketStream:
    """AnyIO's own stream where the kernel shows canonical names of a connection, and else one of
    ours; it takes the socket's place.

    :param is_mapped: whether they are mapped.
    :param make: makes a stream of a socket.
    :raises ConnectionResetError: if its peer has reset it already.
    """
    try:
        # As AnyIO does; macOS refuses it where the peer has gone.
        with suppress(OSError):
            sock.setsockopt(_TCP, _NO_DELAY, 1)
        stream = await make(sock)
    except ValueError as error:
        sock.close()
        raise ConnectionResetError(str(error)) from error
    except BaseException:
        # uvloop before 0.23, when it is cancelled, has closed the descriptor already.
        with suppress(OSError):
            sock.close()
        raise
    return CanonicalSocketStream(stream) if is_mapped else stream


class DelegatingStream(SocketStream):
    """A stream that does what its original does."""

    def __init__(self, original: SocketStream) -> None:
        self._original = original

    async def receive(self, max_bytes: int = 65536) -> bytes:
        """As AnyIO's."""
        return await self._original.receive(max_bytes)

    async def send(self, item: bytes) -> None:
        """As AnyIO's."""
        await self._original.send(item)

    async def send_eof(self) -> None:
        """As AnyIO's."""
        await self._original.send_eof()

    async def aclose(self) -> None:
        """As AnyIO's."""
        await self._original.aclose()

    @property
    def extra_attributes(self) -> Mapping[Any, Callable[[], Any]]:
        """As AnyIO's."""
        return self._original.extra_attributes

    @property
    def _raw_socket(self) -> socket.socket:
        return self.extra(SocketAttribute.raw_socket)


class CanonicalSocketStream(DelegatingStream):
    """One whose descriptor the kernel keeps mapped, because its peer has half-closed it."""

    @property
    def extra_attributes(self) -> Mapping[Any, Callable[[], Any]]:
        """As AnyIO's, canonical."""
        told = dict(self._original.extra_attributes)
        view: Any = CanonicalView(told[SocketAttribute.raw_socket]())
        told[SocketAttribute.raw_socket] = lambda: view
        told[SocketAttribute.family] = lambda: view.family
        told[SocketAttribute.local_address] = view.getsockname
        if SocketAttribute.remote_address in told:
            peer = view.getpeername()
            told[SocketAttribute.remote_address] = lambda: peer
        return told


class ObservedStream(DelegatingStream):
    """One that plugins want to know the end of.

    :param lost: called when it is closed.
    """

    def __init__(self, original: SocketStream, lost: Callable[[], None]) -> None:
        super().__init__(original)
        self._life = Life(self, lost)

    async def aclose(self) -> None:
        """As AnyIO's; plugins are told just before."""
        try:
            self._life.end(self)
        finally:
            await super().aclose()

    def __del__(self) -> None:
        life = getattr(self, "_life", None)
        if life is not None:
            life.end(self)
