"""The interfaces of this machine: names, indices, and which has which address (``getifaddrs``)."""

from __future__ import annotations

import errno
import os
import socket
import sys
from functools import cache
from pathlib import Path
from typing import Any

from dsadapter.addressing.literal import AddressLiteral, parse_literal
from dsadapter.addressing.scope import needs_zone
from dsadapter.addressing.sockaddr import SocketAddress
from dsadapter.messages import quoted

# The BSDs and macOS put a length before the family, and keep both in one byte.
_FAMILY_OFFSET, _FAMILY_SIZE = (0, 2) if sys.platform.startswith("linux") else (1, 1)
_ADDRESS = {int(socket.AF_INET): (4, 4), int(socket.AF_INET6): (8, 16)}


@cache
def _library() -> tuple[Any, Any]:
    import ctypes

    class Entry(ctypes.Structure):
        pass

    Entry._fields_ = [
        ("next", ctypes.POINTER(Entry)),
        ("name", ctypes.c_char_p),
        ("flags", ctypes.c_uint),
        ("address", ctypes.c_void_p),
    ]
    return ctypes.CDLL(None, use_errno=True), ctypes.POINTER(Entry)


def interface_addresses() -> list[tuple[str, bytes]]:
    """The names of the interfaces and their packed addresses of both families, one row for each.

    :raises OSError: if this can't be found out.
    """
    try:
        if os.name == "nt":
            from dsadapter.sockets.adapters import adapter_addresses

            return adapter_addresses()
        import ctypes

        library, pointer = _library()
        first = pointer()
        failed = library.getifaddrs(ctypes.byref(first))
    except (ImportError, AttributeError, OSError) as error:
        raise OSError(
            "this system does not tell the addresses of interfaces; give the interface by its name"
        ) from error
    if failed:
        raise OSError(ctypes.get_errno(), "getifaddrs failed; name the interface")
    rows = []
    try:
        entry = first
        while entry:
            address = entry.contents.address
            if address:
                family = int.from_bytes(
                    ctypes.string_at(address + _FAMILY_OFFSET, _FAMILY_SIZE), sys.byteorder
                )
                if family in _ADDRESS:
                    offset, size = _ADDRESS[family]
                    packed = ctypes.string_at(address + offset, size)
                    rows.append((entry.contents.name.decode(), packed))
            entry = entry.contents.next
    finally:
        library.freeifaddrs(first)
    return rows


def interface_with(packed: bytes) -> int | None:
    """The index of the interface that has an address; None if none has.

    :raises OSError: as :func:`interface_addresses`.
    """
    for name, address in interface_addresses():
        if address == packed:
            return socket.if_nametoindex(name)
    return None


def ipv4_address_of(index: int) -> bytes | None:
    """An IPv4 address of an interface, packed; None if it has none.

    :raises OSError: as :func:`interface_addresses`, or if there is no such interface.
    """
    name = socket.if_indextoname(index)
    for owner, address in interface_addresses():
        if owner == name and len(address) == 4:
            return address
    return None


def interface_index(interface: str | int) -> int:
    """The index of an interface that is given by its name or its index.

    :raises ValueError: if there is no such interface.
    """
    if isinstance(interface, str):
        try:
            return socket.if_nametoindex(interface)
        except (OSError, ValueError):
            digits = interface.isascii() and interface.isdigit() and len(interface) < 10
            index = int(interface) if digits else -1
    else:
        index = interface if type(interface) is int else -1
    if not 0 < index < 2**31:
        raise ValueError(
            f"this machine has no interface {quoted(interface)}; give the name or the index of one "
            f"of its own"
        )
    return index


def interface_name(index: int) -> str | None:
    """The name of an interface; None if it has gone, or the index is 0."""
    try:
        return socket.if_indextoname(index) if index else None
    except OSError:
        return None


def zone_index(literal: AddressLiteral) -> int:
    """The index of the interface that the zone of an address names; 0 without a zone.

    :raises ValueError: if there is no such interface.
    """
    return interface_index(literal.zone) if literal.zone else 0


def scoped_text(packed: bytes, interface: int) -> str:
    """The canonical text of a packed address; with its zone if it is link-local IPv6."""
    zone = ""
    if interface and needs_zone(packed):
        zone = interface_name(interface) or str(interface)
    return str(AddressLiteral(packed, zone))


def serves_vrfs(setting: Path = Path("/proc/sys/net/ipv4/udp_l3mdev_accept")) -> bool:
    """Whether a socket that is bound to no interface gets datagrams from VRFs (Linux,
    ``vrf.rst``).

    :param setting: the system's; False where it has none.
    """
    try:
        return setting.read_text(encoding="utf-8").strip() != "0"
    except (OSError, ValueError):
        return False


def is_in_vrf(name: str, interfaces: Path = Path("/sys/class/net")) -> bool:
    """Whether an interface is one of a VRF's, or the VRF itself (Linux, ``vrf.rst``): its routes
    are in a table of their own.

    :param name: the interface's.
    :param interfaces: where the system describes them; False where it does not.
    """
    for described in (interfaces / name / "master" / "uevent", interfaces / name / "uevent"):
        try:
            if "DEVTYPE=vrf" in described.read_text(encoding="utf-8").splitlines():
                return True
        except (OSError, ValueError):
            continue
    return False


def zoned(address: SocketAddress) -> SocketAddress:
    """A canonical socket address with its zone in the host, where it has a scope id.

    The kernel names the interface by the scope id alone.
    """
    if len(address) == 2 or not address[3] or "%" in address[0]:
        return address
    flags = socket.NI_NUMERICHOST | socket.NI_NUMERICSERV
    return socket.getnameinfo(address, flags)[0], *address[1:]


def scoped_sockaddr(host: str, port: int) -> SocketAddress:
    """The canonical socket address of an address literal: its zone becomes the scope id.

    :param host: a literal in its canonical spelling.
    :returns: ``(ipv4, port)`` or ``(ipv6, port, flow info, scope id)``, the host as given.
    :raises OSError: ``ENODEV`` if there is no such interface.
    """
    if ":" not in host:
        return host, port
    if "%" not in host:
        return host, port, 0, 0
    literal = parse_literal(host)
    assert literal is not None
    try:
        return host, port, 0, zone_index(literal)
    except ValueError as error:
        raise OSError(
            errno.ENODEV,
            f"this machine has no interface {quoted(literal.zone)}, which {host} names",
        ) from error
