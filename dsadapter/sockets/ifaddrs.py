"""Which interface has which address, by the C library's ``getifaddrs``."""

from __future__ import annotations

import socket
import sys
from functools import cache
from typing import Any

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
        import ctypes

        library, pointer = _library()
        first = pointer()
        failed = library.getifaddrs(ctypes.byref(first))
    except (ImportError, AttributeError, OSError) as error:
        raise OSError("addresses of interfaces can't be had here; name the interface") from error
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
