"""What a caller asked for, checked and settled before any socket exists.

Each policy has one constructor, which checks everything and puts addresses into their one spelling;
``dataclasses.replace`` makes another one of it.
"""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass, field, replace
from socket import SOCK_DGRAM, SOCK_STREAM, SOMAXCONN, SocketKind
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Self, get_args

from dsadapter.addressing.hosts import canonical_host, is_literal
from dsadapter.addressing.literal import parse_literal
from dsadapter.messages import Message, quoted
from dsadapter.parameters import DEFAULT_ATTEMPT_DELAY as DEFAULT_ATTEMPT_DELAY
from dsadapter.parameters import DEFAULT_PACKET_SIZE as DEFAULT_PACKET_SIZE
from dsadapter.parameters import DEFAULT_PROXY_TIMEOUT as DEFAULT_PROXY_TIMEOUT
from dsadapter.parameters import DEFAULT_TIMEOUT as DEFAULT_TIMEOUT
from dsadapter.parameters import WHOLE_NUMBERS as WHOLE_NUMBERS
from dsadapter.parameters import one_of as one_of
from dsadapter.parameters import seconds
from dsadapter.parameters import whole_number as whole_number
from dsadapter.parameters import yes_or_no as yes_or_no

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dsadapter.addressing import AddressSet

__all__ = [
    "ConnectPolicy",
    "DatagramFallback",
    "DatagramPolicy",
    "Fallback",
    "Family",
    "Inherited",
    "ListenMode",
    "ListenPolicy",
    "LookupWay",
    "MappedAddresses",
    "canonical_target",
]

ListenMode = Literal["dual-stack", "pair", "ipv4", "ipv6"]
"""Which address families a listener serves: both through one socket, both through one socket each,
or one."""

Fallback = Literal["auto", "pair", "ipv4", "ipv6", "fail"]
"""What to do where this machine can't serve both families as asked: a socket for each family, one
family alone, or nothing. ``auto`` serves as much as it can."""

FALLBACKS: tuple[Fallback, ...] = get_args(Fallback)

DatagramFallback = Literal["auto", "ipv4", "ipv6", "fail"]
"""The same for datagrams, which no pair takes the place of a dual-stack socket for."""

DATAGRAM_FALLBACKS: tuple[DatagramFallback, ...] = get_args(DatagramFallback)

Family = Literal["ipv4", "ipv6"]

FAMILIES: tuple[Family, ...] = get_args(Family)

FAMILY_NAMES: dict[Family, str] = {"ipv4": "IPv4", "ipv6": "IPv6"}
"""For texts."""

MappedAddresses = Literal["unmap", "refuse"]
"""What to do with an IPv4-mapped address that a name resolves to: take it as the IPv4 address that
it means, or leave it out."""

MAPPED_ADDRESSES: tuple[MappedAddresses, ...] = get_args(MappedAddresses)

LookupWay = Literal["joint", "families"]
"""How to ask for the addresses of a name: for both families at once, which leaves their order to
the resolver, or for each on its own, so that neither waits for the other."""

LOOKUP_WAYS: tuple[LookupWay, ...] = get_args(LookupWay)

_LOCALHOST = "localhost"
_ALONE: dict[tuple[Family, str], str] = {
    ("ipv4", "::"): "0.0.0.0",
    ("ipv6", "::"): "::",
    ("ipv4", _LOCALHOST): "127.0.0.1",
    ("ipv6", _LOCALHOST): "::1",
}


class Inherited(NamedTuple):
    """A socket that somebody else has made, to be taken over in place of opening one."""

    descriptor: int
    inode: int
    """What the descriptor is to be still when it is taken over (``st_ino`` of ``fstat``)."""


class _ForSockets:
    """What the policies have in common that sockets are bound by."""

    __slots__ = ()

    host: Any
    port: Any

    @property
    def parts(self) -> tuple[Self, ...]:
        """The policies of the sockets that one port number is for: of ``localhost``, and of several
        addresses; otherwise the policy itself."""
        if self.host == _LOCALHOST:
            return self.only("ipv4"), self.only("ipv6")
        if "," not in self.host:
            return (self,)
        policy: Any = self
        return tuple(replace(policy, host=host, inherited=()) for host in self.host.split(","))

    def only(self, family: Family) -> Self:
        """The part of a policy for both families that is about one of them."""
        policy: Any = self
        part: Self = replace(policy, family=family, fallback="auto", inherited=())
        return part

    def __str__(self) -> str:
        return " and ".join(socket_name(host, self.port) for host in self.host.split(","))


