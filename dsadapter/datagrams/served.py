"""One of a datagram port's sockets, and which of several is to send."""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence

from dsadapter.addressing.literal import AddressLiteral, require_literal
from dsadapter.packetinfo.receiving import Receiver
from dsadapter.packetinfo.sending import parse_destination, wire_address
from dsadapter.policy import ListenMode


class ServedSocket:
    """A socket with what it alone knows.

    :param sock: non-blocking, bound.
    :param mode: what all sockets of its port serve.
    :param owner: what the addresses of its senders know it by.
    :param receiver: makes what receives.
    """

    __slots__ = ("failures", "met_error", "mode", "owner", "receiver", "sock")

    def __init__(
        self,
        sock: socket.socket,
        mode: ListenMode,
        owner: object,
        receiver: Callable[[socket.socket, ListenMode, object], Receiver],
    ) -> None:
        self.sock = sock
        self.mode: ListenMode = mode
        """What this socket alone serves."""
        if mode == "pair":
            self.mode = "ipv4" if sock.family == socket.AF_INET else "ipv6"
        self.owner = owner
        self.receiver = receiver(sock, self.mode, owner)
        self.failures = 0
        """How many errors of receiving have come one after the other."""
        self.met_error = False
        """Whether an error has been taken from the socket that whoever watches it may have seen."""


def sender_for(
    served: Sequence[ServedSocket], address: tuple[str, int] | None, source: str | None
) -> ServedSocket:
    """The socket to send by what answers none of a port's datagrams: of those that serve the
    destination's family the one that is bound to the source, or to what routing would choose for
    one; else the first.

    What is no address is for any of them to refuse.
    """
    if len(served) == 1 or address is None:
        return served[0]
    try:
        literal = parse_destination(address[0])
        chosen = None if source is None else require_literal(source).packed
    except (LookupError, TypeError, ValueError):
        return served[0]
    family = _of_family(served, literal)
    if len(family) > 1:
        chosen = chosen or _routed_source(literal)
        family = [each for each in family if _bound_to(each) == chosen] or family
    return family[0]


def of_family(served: Sequence[ServedSocket], host: str) -> ServedSocket:
    """The first that serves an address's family, if one does; what is no address is for any of them
    to refuse."""
    try:
        return served[0] if len(served) == 1 else _of_family(served, require_literal(host))[0]
    except ValueError:
        return served[0]


def _of_family(served: Sequence[ServedSocket], literal: AddressLiteral) -> Sequence[ServedSocket]:
    mode = "ipv4" if literal.is_ipv4 else "ipv6"
    return [each for each in served if each.mode == mode] or served


def _routed_source(literal: AddressLiteral) -> bytes | None:
    """The packed address that the system would send from; nothing is sent."""
    try:
        number = socket.AF_INET if literal.is_ipv4 else socket.AF_INET6
        with socket.socket(number, socket.SOCK_DGRAM) as probe:
            probe.connect(wire_address("ipv4" if literal.is_ipv4 else "ipv6", literal, 9))
            return require_literal(str(probe.getsockname()[0])).packed
    except (OSError, ValueError):
        return None


def _bound_to(served: ServedSocket) -> bytes:
    return require_literal(str(served.sock.getsockname()[0])).packed
