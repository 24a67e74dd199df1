"""IPv4-mapped IPv6 addresses: map, unmap, recognise; sets of addresses. No I/O, no framework.

A *mapped* address, ``::ffff:192.0.2.1``, is what a dual-stack socket shows for an IPv4 peer. The
*canonical* form of the same address is IPv4, ``192.0.2.1``.
"""

from dsadapter.addressing.address_sets import AddressSet
from dsadapter.addressing.translation import is_mapped, map_ipv4, unmap

__all__ = ["AddressSet", "is_mapped", "map_ipv4", "unmap"]