@dataclass(frozen=True, slots=True)
class ListenPolicy(_ForSockets):
    """How to listen for stream connections.

    Only the unspecified IPv6 address is dual-stack. ``localhost`` is a pair, because ``::1`` never
    receives IPv4. An IPv4 host is IPv4 only, a specific IPv6 one is IPv6 only: neither is widened.

    :raises ValueError: naming the offending value and the form to use.
    """

    host: str
    """``""`` or any spelling of ``::`` for dual-stack; ``localhost`` for 127.0.0.1 and ::1; an IPv4
    literal, plain or mapped; a native IPv6 literal, with a zone id where it needs one; several
    literals with commas between. Each is kept in its one spelling: dotted IPv4, or IPv6 as RFC 5952
    has it."""
    port: int
    """0 to 65535; 0 lets the system choose."""
    _: KW_ONLY
    family: Family | None = None
    """One family of ``::`` or ``localhost`` alone. None where the host alone says which."""
    backlog: int = SOMAXCONN
    """How many connections may wait to be accepted; the system caps it (``net.core.somaxconn``)."""
    reuse_port: bool = False
    """Share the port with other sockets of this user that ask for it too (``SO_REUSEPORT``)."""
    fallback: Fallback = "auto"
    """For a missing address family, or an option that can't be cleared; never for a port that is
    held. For ``dual-stack`` and ``pair`` only."""
    proxy_from: AddressSet | None = None
    """The proxies that connections are taken from; each has to begin with a PROXY header, and any
    other connection is closed. A list of rules makes a set. None to take connections from anywhere,
    without a header."""
    proxy_timeout: float = DEFAULT_PROXY_TIMEOUT
    """Seconds that a PROXY header may take to come, all of it."""
    device: str | None = None
    """Serve one network interface, or one VRF, alone, by its name (``SO_BINDTODEVICE``)."""
    native_ipv4: bool = False
    """Ask the kernel to make connections with IPv4 peers AF_INET ones, for whoever gets their bare
    descriptors."""
    inherited: tuple[Inherited, ...] = ()
    """Sockets to take over in place of opening any; see :mod:`dsadapter.sockets.adopting`."""
    mode: ListenMode = field(init=False)

    def __post_init__(self) -> None:
        _settle_host(self)
        whole_number("port", self.port)
        whole_number("backlog", self.backlog)
        yes_or_no("reuse_port", self.reuse_port)
        yes_or_no("native_ipv4", self.native_ipv4)
        _check_device(self.device, self.inherited)
        _check_fallback(self, FALLBACKS, "'::' and 'localhost'")
        if self.proxy_from is not None:
            _set(self, "proxy_from", proxy_set(self.proxy_from))
        seconds("proxy_timeout", self.proxy_timeout)

    @property
    def socket_type(self) -> SocketKind:
        """``SOCK_STREAM``."""
        return SOCK_STREAM


@dataclass(frozen=True, slots=True)
class DatagramPolicy(_ForSockets):
    """How to receive datagrams; hosts mean what they mean to :class:`ListenPolicy`.

    :raises ValueError: naming the offending value and the form to use.
    """

    host: str
    """As for :class:`ListenPolicy`."""
    port: int
    """0 to 65535; 0 lets the system choose."""
    _: KW_ONLY
    family: Family | None = None
    """As for :class:`ListenPolicy`."""
    max_packet_size: int = DEFAULT_PACKET_SIZE
    """How many bytes of payload a datagram may have."""
    reuse_port: bool = False
    """As for :class:`ListenPolicy`; each datagram reaches one of those that share the port."""
    fallback: DatagramFallback = "auto"
    """For a missing address family, or an option that can't be cleared; never for a port that is
    held. For ``dual-stack`` and ``pair`` only."""
    device: str | None = None
    """As for :class:`ListenPolicy`."""
    inherited: tuple[Inherited, ...] = ()
    """As for :class:`ListenPolicy`."""
    mode: ListenMode = field(init=False)

    def __post_init__(self) -> None:
        _settle_host(self)
        whole_number("port", self.port)
        whole_number("max_packet_size", self.max_packet_size)
        yes_or_no("reuse_port", self.reuse_port)
        _check_device(self.device, self.inherited)
        _check_fallback(self, DATAGRAM_FALLBACKS, "'::' and 'localhost'")

    @property
    def socket_type(self) -> SocketKind:
        """``SOCK_DGRAM``."""
        return SOCK_DGRAM


