"""``create_datagram_endpoint``."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Callable, Sequence
from typing import TypeVar

from dsadapter.addressing.hosts import is_literal
from dsadapter.datagrams import DatagramPort
from dsadapter.errors import PluginError
from dsadapter.frameworks.asyncio.datagram.datagram_transport import DualStackDatagramTransport
from dsadapter.frameworks.asyncio.families import family_of
from dsadapter.frameworks.asyncio.loop_waiting import FRAMEWORK
from dsadapter.frameworks.asyncio.signatures import like
from dsadapter.listener import Listener
from dsadapter.policy import DEFAULT_PACKET_SIZE, DatagramPolicy, canonical_target, yes_or_no

P = TypeVar("P", bound=asyncio.BaseProtocol)


@like("create_datagram_endpoint", max_packet_size=DEFAULT_PACKET_SIZE)
async def create_datagram_endpoint(
    protocol_factory: Callable[[], P],
    local_addr: tuple[str, int] | None = None,
    remote_addr: tuple[str, int] | None = None,
    *,
    family: int = 0,
    proto: int = 0,
    flags: int = 0,
    reuse_port: bool | None = None,
    allow_broadcast: bool | None = None,
    sock: socket.socket | None = None,
    max_packet_size: int = DEFAULT_PACKET_SIZE,
) -> tuple[DualStackDatagramTransport, P]:
    """As ``loop.create_datagram_endpoint``, for IPv4 and IPv6 through one socket; the application
    passes and sees canonical addresses only, and answers leave from the address that was asked.

    :param local_addr: ``(host, port)`` with a host as :class:`~dsadapter.policy.DatagramPolicy` has
        it: ``""`` or ``"::"`` for both families; None for any port of both.
    :param remote_addr: the only peer, by an address literal or a name.
    :param family: ``AF_INET`` or ``AF_INET6`` for that family alone.
    :param max_packet_size: how many bytes a datagram may have; a longer one is dropped and counted.
    :raises ValueError: naming the offending value and the form to use; for ``reuse_port``, because
        a shared port loses datagrams to whoever shares it; and for ``sock``.
    :raises OSError: as ``loop.create_datagram_endpoint``; ``PermissionError`` if a plugin refuses.
    """
    loop = asyncio.get_running_loop()
    if sock is not None:
        raise ValueError("a sock has no packet information from its start; give local_addr")
    if reuse_port:
        raise ValueError("reuse_port would let others take the datagrams; leave it out")
    host, number = local_addr or ("", 0)
    policy = DatagramPolicy(host, number, family=family_of(family), max_packet_size=max_packet_size)
    allowed = False if allow_broadcast is None else allow_broadcast
    yes_or_no("allow_broadcast", allowed)
    peers = [] if remote_addr is None else await _resolved(loop, remote_addr, family)
    return await exchange(policy, protocol_factory, peers, allow_broadcast=allowed)


async def exchange(
    policy: DatagramPolicy,
    protocol_factory: Callable[[], P],
    peers: Sequence[tuple[str, int]] = (),
    *,
    allow_broadcast: bool = False,
) -> tuple[DualStackDatagramTransport, P]:
    """Bind by a policy that has been made elsewhere.

    :param peers: addresses of the only peer, the best first; none for all peers.
    :raises OSError: as :func:`create_datagram_endpoint`.
    """
    loop = asyncio.get_running_loop()
    port = DatagramPort(policy, Listener(FRAMEWORK, policy))
    protocol = protocol_factory()
    transport = DualStackDatagramTransport(loop, port, protocol)
    informed = hasattr(protocol, "packet_received")
    try:
        port.open(transport.deliver, transport.refused, details=informed)
    except PluginError as error:
        raise PermissionError(errno.EPERM, str(error)) from error
    try:
        if allow_broadcast:
            port.allow_broadcast(True)
        _connect(port, peers)
        port.life.opened()
        transport.start()
    except BaseException:
        port.close()
        raise
    return transport, protocol


async def _resolved(
    loop: asyncio.AbstractEventLoop, target: tuple[str, int], family: int
) -> list[tuple[str, int]]:
    host, port = canonical_target(*target)
    if is_literal(host):
        return [(host, port)]
    found = await loop.getaddrinfo(host, port, family=family, type=socket.SOCK_DGRAM)
    return list(dict.fromkeys((str(address[0]), port) for *_, address in found))


def _connect(port: DatagramPort, peers: Sequence[tuple[str, int]]) -> None:
    errors: list[Exception] = []
    for peer in peers:
        try:
            port.connect(*peer)
        except (OSError, ValueError) as error:
            errors.append(error)
        else:
            return
    if errors:
        raise errors[0]
