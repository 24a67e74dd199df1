"""Twisted's UDP port on a socket that serves both families and tells where datagrams arrive."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from functools import partial
from typing import Any

from twisted.internet import udp
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.error import (
    ConnectionDone,
    InvalidAddressError,
    MessageLengthError,
)
from twisted.internet.interfaces import IDelayedCall, IMulticastTransport
from twisted.internet.protocol import AbstractDatagramProtocol
from twisted.python import log
from twisted.python.failure import Failure
from zope.interface import implementer

from dsadapter import datagrams
from dsadapter.datagrams import DestinationError, PacketTooLongError
from dsadapter.datagrams.served import ServedSocket
from dsadapter.errors import spelling
from dsadapter.frameworks.twisted.datagram.multicast_transport import DualStackMulticast
from dsadapter.frameworks.twisted.listening_port import ListeningPort, cannot_listen
from dsadapter.frameworks.twisted.other_socket import OtherSocket
from dsadapter.frameworks.twisted.private import forget_reader
from dsadapter.frameworks.twisted.spelling import LISTENING
from dsadapter.hooks.contracts import IDatagramListener, IPacketInfoReceiver
from dsadapter.packetinfo.receiving import Counters, Datagram
from dsadapter.policy import DatagramPolicy

logger = logging.getLogger("dsadapter.datagrams")


@implementer(IMulticastTransport, IDatagramListener)
class DatagramPort(ListeningPort[DatagramPolicy], DualStackMulticast, udp.Port):
    """A UDP port for one :class:`~dsadapter.policy.DatagramPolicy`, multicast included.

    Where there is more than one socket, each of the others is a reader of its own in the reactor,
    which starts, stops and closes with the port.
    """

    def __init__(
        self, policy: DatagramPolicy, protocol: AbstractDatagramProtocol, reactor: Any
    ) -> None:
        # Twisted knows one address a port.
        host = policy.parts[0].host
        super().__init__(policy.port, protocol, host, policy.max_packet_size, reactor)  # type: ignore[no-untyped-call]
        self._settle(policy)
        self._datagrams = datagrams.DatagramPort(policy, self._life)
        self._is_reading = False
        self._others: tuple[OtherSocket, ...] = ()
        self._pauses: dict[ServedSocket, IDelayedCall] = {}

    @property
    def counters(self) -> Counters:
        """What has been received, and what was dropped for which reason."""
        return self._datagrams.counters

    def startListening(self) -> None:
        """Open the socket and begin receiving; a stopped port can be started again.

        :raises CannotListenError: with the reason in its text; nothing stays open.
        """
        # connectionLost has left -1 there.
        vars(self).pop("maxThroughput", None)
        informed = IPacketInfoReceiver.providedBy(self.protocol)
        deliver = self._deliver_with_info if informed else self._deliver_plainly
        if not informed and hasattr(self.protocol, "packetReceived"):
            logger.warning(
                "%s has packetReceived, which is not called: decorate the class with "
                "@implementer(dsadapter.interfaces.IPacketInfoReceiver)",
                type(self.protocol).__qualname__,
            )
        with cannot_listen(self.policy):
            skt = self._datagrams.open(
                deliver, self.protocol.connectionRefused, details=informed, several=True
            )
        self._number = skt.fileno()
        self._others = tuple(
            OtherSocket(self, each.sock, partial(self.doRead, each)) for each in self._served[1:]
        )
        self._preexistingSocket = skt  # type: ignore[assignment]
        try:
            super().startListening()  # type: ignore[no-untyped-call]
        except BaseException:
            self.stopReading()
            self.connected = 0
            self._datagrams.close()
            raise
        self._life.opened()

    @property
    def _served(self) -> tuple[ServedSocket, ...]:
        return self._datagrams.served

    def doRead(self, served: ServedSocket | None = None) -> None:
        """Give the protocol what waits, up to ``maxThroughput`` bytes.

        :param served: which of the port's sockets is ready; None for the first.
        :raises OSError: if the socket is of no more use; the reactor then closes the port.
        """
        try:
            pause = self._datagrams.read(self.maxThroughput, served)
        except OSError:
            self.stopReading()
            raise
        if pause is not None and self._is_reading:
            served = served or self._served[0]
            self._unwatch(served)
            if pause:
                self._pauses[served] = self.reactor.callLater(pause, self._read_again, served)
            else:
                self._watch(served)

    def _read_again(self, served: ServedSocket) -> None:
        del self._pauses[served]
        if self._is_reading:
            self._watch(served)

    def startReading(self) -> None:
        """Have the protocol given what comes."""
        self._is_reading = True
        for served in self._served:
            self._watch(served)

    def stopReading(self) -> None:
        """Leave what comes in the kernel."""
        self._is_reading = False
        for served in self._served:
            self._unwatch(served)

    def _watch(self, served: ServedSocket) -> None:
        self.reactor.addReader(self._reader(served)[0])

    def _unwatch(self, served: ServedSocket) -> None:
        reader, number = self._reader(served)
        try:
            self.reactor.removeReader(reader)
        except (KeyError, OSError):
            # Epoll does not know the descriptor: it was taken away, and its number is another's.
            forget_reader(self.reactor, number)

    def _reader(self, served: ServedSocket) -> tuple[Any, int]:
        """What the reactor reads of a socket, and the number of its descriptor."""
        for other in self._others:
            if other.socket is served.sock:
                return other, other.number
        return self, self._number

    def _deliver_plainly(self, arrived: Iterator[Datagram]) -> None:
        for data, address, _info in arrived:
            try:
                self.protocol.datagramReceived(data, address)
            except BaseException:
                log.err()

    def _deliver_with_info(self, arrived: Iterator[Datagram]) -> None:
        for data, address, info in arrived:
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
        """Send a datagram: see :meth:`dsadapter.datagrams.DatagramPort.send`.

        :raises InvalidAddressError: for what is no address, or none that fits: a family that the
            port does not serve, a source of another family than the destination's.
        :raises MessageLengthError: if the datagram is too long for UDP, or for the path.
        :raises OSError: as ``sendmsg``.
        """
        try:
            return self._datagrams.send(datagram, addr, source, interface)
        except DestinationError as error:
            raise InvalidAddressError(error.host, str(error)) from error
        except PacketTooLongError as error:
            raise MessageLengthError("message too long") from error
        except OSError as error:
            with spelling(LISTENING):
                raise error

    def connect(self, host: str, port: int) -> None:
        """Exchange datagrams with one peer only, of either family.

        :raises InvalidAddressError: for what is no address literal of a family that is served.
        :raises RuntimeError: if the port is connected already.
        :raises OSError: as ``connect``; the port is then not connected.
        """
        if self._datagrams.peer is not None:
            raise RuntimeError("already connected, reconnecting is not currently supported")
        try:
            self._datagrams.connect(host, port)
        except DestinationError as error:
            raise InvalidAddressError(host, str(error)) from error

    def getHost(self) -> IPv4Address | IPv6Address:
        """The canonical local address, a link-local one with its zone; of several sockets, the
        first's, with the port of all."""
        host, port, *more = self._datagrams.local_address()
        return IPv6Address("UDP", host, port) if more else IPv4Address("UDP", host, port)

    def connectionLost(self, reason: Failure | None = None) -> None:
        """Close the socket; but an ICMP message about the peer of a connected port is not its end.

        The reactors of poll and epoll take the latter for a lost connection.
        """
        if not self.connected:
            # A reactor that ends tells each of its readers.
            return
        if reason is not None and reason.check(ConnectionDone) and self._goes_on():
            return
        self._datagrams.end()
        while self._pauses:
            self._pauses.popitem()[1].cancel()
        try:
            super().connectionLost(reason)  # type: ignore[no-untyped-call]
        except Exception:
            # The protocol's stopProtocol has raised, and Twisted gone no further.
            stopping = vars(self).pop("d", None)
            if stopping is None:
                raise
            stopping.errback()
        finally:
            self._datagrams.close()

    def _goes_on(self) -> bool:
        self.startReading()
        try:
            for served in self._served:
                self.doRead(served)
        except OSError:
            log.err()
            return False
        self._datagrams.discard_errors()
        return True