@dataclass(frozen=True, slots=True, init=False)
class ConnectPolicy:
    """How to connect, wherever to.

    :param bind_address: a literal of either family, plain or mapped, alone or with a port; ``""``
        and ``"::"`` are any address.
    :raises ValueError: naming the offending value and the form to use.
    """

    timeout: float | None
    """Seconds for the whole: resolving and all attempts; None waits for ever."""
    bind_address: tuple[str, int] | None
    """The literal to connect from in its one spelling, with its zone id, and the port. An empty
    host is any address, port 0 any port."""
    attempt_delay: float
    """Seconds between the starts of two attempts of which the first has not failed (RFC 8305,
    section 5)."""
    first_address_family_count: int
    """How many addresses of the first family to try before one of the other (RFC 8305, section
    8)."""
    remember_outcomes: bool
    """Begin with the address that won lately against one that was tried before it."""
    mapped_addresses: MappedAddresses
    """For IPv4-mapped addresses that a name resolves to."""
    lookup: LookupWay
    """For a name: one question for both families, or one for each. A joint one that finds nothing
    is followed by one for each."""

    def __init__(
        self,
        *,
        timeout: float | None = DEFAULT_TIMEOUT,
        bind_address: str | tuple[str, int] | None = None,
        attempt_delay: float = DEFAULT_ATTEMPT_DELAY,
        first_address_family_count: int = 1,
        remember_outcomes: bool = True,
        mapped_addresses: MappedAddresses = "unmap",
        lookup: LookupWay = "joint",
    ) -> None:
        if timeout is not None:
            seconds("timeout", timeout)
        seconds("attempt_delay", attempt_delay)
        whole_number("first_address_family_count", first_address_family_count)
        yes_or_no("remember_outcomes", remember_outcomes)
        one_of("mapped_addresses", mapped_addresses, MAPPED_ADDRESSES)
        one_of("lookup", lookup, LOOKUP_WAYS)
        # A frozen dataclass settles its own fields this way; this is on the way of each connect.
        settle = object.__setattr__
        settle(self, "timeout", timeout)
        settle(self, "bind_address", None if bind_address is None else _bind_address(bind_address))
        settle(self, "attempt_delay", attempt_delay)
        settle(self, "first_address_family_count", first_address_family_count)
        settle(self, "remember_outcomes", remember_outcomes)
        settle(self, "mapped_addresses", mapped_addresses)
        settle(self, "lookup", lookup)


def proxy_set(proxies: Iterable[str] | None) -> AddressSet | None:
    """The set of the proxies that a parameter names; None for None.

    :raises ValueError: for a rule that is none, and for no rule at all.
    """
    if proxies is None:
        return None
    from dsadapter.addressing.address_sets import AddressSet

    try:
        named = proxies if isinstance(proxies, AddressSet) else AddressSet(proxies)
    except (TypeError, ValueError) as error:
        raise ValueError(Message("{proxy_from}: {reason}", reason=str(error))) from None
    if not named:
        raise ValueError(
            Message(
                "{proxy_from} names no proxy; give the addresses that your proxies connect from, "
                "such as 10.0.0.1 or 10.0.0.0/8"
            )
        )
    return named


def canonical_target(host: str, port: int) -> tuple[str, int]:
    """Host and port to connect to, checked and canonical.

    :raises ValueError: naming the offending value and the form to use; see
        :func:`~dsadapter.addressing.hosts.canonical_host`.
    """
    return canonical_host(host), whole_number("port", port, low=1)


