"""Twisted's UDP port on a socket that serves both families and tells where datagrams arrive."""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterator
from typing import Any

from twisted.internet import udp
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.error import (
    ConnectionDone,
    InvalidAddressError,
    MessageLengthError,
)
from twisted.internet.interfaces import IMulticastTransport
from twisted.internet.protocol import AbstractDatagramProtocol
from twisted.python import log
from twisted.python.failure import Failure
from zope.interface import implementer

from dsadapter.errors import NotDualStackError
from dsadapter.frameworks.twisted.datagram.multicast_transport import DualStackMulticast
from dsadapter.frameworks.twisted.listening_port import ListeningPort, cannot_listen
from dsadapter.hooks.contracts import IPacketInfoReceiver
from dsadapter.hooks.dispatch import Hooks
from dsadapter.packetinfo import platform
from dsadapter.packetinfo.peers import Route, way_back
from dsadapter.packetinfo.receiving import Counters, Datagram, Receiver
from dsadapter.packetinfo.sending import (
    BROADCAST_NAME,
    choose_route,
    parse_destination,
    wire_address,
)
from dsadapter.policy import DatagramPolicy
from dsadapter.rate_limit import RateLimit
from dsadapter.sockets.binding import open_datagram_socket
from dsadapter.sockets.ifaddrs import scoped_text
from dsadapter.sockets.listening import Listening

# What ICMP can say about the peer of a connected port; none of it is a reason to end.
_UNREACHABLE_NAMES = (
    *("EHOSTUNREACH", "ENETUNREACH", "EHOSTDOWN", "ENETDOWN", "ENONET"),
    *("ENOPROTOOPT", "EPROTO", "EOPNOTSUPP", "EACCES", "EMSGSIZE"),
)
_UNREACHABLE = {getattr(errno, name) for name in _UNREACHABLE_NAMES if hasattr(errno, name)}
_REFUSED = (errno.ECONNREFUSED, getattr(errno, "WSAECONNREFUSED", errno.ECONNREFUSED))
_TOO_LONG = (errno.EMSGSIZE, getattr(errno, "WSAEMSGSIZE", errno.EMSGSIZE))
_NOT_OURS = (errno.ENETUNREACH, errno.EINVAL, errno.EADDRNOTAVAIL, errno.ENODEV)

_COMPLAINTS = {
    "forged": "dropped an IPv6 datagram that claims an IPv4 sender",
    "truncated": "dropped a datagram of more than the maxPacketSize of {size} bytes",
    "without_packet_info": "dropped a datagram that came without packet information, so that its "
    "IPv4 sender may be forged",
    "unanswerable": "dropped a datagram whose sender can't be answered",
}


