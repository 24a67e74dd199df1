"""What observers are told: one frozen record a call, with canonical addresses only.

A record is compared by identity: the one of ``dsadapter_connection_lost`` is the very object of
``dsadapter_connection_made``. Later versions add attributes and take none away.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Literal, Protocol, Self
from weakref import ref

from dsadapter.addressing.sockaddr import SocketAddress
from dsadapter.messages import printable, quoted
from dsadapter.policy import Family

if TYPE_CHECKING:
    from dsadapter.hooks.contracts import IListener

__all__ = [
    "Attempt",
    "Connection",
    "Direction",
    "Family",
    "Leak",
    "LeakOperation",
    "Operation",
    "Refusal",
]

# Paths have 4096 bytes at most (PATH_MAX).
_LONGEST_PLACE = 5000

Direction = Literal["inbound", "outbound"]
"""Who began a connection: the peer, or this program."""

Operation = Literal["listen", "accept", "connect"]
"""What was refused."""


LeakOperation = Literal[
    "connect",
    "bind",
    "sendto",
    "sendmsg",
    "getaddrinfo",
    "getnameinfo",
    "gethostbyname",
    "gethostbyaddr",
]
"""The call that a mapped address was handed to."""


def family_of(address: SocketAddress) -> Family:
    """The family of a canonical address."""
    return "ipv4" if len(address) == 2 else "ipv6"


Ask = Callable[[], SocketAddress]
"""Asks for the local address of a connection, canonical, with its zone if it has one; raises
``OSError`` where nobody knows it any more."""


class Arrived(Protocol):
    """What knows both addresses of a connection."""

    def local_address(self) -> SocketAddress:
        """Canonical, with its zone if it has one."""

    def peer_address(self) -> SocketAddress:
        """Likewise."""


_COUNTS = hasattr(sys, "getrefcount")
references: Callable[[object], int] = sys.getrefcount if _COUNTS else lambda _: 1


def _references_of_one() -> int:
    one = object()
    return references(one)


ALONE = _references_of_one() if _COUNTS else 0
"""How many :func:`references` an object has to a function that has the only one: a record that has
no more than them needs no address, as nobody will read it. Where nobody counts them, as on PyPy,
fewer than any record has."""


class _AskedLater:
    """A record that asks for what many never want to know when somebody does."""

    __slots__ = ("_named", "family")

    _named: Ask | ref[Arrived] | None
    """Who is asked for what is not known yet; None once all of it is."""
    family: Family
    """The address family that the peer speaks."""
    listener: IListener | None
    local: SocketAddress
    peer: SocketAddress

    def __getattr__(self, name: str) -> Any:
        if name == "local":
            return self._local()
        if name == "peer":
            return self._peer()
        # Of a connection that is told of by its socket.
        if name == "framework" and self.listener is not None:
            return self.listener.framework
        if name == "direction":
            return "inbound"
        if name == "proxy":
            return None
        raise AttributeError(
            f"{type(self).__name__!r} object has no attribute {name!r}", name=name, obj=self
        )

    def _local(self) -> SocketAddress:
        named = self._named
        if named is None:
            # Another thread has asked meanwhile.
            return self.local
        peer = self.peer
        if isinstance(named, ref):
            arrived = named()
            named = None if arrived is None else arrived.local_address
        local = unspecified(self.family) if named is None else local_of(named, peer)
        if self._named is None:
            # Another thread has, and the connection may have gone since.
            return self.local
        _set_local(self, local)
        _set_named(self, None)
        return local

    def _peer(self) -> SocketAddress:
        named = self._named
        if named is None:
            return self.peer
        arrived = named() if isinstance(named, ref) else None
        peer = unspecified(self.family) if arrived is None else arrived.peer_address()
        if self._named is None:
            return self.peer
        _set_peer(self, peer)
        return peer


_set_named = vars(_AskedLater)["_named"].__set__
_set_family = vars(_AskedLater)["family"].__set__


def local_of(ask: Ask, peer: SocketAddress) -> SocketAddress:
    """The local address of a connection; an unspecified one where the system knows none any more:
    the application has taken the descriptor away, or, on the BSDs and macOS, its peer has left."""
    try:
        return ask()
    except OSError:
        return unspecified(family_of(peer))


def unspecified(family: Family) -> SocketAddress:
    """An address of a connection where nobody knows it: any of its family."""
    return ("0.0.0.0", 0) if family == "ipv4" else ("::", 0, 0, 0)


@dataclass(frozen=True, slots=True, eq=False, init=False)
class Connection(_AskedLater):
    """One stream connection."""

    framework: str
    """The name of the framework that carries it, such as ``twisted``."""
    listener: IListener | None
    """The listener that accepted it; None for one that this program made."""
    peer: SocketAddress
    """``(host, port)`` of an IPv4 peer; ``(host, port, flow info, scope id)`` of an IPv6 one, the
    host with its zone if it has one."""
    local: SocketAddress
    """The address of this end, in the same form; an unspecified one if the application took the
    descriptor away or let go of it unclosed before anybody asked, or the system has forgotten
    it."""
    direction: Direction
    translated: bool
    """Whether the kernel names whoever connected, the peer or its proxy, by an IPv4-mapped
    address."""
    proxy: SocketAddress | None
    """The proxy whose PROXY header said ``peer`` and ``local``, in the same form; None if they are
    those of the connection itself."""

    def __init__(
        self,
        framework: str,
        listener: IListener | None,
        peer: SocketAddress,
        local: SocketAddress | Ask,
        direction: Direction,
        translated: bool,
        proxy: SocketAddress | None = None,
    ) -> None:
        _set_framework(self, framework)
        _set_listener(self, listener)
        _set_peer(self, peer)
        _set_family(self, family_of(peer))
        if isinstance(local, tuple):
            _set_local(self, local)
        else:
            _set_named(self, local)
        _set_direction(self, direction)
        _set_translated(self, translated)
        _set_proxy(self, proxy)

    @classmethod
    def connected(
        cls, framework: str, peer: SocketAddress, local: SocketAddress, translated: bool
    ) -> Self:
        """The record of a connection that this program has made.

        :param peer: canonical, as ``local`` is.
        """
        return cls(framework, None, peer, local, "outbound", translated)

    def __reduce__(self) -> tuple[Any, ...]:
        return Connection, tuple(getattr(self, field.name) for field in fields(self))


@dataclass(frozen=True, slots=True, eq=False)
class Refusal:
    """An operation that did not happen, because a plugin or the application said no."""

    framework: str
    operation: Operation
    address: SocketAddress
    """Where it would have listened or connected to, or the peer whose connection was closed; in the
    form of :attr:`Connection.peer`."""
    plugin: str | None
    """The name of the plugin that refused; None for the application, whose factory built no
    protocol."""
    reason: str


@dataclass(frozen=True, slots=True, eq=False, init=False)
class Attempt:
    """One attempt to connect to one address."""

    framework: str
    host: str
    """What the application asked for: an address literal, or the name that the destination was
    resolved from."""
    destination: SocketAddress
    """``(host, port)`` of an IPv4 destination; ``(host, port, flow info, scope id)`` of an IPv6
    one, the host with its zone if it has one."""
    bind_address: tuple[str, int] | None = None
    """Where to connect from. An empty host is any address, port 0 any port; None leaves both to the
    system."""

    def __init__(
        self,
        framework: str,
        host: str,
        destination: SocketAddress,
        bind_address: tuple[str, int] | None = None,
    ) -> None:
        _set_attempt_framework(self, framework)
        _set_host(self, host)
        _set_destination(self, destination)
        _set_bind_address(self, bind_address)

    @property
    def family(self) -> Family:
        """The address family of the destination, whatever socket is used."""
        return family_of(self.destination)


# One record a connection: object.__setattr__, by which frozen dataclasses set their fields, takes
# twice as long.
(
    _set_framework,
    _set_listener,
    _set_peer,
    _set_local,
    _set_direction,
    _set_translated,
    _set_proxy,
) = (vars(Connection)[each.name].__set__ for each in fields(Connection))
_set_attempt_framework, _set_host, _set_destination, _set_bind_address = (
    vars(Attempt)[each.name].__set__ for each in fields(Attempt)
)


_new = object.__new__


Record = Callable[[Ask | ref[Arrived] | None, Family], Connection]
"""Makes the record of an accepted connection, of who is asked for its addresses and of the family
that whoever connected speaks."""


def recorder(listener: IListener, translates: bool) -> Record:
    """A function that makes records which ask for addresses when they are read, so that one which
    nobody looks at costs little: it asks a socket for both, which is weak, as it keeps the record
    itself; or for the local one alone, and is told the peer's by :func:`complete`. Whoever is asked
    calls :func:`settle` before it closes, if somebody keeps the record.

    :param translates: whether the kernel names IPv4 peers by mapped addresses.
    """
    set_named, set_family = _set_named, _set_family
    set_listener, set_translated = _set_listener, _set_translated

    def record(named: Ask | ref[Arrived] | None, family: Family) -> Connection:
        connection = _new(Connection)
        set_named(connection, named)
        set_family(connection, family)
        set_listener(connection, listener)
        set_translated(connection, translates and family == "ipv4")
        return connection

    return record


def complete(
    connection: Connection,
    peer: SocketAddress,
    local: SocketAddress | None,
    proxy: SocketAddress | None,
) -> None:
    """Set what is known of a connection when it is told of.

    :param local: None for what is asked for later.
    """
    _set_peer(connection, peer)
    if local is not None:
        _set_local(connection, local)
    if proxy is not None:
        # The family so far is the proxy's.
        _set_family(connection, family_of(peer))
        _set_proxy(connection, proxy)


def settle(connection: Connection, socket: Arrived | None = None) -> None:
    """Ask for what is not known yet of a connection, before its socket closes.

    :param socket: the one to ask, where the record has it weakly; None for what the record has.
    """
    named = connection._named
    if named is None:
        return
    if socket is not None:
        peer = socket.peer_address()
        _set_peer(connection, peer)
        _set_local(connection, local_of(socket.local_address, peer))
        _set_named(connection, None)
    else:
        connection._local()


def shown_place(file: str, line: int, function: str) -> str:
    """A source line, or a callback that has none, as people read it."""
    return printable(f"{file}:{line}, in {function}" if file else function, _LONGEST_PLACE)


@dataclass(frozen=True, slots=True)
class Leak:
    """A mapped address that was handed to what can't take it."""

    address: str
    """As it was spelled."""
    operation: LeakOperation
    mode: str
    """What it was handed to: ``an IPv4-only socket``, ``an IPv6-only socket``, or a lookup."""
    file: str
    """Of the first frame that is neither the standard library's, nor a framework's, nor the
    adapter's; empty where there is none."""
    line: int
    """0 where there is none."""
    function: str
    """The function of that frame, or the callback that an event loop called."""
    translated: bool = False
    """Whether ``dsadapter run`` has made an address of it that the socket takes."""

    @property
    def place(self) -> str:
        """File, line and function, as people read them."""
        return shown_place(self.file, self.line, self.function)

    def __str__(self) -> str:
        took = "; dsadapter run has translated it" if self.translated else ""
        return (
            f"{quoted(self.address)} is an IPv4-mapped address, and {self.mode} can't take it "
            f"({self.operation}){took}; use dsadapter.addressing.unmap() where it comes from; "
            f"{self.place}"
        )
