"""``open_udp_socket``, and the Trio socket that it gives."""

from __future__ import annotations

import errno
import selectors
import socket
from typing import Any

import trio

from dsadapter.addressing.hosts import is_literal
from dsadapter.addressing.sockaddr import SocketAddress
from dsadapter.datagrams import Counters
from dsadapter.datagrams.pulling import PulledDatagrams
from dsadapter.errors import naming, plugin_errors_as_os_errors
from dsadapter.frameworks.trio.delegating import FRAMEWORK, DelegatingSocket
from dsadapter.frameworks.trio.server.tcp_listeners import host_text
from dsadapter.frameworks.trio.trio_waiting import WAITING
from dsadapter.messages import quoted
from dsadapter.packetinfo.peers import PeerAddress
from dsadapter.packetinfo.receiving import Datagram
from dsadapter.policy import (
    DEFAULT_PACKET_SIZE,
    DatagramFallback,
    DatagramPolicy,
    Family,
    ListenMode,
)


async def open_udp_socket(
    port: int = 0,
    *,
    host: str | bytes | None = None,
    family: Family | None = None,
    max_packet_size: int = DEFAULT_PACKET_SIZE,
    fallback: DatagramFallback = "auto",
    device: str | None = None,
) -> DualStackUDPSocket:
    """A bound UDP socket for IPv4 and IPv6: the application passes and sees canonical addresses
    only, and answers leave from the address that was asked.

    :param port: 0 for any that is free.
    :param host: None, ``""`` or ``"::"`` for both families; or an address literal.
    :param family: ``"ipv4"`` or ``"ipv6"`` for that family of a wildcard alone.
    :param max_packet_size: how many bytes a datagram may have; a longer one is dropped and counted.
    :param fallback: what to serve where a family is missing; see
        :class:`~dsadapter.policy.DatagramPolicy`.
    :param device: the name of the network interface, or of the VRF, to serve alone.
    :raises ValueError: naming the offending value and the form to use.
    :raises OSError: as ``bind``; ``PermissionError`` if a plugin refuses.
    """
    policy = DatagramPolicy(
        host_text(host),
        port,
        family=family,
        max_packet_size=max_packet_size,
        fallback=fallback,
        device=device,
    )
    return await bind(policy)


async def bind(policy: DatagramPolicy) -> DualStackUDPSocket:
    """Bind by a policy that has been made elsewhere; see :func:`open_udp_socket`."""
    await trio.lowlevel.checkpoint()
    with plugin_errors_as_os_errors():
        return DualStackUDPSocket(policy)


