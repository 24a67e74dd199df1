"""``create_datagram_endpoint``."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from dsadapter.addressing.hosts import is_literal
from dsadapter.addressing.literal import require_literal
from dsadapter.datagrams import DatagramPort
from dsadapter.datagrams.port import Opening
from dsadapter.errors import naming, plugin_errors_as_os_errors, spelling
from dsadapter.frameworks.asyncio.datagram.datagram_transport import DualStackDatagramTransport
from dsadapter.frameworks.asyncio.given_sockets import taken_over
from dsadapter.frameworks.asyncio.loop_waiting import FRAMEWORK, check_flags
from dsadapter.frameworks.asyncio.signatures import like
from dsadapter.hooks.dispatch import Hooks
from dsadapter.listener import Listener
from dsadapter.messages import quoted
from dsadapter.policy import DEFAULT_PACKET_SIZE, DatagramPolicy, canonical_target, yes_or_no
from dsadapter.sockets.adopting import inherited_datagrams
from dsadapter.sockets.binding import DatagramSocket, ask_for_packet_info, is_bound
from dsadapter.sockets.canonical import take_ipv4_form
from dsadapter.sockets.families import BY_NUMBER, family_of
from dsadapter.sockets.ifaddrs import zoned
from dsadapter.sockets.listening import Listening
from dsadapter.sockets.port_numbers import port_number

P = TypeVar("P", bound=asyncio.BaseProtocol)


@like("create_datagram_endpoint", max_packet_size=DEFAULT_PACKET_SIZE, device=None)
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
    device: str | None = None,
) -> tuple[DualStackDatagramTransport, P]:
    """As ``loop.create_datagram_endpoint``, for IPv4 and IPv6 through one socket; the application
    passes and sees canonical addresses only, and answers leave from the address that was asked.

    :param local_addr: ``(host, port)`` with a host as :class:`~dsadapter.policy.DatagramPolicy` has
        it: ``""`` or ``"::"`` for both families, ``"localhost"`` or several literals with commas
        between for a socket each; None for any port of both.
    :param remote_addr: the only peer, by an address literal or a name; of several local addresses
        the first of its family is bound alone.
    :param family: ``AF_INET`` or ``AF_INET6`` for that family alone.
    :param flags: those of ``getaddrinfo``, for a name of a peer; ``AI_NUMERICHOST`` for no name.
    :param max_packet_size: how many bytes a datagram may have; a longer one is dropped and counted.
    :param device: the name of the network interface, or of the VRF, to serve alone.
    :param reuse_port: share the port with other sockets that ask for it, too; each datagram reaches
        one of them.
    :param sock: a UDP socket, bound or connected or neither; it becomes the transport's. Datagrams
        that came before may have no packet information, and be dropped for that.
    :raises TypeError: for a ``sock`` that is none.
    :raises ValueError: naming the offending value and the form to use.
    :raises OSError: as ``loop.create_datagram_endpoint``; ``PermissionError`` if a plugin refuses.
    """
    loop = asyncio.get_running_loop()
    if sock is not None:
        options = {
            "local_addr": local_addr,
            "remote_addr": remote_addr,
            "family": family,
            "proto": proto,
            "flags": flags,
            "reuse_port": reuse_port,
            "allow_broadcast": allow_broadcast,
            "device": device,
        }
        beside = [f"{name}={value!r}" for name, value in options.items() if value]
        if beside:
            raise ValueError(f"{', '.join(beside)}: a sock has that already; give one or the other")
        return await exchange_on(sock, protocol_factory, max_packet_size)
    host, number = _host_and_port("local_addr", local_addr or ("", 0))
    if flags:
        named = host if host == "localhost" else None
        check_flags(named, local_addr and local_addr[1], flags)
    policy = DatagramPolicy(
        host,
        number,
        family=family_of(family),
        max_packet_size=max_packet_size,
        device=device,
        reuse_port=False if reuse_port is None else reuse_port,
    )
    allowed = False if allow_broadcast is None else allow_broadcast
    yes_or_no("allow_broadcast", allowed)
    peers = [] if remote_addr is None else await _resolved(loop, remote_addr, family, flags)
    chosen = _facing(policy, peers) if peers else policy
    return await exchange(chosen, protocol_factory, peers, allow_broadcast=allowed)


def _facing(policy: DatagramPolicy, peers: Sequence[tuple[str, int]]) -> DatagramPolicy:
    """Of several addresses the first that serves the family of one of some peers."""
    families = ["ipv4" if require_literal(host).is_ipv4 else "ipv6" for host, _ in peers]
    facing = [part for family in families for part in policy.parts if part.mode == family]
    return facing[0] if facing and len(policy.parts) > 1 else policy


async def exchange(
    policy: DatagramPolicy,
    protocol_factory: Callable[[], P],
    peers: Sequence[tuple[str, int]] = (),
    *,
    allow_broadcast: bool = False,
    opening: Opening | None = None,
    peer: tuple[str, int] | None = None,
    kind: type[DualStackDatagramTransport] = DualStackDatagramTransport,
) -> tuple[DualStackDatagramTransport, P]:
    """Bind by a policy that has been made elsewhere.

    :param peers: addresses of the only peer, the best first; none for all peers.
    :param opening: opens the sockets; None for what the policy asks for.
    :param peer: the one that such a socket is connected to already.
    :param kind: what the transport is.
    :raises OSError: as :func:`create_datagram_endpoint`.
    """
    loop = asyncio.get_running_loop()
    port = DatagramPort(policy, Listener(FRAMEWORK, policy))
    protocol = protocol_factory()
    transport = kind(loop, port, protocol)
    informed = hasattr(protocol, "packet_received")
    with plugin_errors_as_os_errors(), spelling(BY_NUMBER):
        port.open(
            transport.deliver,
            transport.refused,
            unreachable=transport.failed,
            details=informed,
            opening=opening,
            several=True,
        )
    try:
        if allow_broadcast:
            port.allow_broadcast(True)
        port.peer = peer
        port.connect_to_one_of(peers)
        port.life.opened()
        transport.start()
    except BaseException:
        port.close()
        raise
    return transport, protocol


async def exchange_on(
    sock: socket.socket,
    protocol_factory: Callable[[], P],
    max_packet_size: int = DEFAULT_PACKET_SIZE,
    kind: type[DualStackDatagramTransport] = DualStackDatagramTransport,
) -> tuple[DualStackDatagramTransport, P]:
    """Take over a socket.

    :param kind: what the transport is.
    :raises OSError: for one that packet information can't be had of.
    """
    taken = taken_over(sock, DatagramSocket, "bound or connected", socket.SOCK_DGRAM)
    try:
        if not is_bound(taken) or not taken.getsockname()[1]:
            taken.bind(("::" if taken.family == socket.AF_INET6 else "0.0.0.0", 0))
        peer = None
        with contextlib.suppress(OSError):
            peer = zoned(taken.getpeername())[:2]
            # Connected to a mapped address it is an IPv4 socket but for its form.
            if take_ipv4_form(taken):
                taken = DatagramSocket(fileno=taken.detach())
        policy = replace(
            inherited_datagrams(
                fd=taken.fileno(), max_packet_size=max_packet_size, connected=peer is not None
            ),
            inherited=(),
        )

        def opening(hooks: Hooks, details: bool) -> Listening:
            ask_for_packet_info(taken, policy.mode, policy, details=details)
            if hooks.before_bind is not None:
                hooks.before_bind(taken, policy)
            return Listening(policy.mode, (taken,), None)

        return await exchange(policy, protocol_factory, opening=opening, peer=peer, kind=kind)
    except BaseException:
        taken.close()
        raise


def _host_and_port(name: str, address: Any) -> tuple[Any, int]:
    """As the loop's own takes them.

    :raises TypeError: for anything but a tuple of two.
    """
    if not isinstance(address, tuple) or len(address) != 2:
        raise TypeError(f"{name} {quoted(address)} is no tuple of two; give (host, port)")
    return address[0], port_number(address[1], "udp")


async def _resolved(
    loop: asyncio.AbstractEventLoop, target: tuple[str, int], family: int, flags: int
) -> list[tuple[str, int]]:
    host, port = canonical_target(*_host_and_port("remote_addr", target))
    if is_literal(host):
        return [(host, port)]
    check_flags(host, target[1], flags)
    with naming(host):
        found = await loop.getaddrinfo(
            host, port, family=family, type=socket.SOCK_DGRAM, flags=flags
        )
    return list(dict.fromkeys((str(address[0]), port) for *_, address in found))