@implementer(IMulticastTransport)
class DatagramPort(ListeningPort[DatagramPolicy], Counters, DualStackMulticast, udp.Port):
    """A UDP port for one :class:`~dsadapter.policy.DatagramPolicy`, multicast included.

    Its counters are attributes: see :class:`~dsadapter.packetinfo.receiving.Counters`.
    """

    def __init__(
        self, policy: DatagramPolicy, protocol: AbstractDatagramProtocol, reactor: Any
    ) -> None:
        super().__init__(policy.port, protocol, policy.host, policy.max_packet_size, reactor)  # type: ignore[no-untyped-call]
        self._settle(policy)
        self._owner = object()
        self._arrived: Iterator[Datagram] = iter(())
        self._complaints: dict[str, RateLimit] = {}

    def startListening(self) -> None:
        """Open the socket and begin receiving; a stopped port can be started again.

        :raises CannotListenError: with the reason in its text; nothing stays open.
        """
        # connectionLost has left -1 there.
        vars(self).pop("maxThroughput", None)
        informed = IPacketInfoReceiver.providedBy(self.protocol)
        self._deliver = self._deliver_with_info if informed else self._deliver_plainly
        self._connectedAddr = None
        with cannot_listen(self.policy):
            [skt] = self._life.open(lambda hooks: self._open_socket(hooks, informed))
        self._preexistingSocket = skt  # type: ignore[assignment]
        self._receiver = Receiver(
            skt,
            self.policy.mode,
            self.maxPacketSize,
            self,
            self._dropped,
            self._owner,
        )
        try:
            super().startListening()  # type: ignore[no-untyped-call]
        except BaseException:
            self.stopReading()  # type: ignore[no-untyped-call]
            self.connected = 0
            skt.close()
            raise
        self._life.opened()

    def _open_socket(self, hooks: Hooks, informed: bool) -> Listening:
        if not platform.SUPPORTED:
            raise NotDualStackError(
                "this platform gives no packet information, without which IPv4 can't be told "
                "from forged datagrams; use reactor.listenUDP, with one port a family"
            )
        skt = open_datagram_socket(self.policy, hooks.before_bind, details=informed)
        return Listening(self.policy.mode, (skt,), None)

    def doRead(self) -> None:
        """Give the protocol what waits, up to ``maxThroughput`` bytes."""
        # What a turn that this one interrupts has received comes first.
        self._deliver()
        read = 0
        while read < self.maxThroughput:
            try:
                received, size, drained = self._receiver.receive(self.maxThroughput - read)
            except OSError as error:
                if error.errno in _REFUSED:
                    if self._connectedAddr:
                        self.protocol.connectionRefused()
                elif error.errno not in _UNREACHABLE:
                    raise
                return
            read += size
            self._arrived = iter(received)
            self._deliver()
            if drained:
                return

    def _deliver_plainly(self) -> None:
        for data, address, _info in self._arrived:
            try:
                self.protocol.datagramReceived(data, address)
            except BaseException:
                log.err()

    def _deliver_with_info(self) -> None:
        for data, address, info in self._arrived:
            try:
                self.protocol.packetReceived(data, address, info)
            except BaseException:
                log.err()

    def write(  # type: ignore[override]
        self,
        datagram: bytes,
        addr: tuple[str, int] | None = None,
        source: str | None = None,
        interface: str | int | None = None,
    ) -> int | None:
        """Send a datagram.

        :param addr: ``(host, port)``, the host an address literal of either family; None where
            the port is connected. An address that came with a datagram of this port is answered
            from where that datagram arrived; for any other one the system chooses.
        :param source: the local address to send from, whatever ``addr`` remembers.
        :param interface: the name or the index of the interface to send by, likewise.
        :returns: how many bytes were sent; None if they were not because an earlier datagram was
            refused.
        :raises InvalidAddressError: for what is no address, or none that fits: a family that the
            port does not serve, a source of another family than the destination's.
        :raises MessageLengthError: if the datagram is too long for UDP, or for the path.
        :raises OSError: as ``sendmsg``.
        """
        if self._connectedAddr:
            address, messages = self._connected_route(addr, source, interface)
        else:
            route = None
            if source is None and interface is None:
                route = way_back(addr, self._owner)
            address, messages = route or self._route(addr, source, interface)
            if address is None:
                raise InvalidAddressError(
                    addr and addr[0],
                    "the sender has no address yet; send the answer to a group or to broadcast",
                )
        try:
            if messages:
                return self.socket.sendmsg((datagram,), messages, 0, address)
            if address is None:
                return self.socket.send(datagram)
            return self.socket.sendto(datagram, address)
        except OSError as error:
            return self._not_sent(error, addr, messages)

    def _route(
        self, addr: tuple[str, int] | None, source: str | None, interface: str | int | None
    ) -> Route:
        assert addr is not None, "a port that is not connected needs an address to write to"
        host, port = addr
        try:
            return choose_route(self.policy.mode, host, port, source, interface)
        except ValueError as error:
            raise InvalidAddressError(host, str(error)) from error

    def _connected_route(
        self, addr: tuple[str, int] | None, source: str | None, interface: str | int | None
    ) -> tuple[None, list[Any]]:
        connected = self._connectedAddr
        if addr is not None and addr != connected and not _same(addr, connected):
            raise InvalidAddressError(
                addr[0], f"the port is connected to {connected!r} and can't write to {addr!r}"
            )
        if source is None and interface is None:
            return None, []
        return None, self._route(connected, source, interface).messages

    def _not_sent(
        self, error: OSError, addr: tuple[str, int] | None, messages: list[Any]
    ) -> int | None:
        number = error.errno
        if number in _TOO_LONG:
            raise MessageLengthError("message too long") from error
        if number in _REFUSED:
            # Not connected, this says nothing about the datagram at hand.
            if self._connectedAddr:
                self.protocol.connectionRefused()
            return None
        if number == errno.EACCES and not self.getBroadcastAllowed():  # type: ignore[no-untyped-call]
            raise OSError(
                number,
                f"{error.strerror}: {addr!r} may be a broadcast address; "
                f"call setBroadcastAllowed(True) first",
            ) from error
        if messages and number in _NOT_OURS:
            raise OSError(
                number,
                f"{error.strerror}: can't write to {addr or self._connectedAddr!r} from the source "
                f"that was chosen, or that its datagram was sent to; is it an address of this "
                f"machine, of that interface?",
            ) from error
        raise error

    def connect(self, host: str, port: int) -> None:
        """Exchange datagrams with one peer only, of either family.

        :raises InvalidAddressError: for what is no address literal of a family that is served.
        :raises RuntimeError: if the port is connected already.
        :raises OSError: as ``connect``; the port is then not connected.
        """
        if self._connectedAddr:
            raise RuntimeError("already connected, reconnecting is not currently supported")
        try:
            if host == BROADCAST_NAME:
                raise ValueError(f"{host!r} is nobody to be connected to")
            address = wire_address(self.policy.mode, parse_destination(host), port)
        except ValueError as error:
            raise InvalidAddressError(host, str(error)) from error
        self.socket.connect(address)
        # The application's own spelling: it may write to it.
        self._connectedAddr = (host, port)

    def getHost(self) -> IPv4Address | IPv6Address:
        """The canonical local address, a link-local one with its zone."""
        host, port, *more = self.socket.getsockname()
        if not more:
            return IPv4Address("UDP", host, port)
        packed = socket.inet_pton(socket.AF_INET6, host.partition("%")[0])
        return IPv6Address("UDP", scoped_text(packed, more[1]), port)

    def connectionLost(self, reason: Failure | None = None) -> None:
        """Close the socket; but an ICMP message about the peer of a connected port is not its end.

        The reactors of poll and epoll take the latter for a lost connection.
        """
        if reason is not None and reason.check(ConnectionDone):
            self.startReading()  # type: ignore[no-untyped-call]
            self.doRead()
            self._receiver.discard_errors()
            return
        # A protocol that has been stopped gets nothing more.
        for _ in self._arrived:
            pass
        super().connectionLost(reason)  # type: ignore[no-untyped-call]
        del self._receiver
        self._life.closed()

    def _dropped(self, reason: str, about: str) -> None:
        more = self._complaints.setdefault(reason, RateLimit()).admit()
        if more is not None:
            text = _COMPLAINTS[reason].format(size=self.maxPacketSize)
            log.msg(f"UDP port {self._realPortNumber} {text}: {about}{more}")


def _same(addr: tuple[str, int], connected: Any) -> bool:
    """Whether two addresses are spellings of one."""
    try:
        ours, theirs = parse_destination(addr[0]), parse_destination(connected[0])
    except ValueError:
        return False
    return ours == theirs and addr[1] == connected[1]
