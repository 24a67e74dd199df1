"""Transports that stand for a loop's own and show canonical addresses."""

from __future__ import annotations

import _socket
import asyncio
import socket
from collections.abc import Callable
from functools import partial
from typing import Any

from dsadapter.ready.canonical_view import CanonicalView
from dsadapter.sockets.canonical import canonical_name
from dsadapter.stand_in import StandIn

_NAMES = ("peername", "sockname")
# That of socket.socket may be canonical itself, in a program under `dsadapter run`.
_kernel_name = _socket.socket.getpeername


class CanonicalTransport(StandIn):
    """A loop's transport, as the application's protocol knows it."""

    __slots__ = ()

    @property  # type: ignore[misc]
    def __class__(self) -> Any:
        # Applications tell kinds of transports by isinstance.
        return type(self._original)

    def __repr__(self) -> str:
        return repr(self._original)

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """As the loop's own, with canonical names."""
        value = self._original.get_extra_info(name, default)
        if name in _NAMES:
            return canonical_name(value)
        if name == "socket" and value is not None:
            return CanonicalView(value)
        return value


def shows_its_names(sock: socket.socket) -> bool:
    """Whether what the kernel has as the names of a connection is canonical."""
    try:
        name = _kernel_name(sock)
    except OSError:
        # Reset already; the loop finds out.
        return False
    return canonical_name(name) is name


def canonical_factory(
    factory: Callable[[], asyncio.BaseProtocol],
    met: Callable[[Any], object] = id,
    *,
    kind: Callable[[Any], Any] = CanonicalTransport,
) -> Callable[[], asyncio.BaseProtocol]:
    """A protocol factory for one connection, whose protocol meets a :class:`CanonicalTransport`.

    :param met: called with that.
    :param kind: makes another stand-in of the loop's transport.
    """

    def build() -> asyncio.BaseProtocol:
        protocol = factory()
        made = protocol.connection_made

        def connection_made(transport: asyncio.BaseTransport) -> None:
            stop_intercepting()
            stands_in: Any = kind(transport)
            met(stands_in)
            made(stands_in)

        shown, stop_intercepting = intercepted(protocol, "connection_made", connection_made)
        return shown

    return build


def intercepted(
    protocol: asyncio.BaseProtocol, name: str, function: Callable[..., None]
) -> tuple[asyncio.BaseProtocol, Callable[[], None]]:
    """A protocol whose loop calls a function in place of one method.

    :returns: what to give to the loop, the protocol itself if it can be that; and what to call
        when the method is to be the protocol's own again.
    """
    try:
        # On the object: loops look at the class of a protocol.
        setattr(protocol, name, function)
    except AttributeError:
        # It has slots alone.
        instead: Any = _InterceptedProtocol(protocol)
        instead._instead[name] = function
        return instead, partial(instead._instead.pop, name)
    return protocol, partial(delattr, protocol, name)


class _InterceptedProtocol(StandIn):
    __slots__ = ("_instead",)

    def __init__(self, original: asyncio.BaseProtocol) -> None:
        super().__init__(original)
        self._instead: dict[str, Callable[..., None]] = {}

    @property  # type: ignore[misc]
    def __class__(self) -> Any:
        return type(self._original)

    def __getattr__(self, name: str) -> Any:
        if name != "_instead" and name in self._instead:
            return self._instead[name]
        return super().__getattr__(name)
