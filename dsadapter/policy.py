"""What a caller asked for, checked and settled before any socket exists."""

from __future__ import annotations

import sys
from socket import SOCK_DGRAM, SOCK_STREAM, SOMAXCONN, SocketKind
from typing import Literal, NamedTuple, get_args

from dsadapter.addressing.hosts import canonical_host, canonical_literal, is_literal

ListenMode = Literal["dual-stack", "pair", "ipv4", "ipv6"]
"""Which address families a listener serves: both through one socket, both through one socket each,
or one."""

Fallback = Literal["auto", "pair", "ipv4", "ipv6", "fail"]
"""What to do where this machine can't serve both families as asked: a socket for each family, one
family alone, or nothing. ``auto`` serves as much as it can."""

FALLBACKS: tuple[Fallback, ...] = get_args(Fallback)

Family = Literal["ipv4", "ipv6"]

MappedAddresses = Literal["unmap", "refuse"]
"""What to do with an IPv4-mapped address that a name resolves to: take it as the IPv4 address that
it means, or leave it out."""

MAPPED_ADDRESSES: tuple[MappedAddresses, ...] = get_args(MappedAddresses)

MAX_PORT = 65535
MAX_BACKLOG = 2**31 - 1
MAX_PACKET_SIZE = 2**31 - 1
DEFAULT_PACKET_SIZE = 8192
# RFC 8305, section 8: never below 10 ms, at most 2 s.
MIN_ATTEMPT_DELAY = 0.01
MAX_ATTEMPT_DELAY = 2.0
MAX_FIRST_FAMILY_COUNT = 64

_LOCALHOST = "localhost"
_ALONE = {
    ("ipv4", "::"): "0.0.0.0",
    ("ipv6", "::"): "::",
    ("ipv4", _LOCALHOST): "127.0.0.1",
    ("ipv6", _LOCALHOST): "::1",
}


class ListenPolicy(NamedTuple):
    """How to listen.

    Only the unspecified IPv6 address is dual-stack. ``localhost`` is a pair, because ``::1`` never
    receives IPv4. An IPv4 interface is IPv4 only, a specific IPv6 one is IPv6 only: neither is
    widened.
    """

    mode: ListenMode
    host: str
    """What to bind in its one spelling, whatever the user's: ``::``, dotted IPv4, or native IPv6
    (RFC 5952) with its zone id; or ``localhost``."""
    port: int
    """0 to 65535; 0 lets the system choose."""
    backlog: int
    """How many connections may wait to be accepted; the system caps it (``net.core.somaxconn``)."""
    reuse_port: bool
    """Share the port with other sockets of this user that ask for it too (``SO_REUSEPORT``)."""
    fallback: Fallback = "auto"
    """For ``dual-stack`` and ``pair`` only."""

    @property
    def socket_type(self) -> SocketKind:
        """``SOCK_STREAM``."""
        return SOCK_STREAM

    @classmethod
    def for_interface(
        cls,
        interface: str,
        port: int,
        backlog: int = SOMAXCONN,
        reuse_port: bool = False,
        fallback: Fallback = "auto",
    ) -> ListenPolicy:
        """The policy for an interface as users write it.

        :param interface: ``""`` or any spelling of ``::`` for dual-stack; ``localhost`` for
            127.0.0.1 and ::1; an IPv4 literal, plain or mapped; a native IPv6 literal, with a zone
            id where it needs one.
        :param fallback: for a missing address family, or an option that can't be cleared; never for
            a port that is held.
        :raises ValueError: naming the offending value and the form to use.
        """
        mode, host = _mode_and_host(interface)
        _check_fallback(fallback, mode, interface)
        return cls(
            mode,
            host,
            _in_range("port", port, 0, MAX_PORT),
            _in_range("backlog", backlog, 1, MAX_BACKLOG),
            _boolean("reusePort", reuse_port),
            fallback,
        )

    def only(self, family: Literal["ipv4", "ipv6"]) -> ListenPolicy:
        """The part of a policy for both families that is about one of them."""
        return self._replace(mode=family, host=_ALONE[family, self.host])

    def __str__(self) -> str:
        return socket_name(self.host, self.port)


