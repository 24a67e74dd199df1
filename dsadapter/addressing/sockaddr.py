"""Socket addresses as Python's ``socket`` module has them.

IPv4: ``(host, port)``. IPv6: ``(host, port, flow info, scope id)``, of which Python also accepts
the first two or three.
"""

from __future__ import annotations

from dsadapter.addressing.text import map_text, unmap_text

# Typing takes longer to import than all of this package.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    SocketAddress = tuple[Any, ...]
else:
    SocketAddress = tuple
"""``(host: str, port: int)`` or ``(host: str, port: int, flow info: int[, scope id: int])``."""


def unmap_sockaddr(address: SocketAddress) -> SocketAddress:
    """``(ipv4, port)`` for a mapped address; any other address comes back as the same object.

    The flow info of a mapped address is dropped: IPv4 has none.

    :raises ValueError: as :func:`~dsadapter.addressing.text.unmap_text`, for a mapped address with
        a scope id other than 0, and for a tuple that is no socket address.
    """
    try:
        host, port, _flow_info, scope_id = address
    except (TypeError, ValueError):
        host, port, scope_id = _short(address)
    if not isinstance(host, str):
        raise _not_a_sockaddr(address)
    canonical = unmap_text(host)
    if canonical is host:
        return address
    if scope_id:
        raise ValueError(
            f"{address!r} is an IPv4-mapped address with a scope id, which IPv4 has no place "
            f"for; write {(canonical, port)!r}"
        )
    return canonical, port


def is_mapped_sockaddr(address: SocketAddress) -> bool:
    """Whether the host of a socket address is IPv4-mapped.

    :raises ValueError: as :func:`unmap_sockaddr`.
    """
    return unmap_sockaddr(address) is not address


def map_sockaddr(address: SocketAddress) -> SocketAddress:
    """What a dual-stack socket takes: ``(mapped, port, 0, 0)`` for IPv4; IPv6 comes back as it is.

    :raises ValueError: as :func:`unmap_sockaddr`, and for a host that is no address literal.
    """
    unmap_sockaddr(address)
    host, port = address[:2]
    mapped = map_text(host)
    return address if mapped is host else (mapped, port, 0, 0)


def _short(address: SocketAddress) -> tuple[Any, Any, int]:
    if not isinstance(address, tuple) or len(address) not in (2, 3):
        raise _not_a_sockaddr(address)
    return address[0], address[1], 0


def _not_a_sockaddr(address: object) -> ValueError:
    return ValueError(
        f"{address!r} is not a socket address; give (host, port) or "
        f"(host, port, flow info, scope id) with the host as str"
    )
