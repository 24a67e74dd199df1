"""Sorted ranges of packed addresses of one family: looked up, merged, written as networks."""

from __future__ import annotations

from _socket import AF_INET6, inet_ntoa, inet_ntop
from array import array
from bisect import bisect_left, bisect_right
from typing import TYPE_CHECKING

from dsadapter.addressing.mapped import PACKED_IPV4_LENGTH

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_UNINDEXED = 4096
"""How many boundaries are searched as quickly without an index."""


class Ranges:
    """Some addresses of one family.

    :param length: of a packed address, 4 or 16 bytes.
    :param pairs: the first address of each range and the first one behind it, as numbers, in any
        order; they may overlap.
    """

    __slots__ = ("_index", "boundaries", "length")

    length: int
    boundaries: list[bytes]
    """Where membership changes, in order: the first address of a range, then the first one behind
    it, which a range that reaches to the end of the family has not. Packed addresses compare as the
    numbers that they are."""
    _index: array[int] | None
    """Where the addresses that begin with each number of 16 bits come in :attr:`boundaries`."""

    def __init__(self, length: int, pairs: Iterable[tuple[int, int]] = ()) -> None:
        self.length = length
        merged: list[int] = []
        for first, behind in sorted(pairs):
            if merged and first <= merged[-1]:
                merged[-1] = max(merged[-1], behind)
            else:
                merged += first, behind
        if merged and merged[-1] == 1 << 8 * length:
            del merged[-1]
        self.boundaries = [number.to_bytes(length) for number in merged]
        # Spares a long list most of the steps of a search. IPv6 addresses in use share too many of
        # their first bits for that.
        self._index = None
        if length == PACKED_IPV4_LENGTH and len(merged) > _UNINDEXED:
            starts = (key.to_bytes(2) for key in range(1 << 16))
            self._index = array("I", [bisect_left(self.boundaries, start) for start in starts])
            self._index.append(len(merged))

    def have(self, packed: bytes) -> bool:
        """Whether one of the ranges has a packed address of the family."""
        index = self._index
        if index is None:
            return bisect_right(self.boundaries, packed) & 1 == 1
        key = packed[0] << 8 | packed[1]
        return bisect_right(self.boundaries, packed, index[key], index[key + 1]) & 1 == 1

    def pairs(self) -> Iterator[tuple[int, int]]:
        """The ranges as the constructor takes them, in order, none touching the next."""
        numbers = [int.from_bytes(packed) for packed in self.boundaries]
        if len(numbers) & 1:
            numbers.append(1 << 8 * self.length)
        return zip(numbers[::2], numbers[1::2], strict=True)

    def networks(self) -> Iterator[str]:
        """The fewest networks that the ranges are made of, in order, as text."""
        bits = 8 * self.length
        for first, behind in self.pairs():
            while first < behind:
                # The largest network that may begin here and doesn't reach beyond.
                aligned = (first & -first).bit_length() - 1 if first else bits
                below = min(aligned, (behind - first).bit_length() - 1)
                yield network_text(first.to_bytes(self.length), bits - below)
                first += 1 << below


def network_text(packed: bytes, prefix_length: int) -> str:
    """A network as people write it; one address without a prefix length."""
    ipv4 = len(packed) == PACKED_IPV4_LENGTH
    address = inet_ntoa(packed) if ipv4 else inet_ntop(AF_INET6, packed)
    return address if prefix_length == 8 * len(packed) else f"{address}/{prefix_length}"
