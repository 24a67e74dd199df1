"""A loop that reads names from bare descriptors, uvloop, and its datagrams in a covered process."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Awaitable
from typing import Any

from dsadapter.addressing.literal import packed_literal
from dsadapter.addressing.sockaddr import SocketAddress
from dsadapter.errors import PluginError
from dsadapter.frameworks.asyncio.datagram.datagram_creation import exchange, exchange_on
from dsadapter.frameworks.asyncio.datagram.datagram_transport import DualStackDatagramTransport
from dsadapter.launcher.datagrams import Named, exchange_of
from dsadapter.launcher.listing import end, list_entry
from dsadapter.launcher.loops import unmapped
from dsadapter.launcher.methods import endings
from dsadapter.launcher.receiving import entry_of, pass_on, wanted
from dsadapter.launcher.report import say
from dsadapter.listener import announced_elsewhere
from dsadapter.packetinfo.peers import PeerAddress
from dsadapter.parameters import LONGEST_PACKET
from dsadapter.policy import DatagramPolicy, socket_name
from dsadapter.sockets.options import read_v6only
from dsadapter.sockets.port_numbers import port_number

_INET6 = int(socket.AF_INET6)
_KNOWN = {
    *("allow_broadcast", "family", "flags", "proto"),
    *("remote_addr", "reuse_address", "reuse_port", "sock"),
}


def create_datagram_endpoint(original: Any, module: Any) -> Any:
    """One of AF_INET6 has its senders translated, and forged ones dropped."""

    async def create_datagram_endpoint(
        self: Any, protocol_factory: Any, local_addr: Any = None, **options: Any
    ) -> Any:
        remote, given = options.get("remote_addr"), options.get("sock")
        if given is not None:
            if local_addr is None and options.keys() == {"sock"} and _is_ipv6(given):
                return await _exchange_on(given, protocol_factory)
        elif isinstance(remote, tuple):
            options["remote_addr"] = (unmapped(*remote[:2]), *remote[1:])
        elif isinstance(local_addr, tuple) and options.keys() <= _KNOWN:
            packed = _packed(local_addr[0])
            family = options.get("family")
            if packed is not None and len(packed) == 4 and not family:
                # Where it is mapped, this would be an IPv6 socket with mapped senders.
                local_addr = (socket.inet_ntoa(packed), *local_addr[1:])
            if packed == bytes(16) and family in (None, 0, _INET6) and _is_dual():
                # AF_INET6 is no reason to leave IPv4 out, for a socket.
                port = port_number(local_addr[1], "udp")
                policy = DatagramPolicy(
                    "::",
                    port,
                    max_packet_size=LONGEST_PACKET,
                    reuse_port=bool(options.get("reuse_port")),
                )
                allowed = bool(options.get("allow_broadcast"))
                kind = _kind(serves=port != 0)
                return await _listed(
                    exchange(policy, protocol_factory, allow_broadcast=allowed, kind=kind)
                )
            # libuv's own bind asks nobody.
            if _is_wanted() or packed is None or len(packed) == 16 or family == _INET6:
                given = await _bound_for_datagrams(self, local_addr, options)
                if _is_ipv6(given):
                    return await _exchange_on(given, protocol_factory)
                return await original(self, protocol_factory, sock=given)
        return await original(self, protocol_factory, local_addr, **options)

    return create_datagram_endpoint


class _ClientTransport(DualStackDatagramTransport):
    """Peers that the program names by a mapped address keep that; see
    :class:`~dsadapter.launcher.datagrams.Named`."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._named = Named()

    def _shown(self, peer: PeerAddress) -> SocketAddress:
        name: Any = self._named.name_of(peer)
        if name is None:
            return super()._shown(peer)
        self._peers.add(name, peer)
        shown: SocketAddress = name
        return shown

    def _destination(self, addr: Any) -> tuple[str, int] | None:
        self._named.sent_to(addr)
        return super()._destination(addr)


def _kind(serves: bool) -> type[DualStackDatagramTransport]:
    return DualStackDatagramTransport if serves else _ClientTransport


async def _listed(making: Awaitable[tuple[Any, Any]], given: Any = None) -> tuple[Any, Any]:
    with announced_elsewhere():
        made = await making
    transport = made[0]
    sock = transport.get_extra_info("socket")
    entry = entry_of(sock, transport.counters)
    list_entry(entry)

    def ended() -> None:
        end(entry)
        if given is not None:
            given.close()

    endings[sock.fileno()] = os.getpid(), ended
    return made


async def _exchange_on(given: Any, protocol_factory: Any) -> tuple[Any, Any]:
    """Exchange datagrams on a socket of the program, which may still ask it for its name."""
    own = socket.socket(fileno=os.dup(given.fileno()))
    try:
        pass_on(given)
        kind = _kind(exchange_of(given).named.serves)
        return await _listed(exchange_on(own, protocol_factory, LONGEST_PACKET, kind=kind), given)
    except BaseException:
        own.close()
        raise


async def _bound_for_datagrams(loop: Any, address: Any, options: dict[str, Any]) -> Any:
    """The socket that uvloop binds for datagrams; takes out of its options what that is for.

    :raises OSError: as ``loop.create_datagram_endpoint``.
    """
    names = ("family", "proto", "flags")
    family, proto, flags = (options.pop(name, 0) for name in names)
    reuse_port, broadcast = options.pop("reuse_port", None), options.pop("allow_broadcast", None)
    options.pop("reuse_address", None)
    found = await loop.getaddrinfo(
        *address[:2], family=family, type=socket.SOCK_DGRAM, proto=proto, flags=flags
    )
    problem = OSError(f"could not bind to local_addr {address!r}")
    for each in found:
        sock = socket.socket(*each[:3])
        try:
            sock.setblocking(False)
            if reuse_port:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            if broadcast:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
            sock.bind(each[4])
        except OSError as error:
            sock.close()
            problem = error
        else:
            return sock
    raise problem


def _is_wanted() -> bool:
    try:
        return wanted()
    except PluginError as error:
        raise PermissionError(errno.EPERM, str(error)) from error


def _is_dual() -> bool:
    """Whether this machine's AF_INET6 sockets serve both families without being told."""
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
        return not read_v6only(sock)


def _is_ipv6(sock: Any) -> bool:
    # What is something else has the loop say so.
    is_socket = isinstance(sock, socket.socket) and sock.fileno() != -1
    if not is_socket or sock.family != socket.AF_INET6 or sock.type != socket.SOCK_DGRAM:
        return False
    name = sock.getsockname()
    if len(name) == 2:
        # Nothing but the loop takes such a one.
        say(f"{socket_name(*name)} shows mapped addresses: an IPv6 socket is bound to it")
        return False
    return True


def _packed(host: Any) -> bytes | None:
    try:
        return packed_literal(host)
    except (TypeError, ValueError):
        return None
