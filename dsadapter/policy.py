"""What a caller asked for, checked and settled before any socket exists."""

from __future__ import annotations

from socket import SOCK_DGRAM, SOCK_STREAM, SOMAXCONN, SocketKind
from typing import Literal, NamedTuple

from dsadapter.addressing.text import is_ipv4, parse_ipv6, unmap_text

ListenMode = Literal["dual-stack", "ipv4", "ipv6"]
"""Which address families one listening socket serves."""

MAX_PORT = 65535
MAX_BACKLOG = 2**31 - 1
MAX_PACKET_SIZE = 2**31 - 1
DEFAULT_PACKET_SIZE = 8192

_UNSPECIFIED_IPV6 = bytes(16)


class ListenPolicy(NamedTuple):
    """How to listen.

    Only the unspecified IPv6 address is dual-stack. An IPv4 interface is IPv4 only, a specific IPv6
    one is IPv6 only: neither is widened.
    """

    mode: ListenMode
    host: str
    """The canonical literal to bind: ``::``, dotted IPv4, or native IPv6 with its zone id."""
    port: int
    """0 to 65535; 0 lets the system choose."""
    backlog: int
    """How many connections may wait to be accepted; the system caps it (``net.core.somaxconn``)."""
    reuse_port: bool
    """Share the port with other sockets of this user that ask for it too (``SO_REUSEPORT``)."""

    @property
    def socket_type(self) -> SocketKind:
        """``SOCK_STREAM``."""
        return SOCK_STREAM

    @classmethod
    def for_interface(
        cls, interface: str, port: int, backlog: int = SOMAXCONN, reuse_port: bool = False
    ) -> ListenPolicy:
        """The policy for an interface as users write it.

        :param interface: ``""`` or any spelling of ``::`` for dual-stack; an IPv4 literal, plain or
            mapped; a native IPv6 literal, with a zone id where it needs one.
        :raises ValueError: naming the offending value and the form to use.
        """
        mode, host = _mode_and_host(interface)
        return cls(
            mode,
            host,
            _in_range("port", port, 0, MAX_PORT),
            _in_range("backlog", backlog, 1, MAX_BACKLOG),
            reuse_port,
        )

    def __str__(self) -> str:
        return socket_name(self.host, self.port)


class DatagramPolicy(NamedTuple):
    """How to receive datagrams; interfaces mean what they mean to :class:`ListenPolicy`."""

    mode: ListenMode
    host: str
    """The canonical literal to bind: ``::``, dotted IPv4, or native IPv6 with its zone id."""
    port: int
    """0 to 65535; 0 lets the system choose."""
    max_packet_size: int
    """How many bytes of payload a datagram may have."""

    @property
    def socket_type(self) -> SocketKind:
        """``SOCK_DGRAM``."""
        return SOCK_DGRAM

    @classmethod
    def for_interface(
        cls, interface: str, port: int, max_packet_size: int = DEFAULT_PACKET_SIZE
    ) -> DatagramPolicy:
        """The policy for an interface as users write it.

        :param interface: as for :meth:`ListenPolicy.for_interface`.
        :raises ValueError: naming the offending value and the form to use.
        """
        mode, host = _mode_and_host(interface)
        return cls(
            mode,
            host,
            _in_range("port", port, 0, MAX_PORT),
            _in_range("maxPacketSize", max_packet_size, 1, MAX_PACKET_SIZE),
        )

    def __str__(self) -> str:
        return socket_name(self.host, self.port)


def socket_name(host: str, port: int) -> str:
    """``192.0.2.1:80`` or ``[2001:db8::1]:80`` (RFC 5952, section 6)."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _mode_and_host(interface: str) -> tuple[ListenMode, str]:
    if not isinstance(interface, str):
        raise ValueError(f"interface {interface!r} is not text; give an address literal")
    if not interface:
        return "dual-stack", "::"
    host = unmap_text(interface)
    if is_ipv4(host):
        return "ipv4", host
    packed = parse_ipv6(host)
    if packed is None:
        raise ValueError(
            f"interface {interface!r} is not an address literal; give '::' for IPv4 and IPv6, "
            f"'0.0.0.0' for IPv4 only, or one address of this machine such as '127.0.0.1' or '::1'"
        )
    if packed == _UNSPECIFIED_IPV6:
        if "%" in host:
            raise ValueError(f"interface {interface!r} has a zone id on '::'; write '::'")
        return "dual-stack", "::"
    return "ipv6", host


def _in_range(name: str, value: int, low: int, high: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise ValueError(f"{name} {value!r} is not a whole number from {low} to {high}")
    return value
