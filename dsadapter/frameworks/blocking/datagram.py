"""A translating socket for datagrams, which knows where each of them arrived."""

from __future__ import annotations

import socket
import sys
import time
import weakref
from contextlib import suppress
from typing import TYPE_CHECKING, Any, cast

from dsadapter.addressing.sockaddr import SocketAddress
from dsadapter.datagrams.complaints import Complaints
from dsadapter.datagrams.failures import explained, unaddressed
from dsadapter.frameworks.blocking.translating import TranslatingSocket
from dsadapter.messages import quoted
from dsadapter.packetinfo import require_packet_info
from dsadapter.packetinfo._recvmmsg import CONTROL_SIZE
from dsadapter.packetinfo.peers import Route, way_back
from dsadapter.packetinfo.receiving import Counters, Datagram, Receiver
from dsadapter.packetinfo.sending import choose_route
from dsadapter.parameters import LONGEST_PACKET
from dsadapter.policy import DatagramPolicy
from dsadapter.ready.ready_socket import open_ready_datagram_socket
from dsadapter.sockets.binding import ask_for_packet_info
from dsadapter.sockets.canonical import canonical_name, family_number
from dsadapter.sockets.listening import check_one_socket

_MSG_PEEK = int(socket.MSG_PEEK)
_MSG_TRUNC = int(socket.MSG_TRUNC)
_MSG_ERRQUEUE = int(getattr(socket, "MSG_ERRQUEUE", 0))
_Buffers = Any

if TYPE_CHECKING or sys.platform != "win32":
    _Base = TranslatingSocket
else:
    from dsadapter.sockets.winsock import MessageSocket

    class _Base(MessageSocket, TranslatingSocket):
        """With ``recvmsg`` and ``sendmsg``."""

        __slots__ = ()


