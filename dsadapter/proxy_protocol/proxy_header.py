"""What a header says, in canonical addresses."""

from __future__ import annotations

from dataclasses import dataclass, fields
from socket import AF_INET6, inet_ntoa, inet_ntop
from typing import TYPE_CHECKING, Literal, NamedTuple

from dsadapter.addressing.mapped import MAPPED_PREFIX, PACKED_IPV4_LENGTH
from dsadapter.errors import ProxyHeaderError
from dsadapter.messages import quoted

if TYPE_CHECKING:
    from dsadapter.addressing.sockaddr import SocketAddress


class TLV(NamedTuple):
    """One of the type-length-value vectors behind the addresses of version 2 (section 2.2)."""

    type: int
    value: bytes


@dataclass(frozen=True, slots=True, init=False)
class ProxyHeader:
    """What a proxy says of the connection that it passes on."""

    version: Literal[1, 2]
    source: SocketAddress | bytes | None = None
    """The client: ``(host, port)`` of IPv4, also of an IPv4-mapped address, ``(host, port, 0, 0)``
    of IPv6; the path of a Unix socket, which begins with a NUL where it is abstract; or None, and
    the connection's own addresses hold: the proxy's own check, or no address that it could give."""
    destination: SocketAddress | bytes | None = None
    """Where the client connected to, as :attr:`source`; of the other family with some proxies."""
    transport: Literal["stream", "datagram"] | None = None
    """The client's; None without addresses."""
    tlvs: tuple[TLV, ...] = ()
    """In their order, without padding; none of a header without addresses. A checksum among them
    was right."""

    def __init__(
        self,
        version: Literal[1, 2],
        source: SocketAddress | bytes | None = None,
        destination: SocketAddress | bytes | None = None,
        transport: Literal["stream", "datagram"] | None = None,
        tlvs: tuple[TLV, ...] = (),
    ) -> None:
        _set_version(self, version)
        _set_source(self, source)
        _set_destination(self, destination)
        _set_transport(self, transport)
        _set_tlvs(self, tlvs)


# One header a connection: object.__setattr__, by which frozen dataclasses set their fields, takes
# twice as long.
_set_version, _set_source, _set_destination, _set_transport, _set_tlvs = (
    vars(ProxyHeader)[each.name].__set__ for each in fields(ProxyHeader)
)


def canonical_sockaddr(packed: bytes, port: int) -> SocketAddress:
    """The socket address of a packed address, which may be mapped."""
    # The bytes are a packed address even where they read as text.
    packed = packed.removeprefix(MAPPED_PREFIX)
    if len(packed) == PACKED_IPV4_LENGTH:
        return inet_ntoa(packed), port
    return inet_ntop(AF_INET6, packed), port, 0, 0


def refused(header: bytes, problem: str) -> ProxyHeaderError:
    """The error about a header that has a problem."""
    return ProxyHeaderError(f"the PROXY header {quoted(header)} {problem}")
