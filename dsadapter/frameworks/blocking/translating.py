"""A ``socket.socket`` that takes and shows addresses of both families, for plain code."""

from __future__ import annotations

import _socket
import errno
import socket
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Self

from dsadapter.addressing.hosts import canonical_host, is_literal
from dsadapter.addressing.literal import require_literal
from dsadapter.errors import NotDualStackError, naming
from dsadapter.messages import quoted
from dsadapter.packetinfo.sending import BROADCAST_NAME, wire_address
from dsadapter.policy import ListenMode
from dsadapter.ready.ready_socket import ReadySocket
from dsadapter.sockets.canonical import canonical_name, family_number
from dsadapter.sockets.capability import says_absent
from dsadapter.sockets.options import read_v6only, set_v6only

if TYPE_CHECKING:
    import ssl

    from dsadapter.packetinfo.receiving import Counters, Datagram

_INET, _INET6 = int(socket.AF_INET), int(socket.AF_INET6)
_FAMILIES = {"dual-stack": 0, "ipv4": _INET, "ipv6": _INET6}


class TranslatingSocket(ReadySocket):
    """As ``socket.socket``, but every address that goes in or comes out is a plain one: IPv4 for an
    IPv4 peer, on a socket that serves both families.

    Without a family it is AF_INET6 with ``IPV6_V6ONLY`` cleared, or AF_INET where this machine has
    no such socket; with AF_INET6, ``IPV6_V6ONLY`` is cleared, too, and may be set before bind. With
    any other family it is a plain socket.

    An address that the socket can't take (IPv4 on a v6-only one, IPv6 on an AF_INET one) is a
    :class:`~dsadapter.errors.NotDualStackError`, which names the address and the remedy.
    """

    __slots__ = ()

    # Accepted ones have nothing more to translate.
    _accepts = ReadySocket

    def __new__(
        cls,
        family: int = -1,
        type: int = -1,  # noqa: A002
        proto: int = -1,
        fileno: int | None = None,
    ) -> Self:
        """One for datagrams is of a class of its own."""
        kind: Any = cls
        if cls is TranslatingSocket and _has_datagrams(type, fileno):
            from dsadapter.frameworks.blocking.datagram import TranslatingDatagramSocket

            kind = TranslatingDatagramSocket
        made: Self = super().__new__(kind)
        return made

    def __init__(
        self,
        family: int = -1,
        type: int = -1,  # noqa: A002
        proto: int = -1,
        fileno: int | None = None,
    ) -> None:
        if fileno is not None:
            super().__init__(family, type, proto, fileno)
        elif family == -1:
            try:
                self._open(_INET6, type, proto)
            except OSError as error:
                if not (isinstance(error, NotDualStackError) or says_absent(error)):
                    raise
                self._open(_INET, type, proto)
        else:
            self._open(family, type, proto)

    def _open(self, family: int, type_: int, proto: int) -> None:
        super().__init__(family, type_, proto)
        if family == _INET6:
            try:
                set_v6only(self, False)
            except BaseException:
                self.close()
                raise

    if TYPE_CHECKING:
        # One for datagrams has these; what it is, no checker can tell from its type.

        @property
        def counters(self) -> Counters:
            """Of datagrams: what has been received, and what was dropped for which reason."""

        def receive_datagram(self, bufsize: int, flags: int = 0) -> Datagram:
            """Payload, sender and packet information of a datagram."""

        def send_datagram(
            self,
            data: bytes,
            address: tuple[str, int],
            source: str | None = None,
            interface: str | int | None = None,
        ) -> int:
            """Send a datagram from a chosen address, or by a chosen interface."""

    @property
    def sslsocket_class(self) -> type[ssl.SSLSocket]:
        """As for :class:`~dsadapter.ready.ready_socket.ReadySocket`; it connects as this one."""
        from dsadapter.frameworks.blocking.translating_tls import TranslatingSSLSocket

        return TranslatingSSLSocket

    @property
    def mode(self) -> ListenMode:
        """Which address families the socket takes, as the kernel says now: IPv4 alone once its own
        address is an IPv4 one."""
        mode = self.wire_mode
        # Windows gives no name before bind or connect.
        with suppress(OSError):
            if mode == "dual-stack" and len(self.getsockname()) == 2:
                return "ipv4"
        return mode

    @property
    def wire_mode(self) -> ListenMode:
        """Which families the kernel's own addresses of this socket can name."""
        if family_number(self) == _INET:
            return "ipv4"
        return "ipv6" if read_v6only(self) else "dual-stack"

    def bind(self, address: Any) -> None:
        """As ``socket.socket.bind``; an IPv4 address serves IPv4 only."""
        super().bind(self.wire(address))

    def connect(self, address: Any) -> None:
        """As ``socket.socket.connect``. A name stands for the first address that it has; use
        :func:`~dsadapter.frameworks.blocking.client.create_connection` to try them all."""
        try:
            super().connect(self.wire(address))
        except OSError as error:
            raise self.explained(error, address) from None

    def connect_ex(self, address: Any) -> int:
        """As ``socket.socket.connect_ex``, by the rules of :meth:`connect`."""
        return super().connect_ex(self.wire(address))

    def wire(self, address: Any) -> Any:
        """What the kernel takes for a plain address, of this socket.

        :raises NotDualStackError: if it takes none of that family.
        :raises ValueError: for a host that two parsers would read differently.
        :raises socket.gaierror: for a name that has no address.
        """
        if family_number(self) not in (_INET, _INET6) or not _has_host(address):
            return address
        host, port = address[:2]
        name = "255.255.255.255" if host == BROADCAST_NAME else canonical_host(host)
        if not is_literal(name):
            name, port, *rest = self._first_address(name, port)
            address = (name, port, *rest)
        literal = require_literal(name)
        mode = self.wire_mode
        family, other = ("IPv4", "IPv6") if literal.is_ipv4 else ("IPv6", "IPv4")
        if mode == other.lower():
            raise NotDualStackError(
                f"{quoted(literal.address)} is {family}, but this socket takes {other} only; "
                f"make one without a family, bound to '::' or not at all"
            )
        wire = wire_address(mode, literal, port)
        # What is not IPv4 keeps its flow info and scope id.
        return wire if literal.is_ipv4 else address

    def explained(self, error: OSError, address: Any) -> OSError:
        """The error to raise in place of one of the kernel's for a destination: it names an IPv6
        one that a socket with an IPv4 address of its own can't take."""
        if error.errno != errno.EAFNOSUPPORT or family_number(self) != _INET6:
            return error
        local = self.getsockname()
        if isinstance(error, NotDualStackError) or len(local) != 2:
            return error
        return NotDualStackError(
            f"{quoted(address[0])} is IPv6, but this socket is bound to the IPv4 address "
            f"{local[0]}; bind one to '::' for both families"
        )

    def _first_address(self, host: str, port: Any) -> Any:
        family = _FAMILIES[self.mode]
        with naming(host):
            found = socket.getaddrinfo(host, port, family, self.type, self.proto)
        return canonical_name(found[0][4])


def _has_datagrams(type_: int, fileno: int | None) -> bool:
    if fileno is not None and type_ == -1:
        probe = _socket.socket(-1, -1, -1, fileno)
        type_ = probe.type
        probe.detach()
    # The flags of some systems, such as SOCK_NONBLOCK, are above.
    return type_ & 0xF == socket.SOCK_DGRAM and type_ != -1


def _has_host(address: Any) -> bool:
    """Whether an address has one: an empty one is any, in both families."""
    return (
        isinstance(address, tuple)
        and len(address) >= 2
        and isinstance(address[0], str)
        and address[0] != ""
    )


def host_and_port(address: Any) -> tuple[Any, Any]:
    """An address taken apart.

    :raises ValueError: for anything but two items.
    """
    if not isinstance(address, (tuple, list)) or len(address) != 2:
        raise ValueError(f"address {quoted(address)} is not two items; give (host, port)")
    host, port = address
    return host, port