class TranslatingDatagramSocket(_Base):
    """What ``TranslatingSocket(type=SOCK_DGRAM)`` makes.

    Senders are ``(host, port)``, IPv6 ones as well, an IPv6 link-local one with its zone in the
    host. ``sendto`` such a very address answers from where its datagram arrived. Forged IPv4
    senders are dropped and counted; receiving goes on until a real datagram comes, or the time is
    over.
    """

    __slots__ = ("_datagrams",)

    def __init__(
        self,
        family: int = -1,
        type: int = -1,  # noqa: A002
        proto: int = -1,
        fileno: int | None = None,
    ) -> None:
        super().__init__(family, type, proto, fileno)
        self._datagrams: _Datagrams | None = None
        if family_number(self) in (socket.AF_INET, socket.AF_INET6):
            try:
                ask_for_packet_info(self, self.wire_mode, "a datagram socket")
            except BaseException:
                if fileno is None:
                    self.close()
                raise
            self._datagrams = _Datagrams(self)

    @property
    def counters(self) -> Counters:
        """What has been received, and what was dropped for which reason."""
        return Counters() if self._datagrams is None else self._datagrams.counters

    def receive_datagram(self, bufsize: int, flags: int = 0) -> Datagram:
        """Payload, sender, and a :class:`~dsadapter.packetinfo.PacketInfo` that says where the
        datagram arrived, or None if the system gave none.

        :raises OSError: as ``recvmsg``.
        """
        data, _, _, sender, info = self._receive(bufsize, 0, flags)
        return data, sender, info

    def send_datagram(
        self,
        data: bytes,
        address: tuple[str, int],
        source: str | None = None,
        interface: str | int | None = None,
    ) -> int:
        """Send from a chosen address of this machine, or by a chosen interface.

        :param address: ``(host, port)``, the host an address literal of either family.
        :param source: the local address to send from; None leaves that to the system.
        :param interface: the name or the index of the interface to send by, likewise.
        :returns: how many bytes were sent.
        :raises ValueError: for what is no address, or none that fits.
        :raises OSError: as ``sendmsg``; ``EDESTADDRREQ`` for a sender that has no address yet.
        """
        if not isinstance(address, (tuple, list)) or len(address) < 2:
            raise ValueError(f"{quoted(address)} is not an address; give (host, port)")
        self._way_back(address)
        route = choose_route(self.wire_mode, *address[:2], source, interface)
        return self._send(data, route, 0, source)

    def recvfrom(self, bufsize: int, flags: int = 0) -> tuple[bytes, Any]:
        """As ``socket.socket.recvfrom``."""
        data, _, _, sender, _ = self._receive(bufsize, 0, flags)
        return data, sender

    def recv(self, bufsize: int, flags: int = 0) -> bytes:
        """As ``socket.socket.recv``."""
        return self.recvfrom(bufsize, flags)[0]

    def recvmsg(
        self, bufsize: int, ancbufsize: int = 0, flags: int = 0
    ) -> tuple[bytes, list[Any], int, Any]:
        """As ``socket.socket.recvmsg``; control messages are as the kernel gives them."""
        return self._receive(bufsize, ancbufsize, flags)[:4]

    def recvfrom_into(self, buffer: Any, nbytes: int = 0, flags: int = 0) -> tuple[int, Any]:
        """As ``socket.socket.recvfrom_into``."""
        view = memoryview(buffer).cast("B")
        data, sender = self.recvfrom(nbytes or len(view), flags)
        view[: len(data)] = data
        return len(data), sender

    def recv_into(self, buffer: Any, nbytes: int = 0, flags: int = 0) -> int:
        """As ``socket.socket.recv_into``."""
        return self.recvfrom_into(buffer, nbytes, flags)[0]

    def recvmsg_into(
        self, buffers: Any, ancbufsize: int = 0, flags: int = 0
    ) -> tuple[int, list[Any], int, Any]:
        """As ``socket.socket.recvmsg_into``."""
        views = [memoryview(buffer).cast("B") for buffer in buffers]
        size = sum(map(len, views))
        data, messages, told, sender = self.recvmsg(size, ancbufsize, flags)
        rest = memoryview(data)
        for view in views:
            part, rest = rest[: len(view)], rest[len(view) :]
            view[: len(part)] = part
        return len(data), messages, told, sender

    def sendto(self, data: Any, *args: Any) -> int:
        """As ``socket.socket.sendto``. To an address that came with a datagram of this socket, it
        is sent from where that datagram arrived."""
        *flags, address = args
        return self._send(data, self._route(address), *(flags or (0,)))

    def sendmsg(self, buffers: Any, ancdata: Any = (), flags: int = 0, address: Any = None) -> int:
        """As ``socket.socket.sendmsg``; by the rules of :meth:`sendto`, but for control messages
        that are given."""
        if address is None:
            return super().sendmsg(buffers, ancdata, flags)
        wire, messages = self._route(address)
        try:
            return super().sendmsg(buffers, [*ancdata] or messages, flags, cast(Any, wire))
        except OSError as error:
            raise self.explained(error, wire) from None

    def _route(self, address: Any) -> Route:
        return self._way_back(address) or Route(self.wire(address), [])

    def _way_back(self, address: Any) -> Route | None:
        datagrams = self._datagrams
        route = None if datagrams is None else way_back(address, datagrams.owner)
        if route is not None and route.address is None:
            raise unaddressed()
        return route

    def _send(self, data: Any, route: Route, flags: int, source: str | None = None) -> int:
        wire, messages = route
        try:
            if messages:
                return super().sendmsg([data], messages, flags, cast(Any, wire))
            return super().sendto(data, flags, cast(Any, wire))
        except OSError as error:
            if self._datagrams is None or wire is None:
                raise
            answers = bool(messages) and source is None
            # Whoever has a socket knows SO_BROADCAST.
            meant = explained(error, _shown(wire), source, answers=answers, broadcast_allowed=True)
            if meant is error:
                meant = self.explained(error, wire)
            if meant is error:
                raise
            raise meant from error

    def _receive(self, bufsize: int, ancbufsize: int, flags: int) -> tuple[Any, ...]:
        receive = super().recvmsg
        datagrams = self._datagrams
        if datagrams is None or flags & _MSG_ERRQUEUE:
            data, messages, told, name = receive(bufsize, ancbufsize, flags)
            return data, messages, told, canonical_name(name), None
        timeout = self.gettimeout()
        deadline = time.monotonic() + timeout if timeout else None
        while True:
            data, messages, told, name = receive(bufsize, CONTROL_SIZE + ancbufsize, flags)
            judged = datagrams.receiver(self).judged(name, messages, told & ~_MSG_TRUNC)
            if judged is not None:
                return data, messages if ancbufsize else [], told, *judged
            if flags & _MSG_PEEK:
                # It is waiting still. Of no bytes Python would not ask the kernel. One that is
                # longer is an error on Windows.
                with suppress(OSError):
                    super().recv(1)
            if deadline is not None and time.monotonic() >= deadline:
                raise TimeoutError("timed out")


def _shown(wire: SocketAddress) -> tuple[str, int]:
    host, port = canonical_name(wire)[:2]
    return host, port


class _Datagrams:
    """What one socket knows of its senders; it does not keep the socket alive."""

    def __init__(self, sock: TranslatingDatagramSocket) -> None:
        self.counters = Counters()
        self.owner = object()
        self._complaints = Complaints(LONGEST_PACKET)
        self._receiver: Receiver | None = None
        self._sock = weakref.proxy(sock)

    def receiver(self, sock: TranslatingDatagramSocket) -> Receiver:
        """Made for the first datagram: the mode may change until the socket is bound."""
        if self._receiver is None:
            self._receiver = Receiver(
                self._sock, sock.wire_mode, LONGEST_PACKET, self.counters, self._dropped, self.owner
            )
        return self._receiver

    def _dropped(self, reason: str, about: str) -> None:
        name: SocketAddress = self._sock.getsockname()
        self._complaints.complain(str(name[1]), reason, about)


def bind(policy: DatagramPolicy) -> TranslatingSocket:
    """A socket for the datagrams of a policy, which plugins watch.

    :raises ValueError: for a policy of several addresses.
    :raises PluginError: if a required plugin is missing, or a plugin refuses.
    :raises OSError: as :func:`~dsadapter.sockets.binding.open_datagram_socket`.
    """
    return open_bound(policy, TranslatingDatagramSocket)


def open_bound(
    policy: DatagramPolicy, kind: type[TranslatingDatagramSocket]
) -> TranslatingDatagramSocket:
    """As :func:`bind`, of another class."""
    require_packet_info("one socket a family")
    check_one_socket(policy)
    return open_ready_datagram_socket(policy, "blocking", kind)
