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
        def connection_made(transport: asyncio.BaseTransport) -> None:
            interception.stop("connection_made")
            stands_in: Any = kind(transport)
            met(stands_in)
            made(stands_in)

        interception = Interception(factory(), connection_made=connection_made)
        made = interception.own["connection_made"]
        shown: asyncio.BaseProtocol = interception.shown
        return shown

    return build


class Interception:
    """Functions that a loop calls in place of methods of a protocol, for one connection.

    :param protocol: it may be that of other connections, too.
    :param functions: by the names of the methods.
    """

    __slots__ = ("_instead", "own", "shown")

    shown: Any
    """What to give to the loop: the protocol itself if it can be that."""
    own: dict[str, Callable[..., Any]]
    """The protocol's own methods, by their names."""

    def __init__(self, protocol: Any, **functions: Callable[..., None]) -> None:
        self.shown = protocol
        self.own = {}
        self._instead = {}
        is_shared = False
        for name, function in functions.items():
            method = getattr(protocol, name)
            if isinstance(method, _Instead):
                is_shared = True
                method = method.own
            instead = self._instead[name] = _Instead(function)
            self.own[name] = instead.own = method
        if is_shared or not self._is_set():
            self.shown = _InterceptedProtocol(protocol, self._instead)

    def stop(self, name: str) -> None:
        """Have the loop call the protocol's own method again."""
        instead = self._instead.pop(name)
        shown = self.shown
        if type(shown) is not _InterceptedProtocol and getattr(shown, name) is instead:
            delattr(shown, name)

    def _is_set(self) -> bool:
        try:
            for name, instead in self._instead.items():
                # On the object: loops look at the class of a protocol.
                setattr(self.shown, name, instead)
        except AttributeError:
            # It has slots alone.
            return False
        return True


class _Instead(partial[None]):
    __slots__ = ("own",)

    own: Callable[..., Any]


class _InterceptedProtocol(StandIn):
    __slots__ = ("_instead",)

    def __init__(self, original: Any, instead: dict[str, _Instead]) -> None:
        super().__init__(original)
        self._instead = instead

    @property  # type: ignore[misc]
    def __class__(self) -> Any:
        return type(self._original)

    def __getattr__(self, name: str) -> Any:
        if name != "_instead" and name in self._instead:
            return self._instead[name]
        return super().__getattr__(name)
