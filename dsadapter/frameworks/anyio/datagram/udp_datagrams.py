"""``create_udp_socket`` and ``create_connected_udp_socket``, and the sockets that they give."""

from __future__ import annotations

import errno
import socket
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address

import anyio
import anyio.lowlevel
from anyio.abc import ConnectedUDPSocket, UDPSocket

from dsadapter.addressing.hosts import is_literal
from dsadapter.datagrams import Counters
from dsadapter.datagrams.pulling import PulledDatagrams
from dsadapter.errors import naming, plugin_errors_as_os_errors, spelling
from dsadapter.frameworks.anyio.anyio_waiting import WAITING
from dsadapter.frameworks.anyio.socket_stream import FRAMEWORK, LISTENING
from dsadapter.packetinfo.receiving import Datagram
from dsadapter.policy import (
    DEFAULT_PACKET_SIZE,
    DatagramFallback,
    DatagramPolicy,
    ListenMode,
    canonical_target,
)
from dsadapter.sockets.families import family_of


async def create_udp_socket(
    family: int = socket.AF_UNSPEC,
    *,
    local_host: str | IPv4Address | IPv6Address | None = None,
    local_port: int = 0,
    reuse_port: bool = False,
    max_packet_size: int = DEFAULT_PACKET_SIZE,
    fallback: DatagramFallback = "auto",
    device: str | None = None,
) -> DualStackUDPSocket:
    """As ``anyio.create_udp_socket``, for IPv4 and IPv6 through one socket; the application passes
    and sees canonical addresses only, and answers leave from the address that was asked.

    :param family: ``AF_INET`` or ``AF_INET6`` for that family of a wildcard alone.
    :param local_host: None or ``"::"`` for both families; or an address literal or object.
    :param max_packet_size: how many bytes a datagram may have; a longer one is dropped and counted.
    :param fallback: what to serve where a family is missing; see
        :class:`~dsadapter.policy.DatagramPolicy`.
    :param device: the name of the network interface, or of the VRF, to serve alone.
    :raises ValueError: naming the offending value and the form to use; and for ``reuse_port``,
        because a shared port loses datagrams to whoever shares it.
    :raises OSError: as AnyIO's; ``PermissionError`` if a plugin refuses.
    """
    return await bind(
        _policy(family, local_host, local_port, reuse_port, max_packet_size, fallback, device)
    )


async def create_connected_udp_socket(
    remote_host: str | IPv4Address | IPv6Address,
    remote_port: int,
    *,
    family: int = socket.AF_UNSPEC,
    local_host: str | IPv4Address | IPv6Address | None = None,
    local_port: int = 0,
    reuse_port: bool = False,
    max_packet_size: int = DEFAULT_PACKET_SIZE,
    fallback: DatagramFallback = "auto",
    device: str | None = None,
) -> DualStackConnectedUDPSocket:
    """As ``anyio.create_connected_udp_socket``; the rest as :func:`create_udp_socket`.

    :param remote_host: the only peer, by an address literal or object of either family, plain or
        mapped, or by a name.
    """
    target = canonical_target(str(remote_host), remote_port)
    policy = _policy(family, local_host, local_port, reuse_port, max_packet_size, fallback, device)
    peers = await _resolved(target, family)
    with plugin_errors_as_os_errors(), spelling(LISTENING):
        made = DualStackConnectedUDPSocket(policy)
    try:
        made.connect(peers)
    except BaseException:
        made.close()
        raise
    return made


def _policy(
    family: int,
    host: str | IPv4Address | IPv6Address | None,
    port: int,
    reuse_port: bool,
    max_packet_size: int,
    fallback: DatagramFallback,
    device: str | None,
) -> DatagramPolicy:
    if reuse_port:
        raise ValueError("reuse_port would let others take the datagrams; leave it out")
    with spelling(LISTENING):
        return DatagramPolicy(
            "" if host is None else str(host),
            port,
            family=family_of(family),
            max_packet_size=max_packet_size,
            fallback=fallback,
            device=device,
        )