class DualStackUDPSocket(DelegatingSocket):
    """A Trio socket for datagrams of both families; :func:`open_udp_socket` makes them.

    Senders are ``(host, port)``, IPv6 ones as well, an IPv6 link-local one with its zone in the
    host. ``sendto`` such a very address answers from where its datagram arrived. Forged IPv4
    senders are dropped and counted.
    """

    def __init__(self, policy: DatagramPolicy) -> None:
        self._datagrams = PulledDatagrams(FRAMEWORK, policy, WAITING)
        self._port = self._datagrams.port
        self._shut_down = False
        super().__init__(self._datagrams.sock)

    @property
    def mode(self) -> ListenMode:
        """Which address families it serves."""
        return self._port.life.mode

    @property
    def counters(self) -> Counters:
        """What has been received, and what was dropped for which reason."""
        return self._port.counters

    @property
    def did_shutdown_SHUT_WR(self) -> bool:  # noqa: N802
        """As Trio's."""
        return self._shut_down

    def shutdown(self, flag: int) -> None:
        """As Trio's."""
        self._original.shutdown(flag)
        self._shut_down = self._shut_down or flag in (socket.SHUT_WR, socket.SHUT_RDWR)

    def close(self) -> None:
        """As Trio's; datagrams that came and were not taken are gone."""
        self._datagrams.close()

    def dup(self) -> Any:
        """Refused: two objects would take each other's datagrams.

        :raises OSError: always.
        """
        raise OSError(errno.EOPNOTSUPP, "open another socket with open_udp_socket()")

    def detach(self) -> int:
        """Refused: what the adapter has received for it would be lost.

        :raises OSError: always.
        """
        raise OSError(errno.EOPNOTSUPP, "a dual-stack UDP socket keeps its descriptor")

    def getpeername(self) -> Any:
        """As Trio's, canonical."""
        return self._original.getpeername()

    async def bind(self, address: Any) -> None:
        """Refused: it is bound.

        :raises OSError: always.
        """
        raise OSError(errno.EINVAL, "the socket is bound; give port and host to open_udp_socket()")

    async def connect(self, address: tuple[str, int]) -> None:
        """Exchange datagrams with one peer only, of either family; a name is looked up."""
        await trio.lowlevel.checkpoint()
        self._port.connect(*await self._resolved(address))

    def is_readable(self) -> bool:
        """As Trio's."""
        return self._datagrams.has_arrived or _poll(self._port.sock)

    async def wait_writable(self) -> None:
        """As Trio's."""
        await trio.lowlevel.wait_writable(self._port.sock)

    async def receive_datagram(self) -> Datagram:
        """Payload, sender, and a :class:`~dsadapter.packetinfo.PacketInfo` that says where the
        datagram arrived.

        :raises ConnectionRefusedError: once, where the peer of a connected socket has refused one.
        :raises ClosedResourceError: if the socket is closed meanwhile.
        :raises OSError: if it is of no more use.
        """
        return await self._datagrams.receive()

    async def recvfrom(self, bufsize: int, flags: int = 0, /) -> tuple[bytes, Any]:
        """As Trio's."""
        _no_flags(flags)
        if bufsize < 0:
            raise ValueError("negative buffersize in recvfrom")
        data, sender, _ = await self.receive_datagram()
        return data[:bufsize], sender

    async def recv(self, bufsize: int, flags: int = 0, /) -> bytes:
        """As Trio's."""
        return (await self.recvfrom(bufsize, flags))[0]

    async def recvfrom_into(
        self, buffer: Any, nbytes: int = 0, flags: int = 0, /
    ) -> tuple[int, Any]:
        """As Trio's."""
        view = memoryview(buffer).cast("B")
        data, sender = await self.recvfrom(nbytes or len(view), flags)
        view[: len(data)] = data
        return len(data), sender

    async def recv_into(self, buffer: Any, nbytes: int = 0, flags: int = 0, /) -> int:
        """As Trio's."""
        return (await self.recvfrom_into(buffer, nbytes, flags))[0]

    async def send_datagram(
        self,
        data: bytes,
        address: tuple[str, int] | None = None,
        source: str | None = None,
        interface: str | int | None = None,
    ) -> int:
        """Send from a chosen address of this machine, or by a chosen interface.

        :param address: ``(host, port)``, the host an address literal of either family; None where
            the socket is connected.
        :param source: the local address to send from; None leaves that to the system, or to where
            the datagram arrived that ``address`` came with.
        :param interface: the name or the index of the interface to send by, likewise.
        :returns: how many bytes were sent.
        :raises ValueError: for what is no address, or none that fits.
        :raises OSError: as ``sendmsg``.
        """
        return await self._datagrams.send(data, address, source, interface)

    async def sendto(self, *args: Any) -> int:
        """As Trio's: ``sendto(data, address)`` or ``sendto(data, flags, address)``. To an address
        that came with a datagram of this socket, it is sent from where that datagram arrived."""
        data, *flags, address = args
        _no_flags(*flags)
        return await self.send_datagram(_payload(data), await self._resolved(address))

    async def send(self, data: Any, flags: int = 0, /) -> int:
        """As Trio's, where the socket is connected."""
        _no_flags(flags)
        return await self.send_datagram(_payload(data))

    async def recvmsg(self, *_args: Any) -> Any:
        """Refused: the adapter reads the control messages.

        :raises OSError: always.
        """
        raise OSError(errno.EOPNOTSUPP, "use receive_datagram(), which gives packet information")

    recvmsg_into = recvmsg

    async def sendmsg(self, *_args: Any) -> Any:
        """Refused: the adapter writes the control messages.

        :raises OSError: always.
        """
        raise OSError(errno.EOPNOTSUPP, "use send_datagram(), which takes source and interface")

    async def _resolved(self, address: Any) -> tuple[str, int]:
        if isinstance(address, PeerAddress):
            known: tuple[str, int] = address
            return known
        if not isinstance(address, tuple) or not 2 <= len(address) <= 4:
            raise ValueError(f"{quoted(address)} is not an address; give (host, port)")
        host, port = address[:2]
        if not isinstance(host, str) or host == "<broadcast>" or is_literal(host):
            if len(address) == 4 and address[3] and "%" not in host:
                host = f"{host}%{address[3]}"
            return host, port
        with naming(host):
            found: list[tuple[Any, ...]] = [
                each[4]
                for each in await trio.socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)
                if self._serves(each[4])
            ]
        if not found:
            raise socket.gaierror(
                socket.EAI_NONAME, f"{quoted(host)} has no address of a family that is served"
            )
        return str(found[0][0]), int(found[0][1])

    def _serves(self, address: SocketAddress | Any) -> bool:
        return self.mode == "dual-stack" or (len(address) == 4) == (self.mode == "ipv6")


def _payload(data: Any) -> bytes:
    """A copy of what has bytes; a number would be as many of them."""
    return memoryview(data).tobytes()


def _no_flags(flags: int = 0) -> None:
    if flags:
        raise OSError(errno.EOPNOTSUPP, f"flags {flags!r} are not supported; leave them out")


def _poll(sock: socket.socket) -> bool:
    with selectors.DefaultSelector() as selector:
        selector.register(sock, selectors.EVENT_READ)
        return bool(selector.select(0))
