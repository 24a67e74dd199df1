"""What stands between the application and the transports of a reactor that accepts for itself."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

from twisted.internet.interfaces import (
    IAddress,
    IProtocolFactory,
)
from twisted.internet.protocol import Protocol
from twisted.python.failure import Failure

from dsadapter.addressing import unmap
from dsadapter.addressing.sockaddr import SocketAddress, unmap_sockaddr
from dsadapter.addressing.text import unmap_text
from dsadapter.frameworks.twisted.addresses import sockaddr_of, stream_address
from dsadapter.listener import Listener
from dsadapter.policy import ListenPolicy
from dsadapter.proxied import Arrival, ProxyGate
from dsadapter.sockets.handing_on import native_ipv4
from dsadapter.stand_in import StandIn, set_original


class AdoptedFactory(StandIn):
    """The application's factory, as the reactor's ports know it.

    :param life: None for sockets that plugins are not told of.
    """

    __slots__ = ("_gate", "_life", "_listening")

    def __init__(
        self, factory: IProtocolFactory, life: Listener | None, gate: ProxyGate | None
    ) -> None:
        super().__init__(factory)
        self._life = life
        self._gate = gate
        self._listening = 0

    def buildProtocol(self, addr: Any) -> _Protocol | None:
        """What the reactor's transport gets; None for a connection that is to be closed."""
        canonical = canonical_address(addr)
        if self._gate is None:
            protocol = self._original.buildProtocol(canonical)
            if protocol is not None:
                return _Protocol(protocol, self._life)
            self._unbuilt(canonical)
            return None
        peer = sockaddr_of(canonical)
        if not self._gate.admits(peer):
            return None
        return _Protocol(_Expecting(self, self._gate, self._gate.arrival(peer)), self._life)

    def build(self, peer: IAddress) -> Any:
        """The application's protocol; None, and observers have been told, if it builds none."""
        protocol = self._original.buildProtocol(peer)
        if protocol is None:
            self._unbuilt(peer)
        return protocol

    def _unbuilt(self, peer: IAddress) -> None:
        if self._life is not None:
            self._life.unbuilt(sockaddr_of(peer))

    def doStart(self) -> None:
        """Of each port."""
        self._original.doStart()
        self._listening += 1

    def doStop(self) -> None:
        """Every port says so when it has closed, on whatever occasion."""
        self._listening -= 1
        try:
            self._original.doStop()
        finally:
            if not self._listening and self._life is not None:
                self._life.closed()


class _Protocol(StandIn):
    """The application's protocol, as the reactor's transport knows it."""

    __slots__ = ("_life", "_lost")

    _life: Listener | None
    _lost: Callable[[], None] | None

    def __init__(self, protocol: Any, life: Listener | None) -> None:
        # As StandIn does, without its call: one of these a connection.
        set_original(self, protocol)
        _set_life(self, life)
        _set_lost(self, None)

    def makeConnection(self, transport: Any) -> None:
        if self._life is not None:
            policy = self._life.policy
            if isinstance(policy, ListenPolicy) and policy.native_ipv4:
                native_ipv4(transport.getHandle())
        if isinstance(self._original, _Expecting):
            self._original.expect(transport, self)
        else:
            self.begin(_Transport(transport, self))

    def begin(self, transport: _Transport, proxy: SocketAddress | None = None) -> None:
        """Have the application begin.

        :param proxy: whose header has said the transport's names.
        """
        transport.take_log_prefix()
        if self._life is not None and self._life.hooks.connections is not None:
            peer = sockaddr_of(transport.getPeer())
            told = self._life.accepted(peer, lambda: sockaddr_of(transport.getHost()), proxy)
            if told is not None:
                # The reactor closes the socket before it says so.
                told.closing()
                self._lost = told
        self._original.makeConnection(transport)

    def dataReceived(self, data: bytes) -> None:
        # Each read: what is not defined takes longer.
        self._original.dataReceived(data)

    def connectionLost(self, reason: Failure) -> None:
        lost = self._lost
        if lost is None:
            self._original.connectionLost(reason)
            return
        self._lost = None
        try:
            self._original.connectionLost(reason)
        finally:
            lost()

    def replace(self, protocol: Any) -> None:
        """The application goes on with another protocol."""
        self._original = protocol


