"""IPv4-mapped IPv6 addresses: map, unmap, recognize; sets of addresses. No I/O, no framework.

A *mapped* address, ``::ffff:192.0.2.1``, is what a dual-stack socket shows for an IPv4 peer. The
*canonical* form of the same address is IPv4, ``192.0.2.1``.
"""

from dsadapter.addressing.translation import is_mapped, map_ipv4, unmap

TYPE_CHECKING = False
if TYPE_CHECKING:
    from dsadapter.addressing.address_sets import AddressSet

__all__ = ["AddressSet", "is_mapped", "map_ipv4", "unmap"]


def __getattr__(name: str) -> object:
    # Few who unmap have access rules, which take as long to import as all the rest.
    if name == "AddressSet":
        from dsadapter.addressing.address_sets import AddressSet

        return AddressSet
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
