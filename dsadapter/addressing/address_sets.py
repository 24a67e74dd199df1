"""Sets of addresses, written as literals and networks."""

from __future__ import annotations

import sys
from itertools import chain, islice
from typing import TYPE_CHECKING, Any, Self

from dsadapter.addressing.literal import packed_literal, require_literal
from dsadapter.addressing.mapped import PACKED_IPV4_LENGTH, PACKED_IPV6_LENGTH, unmap_packed
from dsadapter.addressing.networks import parse_network
from dsadapter.addressing.objects import unmap_object
from dsadapter.addressing.ranges import Ranges
from dsadapter.addressing.sockaddr import unmap_sockaddr
from dsadapter.messages import quoted

if TYPE_CHECKING:
    import ipaddress
    from collections.abc import Iterable, Iterator

    Rule = (
        str
        | bytes
        | ipaddress.IPv4Address
        | ipaddress.IPv6Address
        | ipaddress.IPv4Network
        | ipaddress.IPv6Network
    )

_SHOWN = 4


class AddressSet:
    """Addresses of both families, of which access rules ask ``peer in allowed``. Immutable.

    An address has one answer in every form that :func:`~dsadapter.addressing.unmap` takes: text in
    any spelling, packed bytes, ``ipaddress`` addresses, socket address tuples, Twisted's addresses,
    mapped or not. Ports and zones play no part. Two sets of the same addresses are equal. Iterating
    gives the fewest networks that the set is made of, in order, as text.

    :param rules: address literals (``192.0.2.1``, ``2001:db8::1``) and networks (``192.0.2.0/24``,
        ``2001:db8::/32``) as text, 4 or 16 packed bytes, ``ipaddress`` addresses and networks. A
        mapped network is the IPv4 network it means: ``::ffff:10.0.0.0/104`` is ``10.0.0.0/8``. Any
        other IPv6 network holds native addresses only: ``::/0`` is all of IPv6 and no IPv4.
    :raises ValueError: for what is no rule, as
        :func:`~dsadapter.addressing.networks.parse_network` and
        :func:`~dsadapter.addressing.unmap`; the text names the rule and what to write instead. Also
        for one text in place of a list.
    :raises TypeError: for a rule of any other type.
    """

    __slots__ = ("_ipv4", "_ipv6")

    _ipv4: Ranges
    _ipv6: Ranges

    def __init__(self, rules: Iterable[Rule] = ()) -> None:
        if isinstance(rules, (str, bytes)):
            raise ValueError(f"{quoted(rules)} is not a list of rules; write ['10.0.0.0/8', '::1']")
        pairs: dict[int, list[tuple[int, int]]] = {PACKED_IPV4_LENGTH: [], PACKED_IPV6_LENGTH: []}
        for rule in rules:
            packed, prefix_length = _network(rule)
            first = int.from_bytes(packed)
            size = 1 << 8 * len(packed) - prefix_length
            pairs[len(packed)].append((first, first + size))
        self._ipv4 = Ranges(PACKED_IPV4_LENGTH, pairs[PACKED_IPV4_LENGTH])
        self._ipv6 = Ranges(PACKED_IPV6_LENGTH, pairs[PACKED_IPV6_LENGTH])

    def __contains__(self, address: Any) -> bool:
        """Whether an address is in the set.

        :raises ValueError: as :func:`~dsadapter.addressing.unmap`, and for text that is no address
            literal, such as a name: to a rule that allows and to one that denies, neither answer
            is safe.
        :raises TypeError: as :func:`~dsadapter.addressing.unmap`.
        """
        packed = packed_literal(address) if type(address) is str else None
        if packed is None:
            packed = _packed(address)
        return (self._ipv4 if len(packed) == PACKED_IPV4_LENGTH else self._ipv6).have(packed)

    def union(self, *others: Iterable[Rule]) -> Self:
        """A set of what is in this one or in any of the others.

        :param others: sets, or rules as the constructor takes them.
        :raises ValueError: as the constructor.
        :raises TypeError: as the constructor.
        """
        sets = [other if isinstance(other, AddressSet) else AddressSet(other) for other in others]
        made = type(self)()
        made._ipv4 = _union([self._ipv4, *(each._ipv4 for each in sets)])
        made._ipv6 = _union([self._ipv6, *(each._ipv6 for each in sets)])
        return made

    def __or__(self, other: object) -> Self:
        return self.union(other) if isinstance(other, AddressSet) else NotImplemented

    def __iter__(self) -> Iterator[str]:
        return chain(self._ipv4.networks(), self._ipv6.networks())

    def __bool__(self) -> bool:
        return bool(self._ipv4.boundaries or self._ipv6.boundaries)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, AddressSet):
            return NotImplemented
        return self._boundaries() == other._boundaries()

    def __hash__(self) -> int:
        return hash(tuple(map(tuple, self._boundaries())))

    def __repr__(self) -> str:
        first = [*map(repr, islice(self, _SHOWN)), "..."]
        if len(list(islice(self, _SHOWN + 1))) <= _SHOWN:
            del first[-1]
        return f"{type(self).__name__}([{', '.join(first)}])"

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (list(self),)

    def _boundaries(self) -> tuple[list[bytes], list[bytes]]:
        return self._ipv4.boundaries, self._ipv6.boundaries


def _union(ranges: list[Ranges]) -> Ranges:
    return Ranges(ranges[0].length, chain.from_iterable(each.pairs() for each in ranges))


def _packed(address: Any) -> bytes:
    if isinstance(address, tuple):
        if len(address) != 2 and (len(address) != 4 or address[3]):
            # Refuses a scope id where none can be, and what is no socket address.
            unmap_sockaddr(address)
        address = address[0]
    elif isinstance(address, bytes):
        return unmap_packed(address)
    elif not isinstance(address, str):
        address = unmap_object(address)
        if hasattr(address, "packed"):
            packed: bytes = address.packed
            return packed
        address = address.host
    return require_literal(address).packed


def _network(rule: Any) -> tuple[bytes, int]:
    ipaddress = sys.modules.get("ipaddress")
    if ipaddress and isinstance(rule, (ipaddress.IPv4Network, ipaddress.IPv6Network)):
        rule = str(rule)
    if isinstance(rule, tuple) or hasattr(rule, "host"):
        raise TypeError(f"rule {quoted(rule)} has a port, which no rule has; give the host alone")
    try:
        if isinstance(rule, str):
            return parse_network(rule)
        packed = _packed(rule)
    except ValueError as error:
        raise ValueError(f"rule {quoted(rule)}: {error}") from None
    except TypeError:
        raise TypeError(
            f"rule {quoted(rule)} is neither an address nor a network; give text, 4 or 16 packed "
            f"bytes, or an ipaddress address or network"
        ) from None
    return packed, 8 * len(packed)
