"""The three public functions, for every form in which programs hold an address."""

from __future__ import annotations

from dsadapter.addressing.mapped import is_mapped_packed, map_packed, unmap_packed
from dsadapter.addressing.objects import is_mapped_object, map_object, unmap_object
from dsadapter.addressing.sockaddr import (
    SocketAddress,
    is_mapped_sockaddr,
    map_sockaddr,
    unmap_sockaddr,
)
from dsadapter.addressing.text import is_mapped_text, map_text, unmap_text

# Typing takes longer to import than all of this package.
TYPE_CHECKING = False
if TYPE_CHECKING:
    import ipaddress
    from typing import Any, overload

    from twisted.internet import address as twisted_address

    AnyIPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
    AnyTwistedAddress = twisted_address.IPv4Address | twisted_address.IPv6Address


if TYPE_CHECKING:

    @overload
    def unmap(address: str) -> str: ...
    @overload
    def unmap(address: bytes) -> bytes: ...
    @overload
    def unmap(address: SocketAddress) -> SocketAddress: ...
    @overload
    def unmap(address: AnyIPAddress) -> AnyIPAddress: ...
    @overload
    def unmap(address: AnyTwistedAddress) -> AnyTwistedAddress: ...


def unmap(address: Any) -> Any:
    """The canonical form: IPv4 for an IPv4-mapped address; any other comes back as the same object.

    :param address: address text in any legal spelling; 4 or 16 packed bytes; an ``ipaddress``
        address; a socket address tuple; Twisted's ``IPv4Address`` or ``IPv6Address``.
    :returns: the same kind of value. Mapped text becomes dotted IPv4, 16 mapped bytes become 4, a
        tuple becomes ``(host, port)``, an IPv6 object becomes the IPv4 object of its package. Text
        that is no address literal, such as a host name, is not mapped.
    :raises ValueError: for what two parsers would read differently (a mapped address with a zone
        or scope id, IPv4 text with leading zeros, brackets), for bytes that are not packed, for a
        tuple that is no socket address.
    :raises TypeError: for any other type, networks and interfaces included.

    Only ``::ffff:0:0/96`` is mapped (RFC 4291, section 2.5.5.2): not IPv4-compatible ``::a.b.c.d``,
    not IPv4-translated ``::ffff:0:a.b.c.d``, not NAT64.
    """
    if isinstance(address, tuple):
        return unmap_sockaddr(address)
    if isinstance(address, str):
        return unmap_text(address)
    if isinstance(address, bytes):
        return unmap_packed(address)
    return unmap_object(address)


def is_mapped(address: Any) -> bool:
    """Whether an address is IPv4-mapped (``::ffff:0:0/96``, RFC 4291, section 2.5.5.2).

    :param address: as :func:`unmap`.
    :raises ValueError: as :func:`unmap`.
    :raises TypeError: as :func:`unmap`.
    """
    if isinstance(address, str):
        return is_mapped_text(address)
    if isinstance(address, tuple):
        return is_mapped_sockaddr(address)
    if isinstance(address, bytes):
        return is_mapped_packed(address)
    return is_mapped_object(address)


if TYPE_CHECKING:

    @overload
    def map_ipv4(address: str) -> str: ...
    @overload
    def map_ipv4(address: bytes) -> bytes: ...
    @overload
    def map_ipv4(address: SocketAddress) -> SocketAddress: ...
    @overload
    def map_ipv4(address: AnyIPAddress) -> ipaddress.IPv6Address: ...
    @overload
    def map_ipv4(address: AnyTwistedAddress) -> twisted_address.IPv6Address: ...


def map_ipv4(address: Any) -> Any:
    """The form that a dual-stack socket takes: IPv4 is mapped, IPv6 comes back as the same object.

    :param address: as :func:`unmap`, but text has to be an address literal.
    :returns: the same kind of value; an IPv4 tuple becomes ``(mapped, port, 0, 0)``.
    :raises ValueError: as :func:`unmap`, and for text that is no address literal; the shorthands of
        ``inet_aton`` (``127.1``, ``2130706433``) are none.
    :raises TypeError: as :func:`unmap`.
    """
    if isinstance(address, str):
        return map_text(address)
    if isinstance(address, tuple):
        return map_sockaddr(address)
    if isinstance(address, bytes):
        return map_packed(address)
    return map_object(address)
