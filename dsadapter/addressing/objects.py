"""Address objects of other packages: ``ipaddress`` and Twisted.

Neither is imported: an instance can only exist where its module was.
"""

from __future__ import annotations

import sys

from dsadapter.addressing.mapped import map_packed, unmap_packed
from dsadapter.addressing.text import map_text, unmap_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def unmap_object(value: Any) -> Any:
    """The IPv4 object for a mapped one; any other address object comes back as the same object.

    :raises ValueError: for a mapped address with a scope id.
    :raises TypeError: for what is no address object.
    """
    if _is_ipaddress(value):
        if value.version == 4 or value.ipv4_mapped is None:
            return value
        _refuse_scope(value, value.scope_id)
        return sys.modules["ipaddress"].IPv4Address(unmap_packed(value.packed))
    if _is_twisted_address(value):
        host = unmap_text(value.host)
        if host is value.host:
            return value
        _refuse_scope(value, getattr(value, "scopeID", 0))
        return _twisted("IPv4Address")(value.type, host, value.port)
    raise _not_an_address(value)


def is_mapped_object(value: Any) -> bool:
    """Whether an address object is IPv4-mapped.

    :raises ValueError: as :func:`unmap_object`.
    :raises TypeError: as :func:`unmap_object`.
    """
    return unmap_object(value) is not value


def map_object(value: Any) -> Any:
    """The mapped IPv6 object for an IPv4 one; an IPv6 object comes back as the same object.

    :raises ValueError: as :func:`unmap_object`, and for a Twisted address whose host is no literal.
    :raises TypeError: as :func:`unmap_object`.
    """
    unmap_object(value)
    if _is_ipaddress(value):
        if value.version == 6:
            return value
        return sys.modules["ipaddress"].IPv6Address(map_packed(value.packed))
    host = map_text(value.host)
    if isinstance(value, _twisted("IPv6Address")):
        return value
    return _twisted("IPv6Address")(value.type, host, value.port)


def _is_ipaddress(value: Any) -> bool:
    module = sys.modules.get("ipaddress")
    if module is None or not isinstance(value, (module.IPv4Address, module.IPv6Address)):
        return False
    # Interfaces are subclasses of addresses; translating one would lose its network.
    return not isinstance(value, (module.IPv4Interface, module.IPv6Interface))


def _is_twisted_address(value: Any) -> bool:
    module = sys.modules.get("twisted.internet.address")
    return module is not None and isinstance(value, (module.IPv4Address, module.IPv6Address))


def _twisted(name: str) -> Any:
    return getattr(sys.modules["twisted.internet.address"], name)


def _refuse_scope(value: Any, scope: object) -> None:
    if scope:
        raise ValueError(
            f"{value!r} is an IPv4-mapped address with a scope id, which IPv4 has no place for; "
            f"leave the scope id out"
        )


def _not_an_address(value: object) -> TypeError:
    return TypeError(
        f"{value!r} is not an address; give text, 4 or 16 packed bytes, an ipaddress address, "
        f"a socket address tuple, or Twisted's IPv4Address or IPv6Address"
    )