async def bind(policy: DatagramPolicy) -> DualStackUDPSocket:
    """Bind by a policy that has been made elsewhere; see :func:`create_udp_socket`."""
    await anyio.lowlevel.checkpoint()
    with plugin_errors_as_os_errors(), spelling(LISTENING):
        return DualStackUDPSocket(policy)


async def _resolved(target: tuple[str, int], family: int) -> list[tuple[str, int]]:
    host, port = target
    if is_literal(host):
        await anyio.lowlevel.checkpoint()
        return [target]
    with naming(host):
        found = await anyio.getaddrinfo(
            host, port, family=socket.AddressFamily(family), type=socket.SOCK_DGRAM
        )
    return list(dict.fromkeys((str(address[0]), port) for *_, address in found))


class _DatagramSocket:
    """What both kinds of sockets have."""

    def __init__(self, policy: DatagramPolicy) -> None:
        self._datagrams = PulledDatagrams(FRAMEWORK, policy, WAITING)

    @property
    def _raw_socket(self) -> socket.socket:
        return self._datagrams.sock

    @property
    def mode(self) -> ListenMode:
        """Which address families it serves."""
        return self._datagrams.port.life.mode

    @property
    def counters(self) -> Counters:
        """What has been received, and what was dropped for which reason."""
        return self._datagrams.port.counters

    async def receive_datagram(self) -> Datagram:
        """Payload, sender, and a :class:`~dsadapter.packetinfo.PacketInfo` that says where the
        datagram arrived.

        :raises ClosedResourceError: if the socket is closed.
        :raises BrokenResourceError: if it is of no more use; once, where the only peer has refused
            a datagram.
        """
        try:
            return await self._datagrams.receive()
        except OSError as error:
            if error.errno == errno.EBADF:
                raise anyio.ClosedResourceError from None
            raise anyio.BrokenResourceError from error

    async def send_datagram(
        self,
        data: bytes,
        address: tuple[str, int] | None = None,
        source: str | None = None,
        interface: str | int | None = None,
    ) -> None:
        """Send from a chosen address of this machine, or by a chosen interface.

        :param address: ``(host, port)``, the host an address literal of either family; None where
            the socket is connected.
        :param source: the local address to send from; None leaves that to the system, or to where
            the datagram arrived that ``address`` came with.
        :param interface: the name or the index of the interface to send by, likewise.
        :raises ValueError: for what is no address, or none that fits.
        :raises ClosedResourceError: if the socket is closed.
        :raises OSError: as ``sendmsg``.
        """
        try:
            await self._datagrams.send(data, address, source, interface)
        except OSError as error:
            if error.errno == errno.EBADF:
                raise anyio.ClosedResourceError from None
            raise

    def close(self) -> None:
        """Close at once; datagrams that came and were not taken are gone."""
        self._datagrams.close()

    async def aclose(self) -> None:
        """As AnyIO's."""
        self.close()
        await anyio.lowlevel.checkpoint()


class DualStackUDPSocket(_DatagramSocket, UDPSocket):
    """What :func:`create_udp_socket` gives, which alone makes it.

    Senders are ``(host, port)``. Sending to such a very address answers from where its datagram
    arrived. Forged IPv4 senders are dropped and counted.
    """

    async def receive(self) -> tuple[bytes, tuple[str, int]]:
        """As AnyIO's."""
        data, sender, _ = await self.receive_datagram()
        return data, sender

    async def send(self, item: tuple[bytes, tuple[str, int]]) -> None:
        """As AnyIO's: ``(data, (host, port))``, the host an address literal of either family."""
        await self.send_datagram(*item)


class DualStackConnectedUDPSocket(_DatagramSocket, ConnectedUDPSocket):
    """What :func:`create_connected_udp_socket` gives, which alone makes it."""

    def connect(self, peers: Sequence[tuple[str, int]]) -> None:
        """Choose the only peer: the first of these that can be.

        :raises OSError: if there is none.
        """
        self._datagrams.port.connect_to_one_of(peers)

    async def receive(self) -> bytes:
        """As AnyIO's."""
        return (await self.receive_datagram())[0]

    async def send(self, item: bytes) -> None:
        """As AnyIO's."""
        await self.send_datagram(item)
