"""The addresses of the interfaces of Windows (``GetAdaptersAddresses``, iphlpapi.h)."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from functools import cache
from typing import Any

_FAMILIES = {2: (4, 4), 23: (8, 16)}
"""Winsock's AF_INET and AF_INET6: where an address is in its name, and how long it is."""
# Neither anycast, multicast, DNS servers nor the name that people gave.
_FLAGS = 0x2 | 0x4 | 0x8 | 0x20
_TOO_SMALL, _NO_DATA = 111, 232
_ENOUGH = 1 << 20
"""Bytes that are more than any machine's addresses take."""


@cache
def structures() -> tuple[Any, Any]:
    """``IP_ADAPTER_ADDRESSES`` and ``IP_ADAPTER_UNICAST_ADDRESS``, as far as they are read, in
    natural alignment."""
    import ctypes

    pointer, number = ctypes.c_void_p, ctypes.c_uint32

    class IP_ADAPTER_ADDRESSES(ctypes.Structure):  # noqa: N801
        _fields_ = (
            ("Length", number),
            ("IfIndex", number),
            ("Next", pointer),
            ("AdapterName", pointer),
            ("FirstUnicastAddress", pointer),
            ("FirstAnycastAddress", pointer),
            ("FirstMulticastAddress", pointer),
            ("FirstDnsServerAddress", pointer),
            ("DnsSuffix", pointer),
            ("Description", pointer),
            ("FriendlyName", pointer),
            # Eight bytes that need no alignment.
            ("_physical_address", number),
            ("_its_rest", number),
            ("PhysicalAddressLength", number),
            ("Flags", number),
            ("Mtu", number),
            ("IfType", number),
            ("OperStatus", number),
            ("Ipv6IfIndex", number),
        )

    class IP_ADAPTER_UNICAST_ADDRESS(ctypes.Structure):  # noqa: N801
        _fields_ = (
            ("Length", number),
            ("Flags", number),
            ("Next", pointer),
            ("Address", pointer),
        )

    return IP_ADAPTER_ADDRESSES, IP_ADAPTER_UNICAST_ADDRESS


def adapter_addresses() -> list[tuple[str, bytes]]:
    """As :func:`~dsadapter.sockets.ifaddrs.interface_addresses`.

    :raises OSError: if the system does not tell them.
    """
    import ctypes

    library: Any = ctypes.WinDLL("iphlpapi")  # type: ignore[attr-defined]
    call = library.GetAdaptersAddresses
    call.argtypes = ctypes.c_uint32, ctypes.c_uint32, *(ctypes.c_void_p,) * 3
    size = ctypes.c_uint32(1 << 14)
    while True:
        buffer = ctypes.create_string_buffer(size.value)
        failed = call(0, _FLAGS, None, buffer, ctypes.byref(size))
        if not failed:
            return list(_rows(ctypes.addressof(buffer)))
        if failed == _NO_DATA:
            return []
        if failed != _TOO_SMALL or size.value > _ENOUGH:
            raise OSError(None, ctypes.FormatError(failed), None, failed)  # type: ignore[attr-defined]


def _rows(at: int | None) -> Iterator[tuple[str, bytes]]:
    import ctypes

    adapters, addresses = structures()
    while at:
        adapter = adapters.from_address(at)
        at = adapter.Next
        try:
            # Without IPv4 it has no index of that family.
            name = socket.if_indextoname(adapter.IfIndex or adapter.Ipv6IfIndex)
        except OSError:
            continue
        unicast = adapter.FirstUnicastAddress
        while unicast:
            entry = addresses.from_address(unicast)
            unicast = entry.Next
            family = int.from_bytes(ctypes.string_at(entry.Address, 2), "little")
            if family in _FAMILIES:
                offset, length = _FAMILIES[family]
                yield name, ctypes.string_at(entry.Address + offset, length)