class DatagramPolicy(NamedTuple):
    """How to receive datagrams; interfaces mean what they mean to :class:`ListenPolicy`."""

    mode: ListenMode
    host: str
    """What to bind in its one spelling, whatever the user's: ``::``, dotted IPv4, or native IPv6
    (RFC 5952) with its zone id."""
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

        :param interface: as for :meth:`ListenPolicy.for_interface`, but ``localhost``.
        :raises ValueError: naming the offending value and the form to use.
        """
        mode, host = _mode_and_host(interface)
        if mode == "pair":
            raise ValueError(
                f"interface {interface!r} is two addresses, and datagrams have one socket; give "
                f"'127.0.0.1' or '::1', or '::' for IPv4 and IPv6"
            )
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
    if interface.lower() == _LOCALHOST:
        return "pair", _LOCALHOST
    host = canonical_literal(interface)
    if host is None:
        raise ValueError(
            f"interface {interface!r} is not an address literal; give '::' for IPv4 and IPv6, "
            f"'0.0.0.0' for IPv4 only, 'localhost', or one address of this machine such as "
            f"'127.0.0.1' or '::1'"
        )
    if host == "::":
        return "dual-stack", host
    return ("ipv6" if ":" in host else "ipv4"), host


def _check_fallback(fallback: str, mode: ListenMode, interface: str) -> None:
    if fallback not in FALLBACKS:
        raise ValueError(
            f"fallback {fallback!r} is none of {', '.join(FALLBACKS)}; 'auto' is the default"
        )
    if mode in ("ipv4", "ipv6") and fallback not in ("auto", "fail"):
        raise ValueError(
            f"fallback {fallback!r} is for '::' and 'localhost'; interface {interface!r} is one "
            f"family only, and stays so"
        )


def _in_range(name: str, value: int, low: int, high: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise ValueError(f"{name} {value!r} is not a whole number from {low} to {high}")
    return value


def _boolean(name: str, value: bool) -> bool:
    # Text such as "no" would count as true.
    if not isinstance(value, bool):
        raise ValueError(f"{name} {value!r} is neither True nor False; give {name}=True or False")
    return value


class ConnectPolicy(NamedTuple):
    """How to connect, wherever to."""

    timeout: float | None
    """Seconds for the whole: resolving and all attempts; None waits for ever."""
    bind_address: tuple[str, int] | None
    """The canonical literal, with its zone id, and the port to connect from. An empty host is any
    address, port 0 any port."""
    attempt_delay: float
    """Seconds between the starts of two attempts of which the first has not failed (RFC 8305,
    section 5)."""
    first_address_family_count: int = 1
    """How many addresses of the first family to try before one of the other (RFC 8305, section
    8)."""
    remember_outcomes: bool = True
    """Begin with the address that won lately against one that was tried before it."""
    mapped_addresses: MappedAddresses = "unmap"
    """For IPv4-mapped addresses that a name resolves to."""

    @classmethod
    def checked(
        cls,
        timeout: float | None = 30,
        bind_address: str | tuple[str, int] | None = None,
        attempt_delay: float = 0.25,
        first_address_family_count: int = 1,
        remember_outcomes: bool = True,
        mapped_addresses: str = "unmap",
    ) -> ConnectPolicy:
        """The policy for values as users write them.

        :param bind_address: a literal of either family, plain or mapped, alone or with a port;
            ``""`` and ``"::"`` are any address.
        :raises ValueError: naming the offending value and the form to use.
        """
        if mapped_addresses not in MAPPED_ADDRESSES:
            raise ValueError(
                f"mappedAddresses {mapped_addresses!r} is none of {', '.join(MAPPED_ADDRESSES)}; "
                f"'unmap' is the default"
            )
        return cls(
            None if timeout is None else _seconds("timeout", timeout, 0, None),
            None if bind_address is None else _bind_address(bind_address),
            _seconds("attemptDelay", attempt_delay, MIN_ATTEMPT_DELAY, MAX_ATTEMPT_DELAY),
            _in_range(
                "firstAddressFamilyCount", first_address_family_count, 1, MAX_FIRST_FAMILY_COUNT
            ),
            _boolean("rememberOutcomes", remember_outcomes),
            mapped_addresses,
        )


def canonical_target(host: str, port: int) -> tuple[str, int]:
    """Host and port to connect to, checked and canonical.

    :raises ValueError: naming the offending value and the form to use; see
        :func:`~dsadapter.addressing.hosts.canonical_host`.
    """
    return canonical_host(host), _in_range("port", port, 1, MAX_PORT)


def _bind_address(given: str | tuple[str, int]) -> tuple[str, int]:
    host, port = (given, 0) if isinstance(given, str) else _pair(given)
    port = _in_range("port of bindAddress", port, 0, MAX_PORT)
    if host in ("", "::"):
        return "", port
    try:
        literal = canonical_host(host)
    except ValueError as error:
        raise ValueError(f"bindAddress {given!r}: {error}") from error
    if not is_literal(literal):
        raise ValueError(
            f"bindAddress {given!r} is not an address literal; give an address of this machine "
            f"such as '192.0.2.1' or '2001:db8::1', or (address, port)"
        )
    return ("" if literal == "::" else literal), port


def _pair(given: object) -> tuple[str, int]:
    if isinstance(given, tuple) and len(given) == 2 and isinstance(given[0], str):
        return given
    raise ValueError(f"bindAddress {given!r} is neither an address as text nor (address, port)")


def _seconds(name: str, value: float, low: float, high: float | None) -> float:
    valid = isinstance(value, (int, float)) and not isinstance(value, bool)
    # A comparison with NaN is false.
    if not (valid and low <= value <= (sys.float_info.max if high is None else high)):
        bounds = f"from {low:g} to {high:g}" if high is not None else "from 0"
        raise ValueError(f"{name} {value!r} is not a number of seconds {bounds}")
    return value