def socket_name(host: str, port: int) -> str:
    """``192.0.2.1:80`` or ``[2001:db8::1]:80`` (RFC 5952, section 6)."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _set(policy: Any, name: str, value: object) -> None:
    # A frozen dataclass settles its own fields this way.
    object.__setattr__(policy, name, value)


def _settle_host(policy: ListenPolicy | DatagramPolicy) -> None:
    """Set mode and host, and the family where the host alone does not say it."""
    given, family = policy.host, policy.family
    if family is not None:
        _check_family(family)
    mode, host = _mode_and_host(given)
    if family is not None and (family, host) in _ALONE:
        mode, host = family, _ALONE[family, host]
    elif family not in (None, mode):
        raise ValueError(
            Message(
                "{family} {wanted} is not that of {host} {given}; leave {family} out, or give '::' "
                "or 'localhost'",
                wanted=quoted(family),
                given=quoted(given),
            )
        )
    _set(policy, "mode", mode)
    _set(policy, "host", host)
    _set(policy, "family", "ipv6" if host == "::" and mode == "ipv6" else None)


def _check_family(family: object) -> None:
    """Check a parameter that names one address family.

    :raises ValueError: naming the value and the choices.
    """
    if family not in FAMILIES:
        raise ValueError(
            Message(
                "{family} {value} is neither 'ipv4' nor 'ipv6'; leave {family} out for both",
                value=quoted(family),
            )
        )


def _mode_and_host(host: str) -> tuple[ListenMode, str]:
    if not isinstance(host, str):
        raise ValueError(
            Message("{host} {given} is not text; give an address literal", given=quoted(host))
        )
    if not host:
        return "dual-stack", "::"
    if "," in host:
        return _several(host)
    if host.lower() == _LOCALHOST:
        return "pair", _LOCALHOST
    try:
        literal = parse_literal(host)
    except ValueError as error:
        raise ValueError(Message("{host} {reason}", reason=str(error))) from error
    if literal is None:
        raise ValueError(
            Message(
                "{host} {given} is not an address literal; give '::' for IPv4 and IPv6, '0.0.0.0' "
                "for IPv4 only, or one address of this machine such as '127.0.0.1' or '::1'",
                given=quoted(host),
            )
        )
    text = str(literal)
    if text == "::":
        return "dual-stack", text
    return ("ipv4" if literal.is_ipv4 else "ipv6"), text


def _several(given: str) -> tuple[ListenMode, str]:
    """The mode and the hosts of several addresses."""
    modes: dict[str, ListenMode] = {}
    for each in given.split(","):
        if not each:
            raise ValueError(Message("{host} {given} has an empty address", given=quoted(given)))
        mode, host = _mode_and_host(each)
        if mode == "pair" or host in modes:
            text = "{host} {given} names {each} twice; give each address once"
            if mode == "pair":
                text = "{host} {given}: give '127.0.0.1,::1' in place of {each} beside others"
            raise ValueError(Message(text, given=quoted(given), each=quoted(each)))
        modes[host] = mode
    for wildcard, covered in (("::", ("ipv4", "ipv6")), ("0.0.0.0", ("ipv4",))):
        beside = [host for host, mode in modes.items() if host != wildcard and mode in covered]
        if wildcard in modes and beside:
            raise ValueError(
                Message(
                    "{host} {given}: '{wildcard}' covers '{beside}'; leave '{beside}' out",
                    given=quoted(given),
                    wildcard=wildcard,
                    beside=beside[0],
                )
            )
    families = set(modes.values()) - {"dual-stack"}
    mode = "pair" if len(families) > 1 else families.pop()
    return mode, ",".join(modes)


def _check_device(device: object, inherited: tuple[Inherited, ...]) -> None:
    """Check a parameter that names a network interface (``dev_valid_name`` of Linux).

    :raises ValueError: naming the value.
    """
    if device is None:
        return
    if inherited:
        raise ValueError(Message("{device} is for a socket to be opened; leave it out"))
    named = isinstance(device, str) and 0 < len(device.encode()) < 16 and device not in (".", "..")
    if not named or any(c in "/:" or c.isspace() or not c.isprintable() for c in str(device)):
        raise ValueError(
            Message(
                "{device} {value} is not the name of a network interface such as 'eth0'",
                value=quoted(device),
            )
        )


def _check_fallback(
    policy: ListenPolicy | DatagramPolicy, choices: tuple[str, ...], both: str
) -> None:
    """Check a fallback, which is for the hosts that are both families alone."""
    fallback = policy.fallback
    one_of("fallback", fallback, choices)
    if "," in policy.host and fallback != "auto":
        raise ValueError(
            Message(
                "{fallback} {value} is for {both}; of several addresses all are served, or none",
                both=both,
                value=quoted(fallback),
            )
        )
    if policy.mode in ("ipv4", "ipv6") and fallback not in ("auto", "fail"):
        raise ValueError(
            Message(
                "{fallback} {value} is for {both}; {host} {given} is one family only, and stays so",
                both=both,
                value=quoted(fallback),
                given=quoted(policy.host),
            )
        )


def _bind_address(given: str | tuple[str, int]) -> tuple[str, int]:
    host, port = (given, 0) if isinstance(given, str) else _address_and_port(given)
    try:
        whole_number("port", port)
    except ValueError as error:
        raise ValueError(Message("{bind_address}: {reason}", reason=str(error))) from error
    if not host:
        return "", port
    try:
        literal = canonical_host(host)
    except ValueError as error:
        raise ValueError(
            Message("{bind_address} {given}: {reason}", given=quoted(given), reason=str(error))
        ) from error
    if not is_literal(literal):
        raise ValueError(
            Message(
                "{bind_address} {given} is not an address literal; give an address of this machine "
                "such as '192.0.2.1' or '2001:db8::1', or (address, port)",
                given=quoted(given),
            )
        )
    return ("" if literal == "::" else literal), port


def _address_and_port(given: object) -> tuple[str, int]:
    if isinstance(given, tuple) and len(given) == 2 and isinstance(given[0], str):
        return given
    raise ValueError(
        Message(
            "{bind_address} {given} is neither an address as text nor (address, port)",
            given=quoted(given),
        )
    )
