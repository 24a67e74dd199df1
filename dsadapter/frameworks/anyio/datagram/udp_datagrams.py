"""``create_udp_socket``, and the socket that it gives."""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import IPv4Address, IPv6Address

import anyio
import anyio.lowlevel
from anyio.abc import UDPSocket

from dsadapter.datagrams import Counters
from dsadapter.datagrams.pulling import CoroutineWaiting, PulledDatagrams
from dsadapter.errors import PluginError
from dsadapter.frameworks.anyio.socket_stream import FRAMEWORK
from dsadapter.packetinfo.receiving import Datagram
from dsadapter.policy import DEFAULT_PACKET_SIZE, DatagramFallback, DatagramPolicy, ListenMode
from dsadapter.sockets.families import family_of

_WAITING = CoroutineWaiting(
    anyio.wait_readable,
    anyio.wait_writable,
    anyio.sleep,
    anyio.lowlevel.checkpoint_if_cancelled,
    anyio.lowlevel.cancel_shielded_checkpoint,
    anyio.notify_closing,
)


async def create_udp_socket(
    family: int = socket.AF_UNSPEC,
    *,
    local_host: str | IPv4Address | IPv6Address | None = None,
    local_port: int = 0,
    reuse_port: bool = False,
    max_packet_size: int = DEFAULT_PACKET_SIZE,
    fallback: DatagramFallback = "auto",
) -> DualStackUDPSocket:
    """As ``anyio.create_udp_socket``, for IPv4 and IPv6 through one socket; the application passes
    and sees canonical addresses only, and answers leave from the address that was asked.

    :param family: ``AF_INET`` or ``AF_INET6`` for that family of a wildcard alone.
    :param local_host: None or ``"::"`` for both families; or an address literal or object.
    :param max_packet_size: how many bytes a datagram may have; a longer one is dropped and counted.
    :param fallback: what to serve where a family is missing; see
        :class:`~dsadapter.policy.DatagramPolicy`.
    :raises ValueError: naming the offending value and the form to use; and for ``reuse_port``,
        because a shared port loses datagrams to whoever shares it.
    :raises OSError: as AnyIO's; ``PermissionError`` if a plugin refuses.
    """
    if reuse_port:
        raise ValueError("reuse_port would let others take the datagrams; leave it out")
    policy = DatagramPolicy(
        "" if local_host is None else str(local_host),
        local_port,
        family=family_of(family),
        max_packet_size=max_packet_size,
        fallback=fallback,
    )
    return await bind(policy)


async def bind(policy: DatagramPolicy) -> DualStackUDPSocket:
    """Bind by a policy that has been made elsewhere; see :func:`create_udp_socket`."""
    await anyio.lowlevel.checkpoint()
    try:
        return DualStackUDPSocket(policy)
    except PluginError as error:
        raise PermissionError(errno.EPERM, str(error)) from error


class DualStackUDPSocket(UDPSocket):
    """What :func:`create_udp_socket` gives, which alone makes it.

    Senders are ``(host, port)``. Sending to such a very address answers from where its datagram
    arrived. Forged IPv4 senders are dropped and counted.
    """

    def __init__(self, policy: DatagramPolicy) -> None:
        self._datagrams = PulledDatagrams(FRAMEWORK, policy, _WAITING)

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

    async def receive(self) -> tuple[bytes, tuple[str, int]]:
        """As AnyIO's."""
        data, sender, _ = await self.receive_datagram()
        return data, sender

    async def receive_datagram(self) -> Datagram:
        """Payload, sender, and a :class:`~dsadapter.packetinfo.PacketInfo` that says where the
        datagram arrived.

        :raises ClosedResourceError: if the socket is closed.
        :raises BrokenResourceError: if it is of no more use.
        """
        with _anyio_errors():
            return await self._datagrams.receive()

    async def send(self, item: tuple[bytes, tuple[str, int]]) -> None:
        """As AnyIO's: ``(data, (host, port))``, the host an address literal of either family."""
        await self.send_datagram(*item)

    async def send_datagram(
        self,
        data: bytes,
        address: tuple[str, int],
        source: str | None = None,
        interface: str | int | None = None,
    ) -> None:
        """Send from a chosen address of this machine, or by a chosen interface.

        :param source: the local address to send from; None leaves that to the system, or to where
            the datagram arrived that ``address`` came with.
        :param interface: the name or the index of the interface to send by, likewise.
        :raises ValueError: for what is no address, or none that fits.
        :raises OSError: as ``sendmsg``.
        """
        if not self._datagrams.port.is_open:
            raise anyio.ClosedResourceError
        await self._datagrams.send(data, address, source, interface)

    async def aclose(self) -> None:
        """As AnyIO's; datagrams that came and were not taken are gone."""
        self._datagrams.close()
        await anyio.lowlevel.checkpoint()


@contextmanager
def _anyio_errors() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno == errno.EBADF:
            raise anyio.ClosedResourceError from None
        raise anyio.BrokenResourceError from error