class _Transport(StandIn):
    """The reactor's transport, as the application's protocol knows it."""

    __slots__ = ("_names", "_protocol")

    _names: tuple[SocketAddress, SocketAddress] | None
    _protocol: _Protocol

    def __init__(
        self,
        transport: Any,
        protocol: _Protocol,
        names: tuple[SocketAddress, SocketAddress] | None = None,
    ) -> None:
        set_original(self, transport)
        _set_protocol(self, protocol)
        _set_names(self, names)

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "protocol":
            self._protocol.replace(value)
        else:
            super().__setattr__(name, value)

    def __repr__(self) -> str:
        # Twisted's transports show the class of their protocol, a number and a port.
        shown = getattr(self._original, "repstr", None)
        if isinstance(shown, str):
            return shown.replace(f"<{_Protocol.__name__} ", f"<{type(self.protocol).__name__} ", 1)
        return f"<{type(self._original).__name__} from {self.getPeer()}>"

    # A reactor knows the transport itself, and is asked about this one.

    def __eq__(self, other: object) -> bool:
        if isinstance(other, _Transport):
            other = other._original
        return bool(self._original == other)

    def __hash__(self) -> int:
        return hash(self._original)

    @property
    def protocol(self) -> Any:
        """The application's, which it may replace by assigning."""
        return self._protocol._original

    def write(self, data: bytes) -> None:
        # Each write, likewise.
        self._original.write(data)

    def getPeer(self) -> IAddress:
        if self._names is not None:
            return stream_address(self._names[0])
        peer: IAddress = canonical_address(self._original.getPeer())
        return peer

    def getHost(self) -> IAddress:
        if self._names is not None:
            return stream_address(self._names[1])
        host: IAddress = canonical_address(self._original.getHost())
        return host

    # Not of any interface, but applications take them from Twisted's own transports.

    @property
    def client(self) -> Any:
        return self._names[0] if self._names else unmap_sockaddr(self._original.client)

    @property
    def hostname(self) -> Any:
        return self._names[0][0] if self._names else unmap_text(self._original.hostname)

    def take_log_prefix(self) -> None:
        """Twisted's transports log as ``PROTOCOL,NUMBER,HOST``, from an attribute."""
        transport = self._original
        prefix = getattr(transport, "logstr", None)
        if not isinstance(prefix, str) or (self._names is None and not _may_be_mapped(prefix)):
            return
        head, comma, host = prefix.rpartition(",")
        with contextlib.suppress(AttributeError, ValueError):
            if self._names is None:
                transport.logstr = f"{head}{comma}{unmap_text(host)}"
            else:
                _, _, number = head.rpartition(",")
                name = type(self.protocol).__name__
                transport.logstr = f"{name},{number},{self._names[0][0]}"


_set_life, _set_lost = (vars(_Protocol)[name].__set__ for name in ("_life", "_lost"))
_set_protocol, _set_names = (vars(_Transport)[name].__set__ for name in ("_protocol", "_names"))


def canonical_address(address: Any) -> Any:
    """Twisted's address object, canonical; of another kind than IP as it is."""
    host = getattr(address, "host", None)
    # An AF_UNIX socket's has no host.
    return unmap(address) if isinstance(host, str) and _may_be_mapped(host) else address


def _may_be_mapped(host: str) -> bool:
    """False for what needs no parsing: in whatever spelling, a mapped address has these digits."""
    return ":" in host and "ffff" in host.lower()


class _Expecting(Protocol):
    """Stands in the application's place until the PROXY header has come."""

    _timer: Any = None

    def __init__(self, factory: AdoptedFactory, gate: ProxyGate, arrival: Arrival) -> None:
        self._factory = factory
        self._gate = gate
        self._arrival = arrival

    def expect(self, transport: Any, place: _Protocol) -> None:
        """Wait for the header.

        :param place: where the application's protocol goes then.
        """
        self._transport = transport
        self._place = place
        self._timer = self._gate.when_late(self._arrival, transport.abortConnection)

    def dataReceived(self, data: bytes) -> None:
        arrival = self._arrival
        if arrival.feed(data) == "waiting":
            return
        self._timer.cancel()
        if arrival.state == "passed":
            self._pass()
        else:
            self._transport.abortConnection()

    def connectionLost(self, reason: Failure | None = None) -> None:
        if self._arrival.state == "waiting":
            self._timer.cancel()
            self._arrival.feed(b"")

    def _pass(self) -> None:
        arrival = self._arrival
        peer, local = arrival.peer, arrival.local
        names = None if peer is None or local is None else (peer, local)
        transport = _Transport(self._transport, self._place, names)
        protocol = self._factory.build(transport.getPeer())
        if protocol is None:
            self._transport.loseConnection()
            return
        self._place.replace(protocol)
        self._place.begin(transport, arrival.proxy if names else None)
        if arrival.rest:
            protocol.dataReceived(arrival.rest)
