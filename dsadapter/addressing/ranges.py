"""Sorted ranges of packed addresses of one family: looked up, merged, written as networks."""

from __future__ import annotations

from _socket import AF_INET6, inet_ntoa, inet_ntop
from bisect import bisect_right
from collections import Counter
from typing import TYPE_CHECKING

from dsadapter.addressing.mapped import PACKED_IPV4_LENGTH

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_UNINDEXED = 4096
"""How many boundaries are searched as quickly without an index."""
_ALONE = 0.8
"""How many of the ranges, at least, an index is to tell apart from the others."""


class Ranges:
    """Some addresses of one family.

    :param length: of a packed address, 4 or 16 bytes.
    :param pairs: the first address of each range and the first one behind it, as numbers, in any
        order; they may overlap.
    """

    __slots__ = ("_cells", "_key_length", "_most", "_wide", "boundaries", "length")

    length: int
    boundaries: list[bytes]
    """Where membership changes, in order: the first address of a range, then the first one behind
    it, which a range that reaches to the end of the family has not. Packed addresses compare as the
    numbers that they are."""
    _cells: dict[bytes, tuple[bytes, bytes, int]]
    """By the first bytes of an address, :attr:`_key_length` of them: the first range among those
    that begin so, the address behind it, and where to search :attr:`boundaries` for more ranges,
    -1 if there are none. Empty where the list is short."""
    _key_length: int
    _most: int
    """How many boundaries to search from there."""
    _wide: list[bytes]
    """The boundaries of what no cell has."""

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
        self._cells = {}
        self._wide = self.boundaries
        self._key_length = self._most = 0
        if len(merged) > _UNINDEXED:
            self._make_cells()

    def _make_cells(self) -> None:
        """Spare a long list the steps of a search, each of which waits for memory."""
        boundaries = self.boundaries
        firsts = boundaries[::2]
        # Addresses in use share their first bits, some lists most of them.
        for key_length in range(2, self.length):
            if len({first[:key_length] for first in firsts}) > _ALONE * len(firsts):
                break
        self._key_length = key_length
        zeros = bytes(self.length - key_length)
        cells = self._cells
        self._wide = []
        found: Counter[bytes] = Counter()

        def put(key: bytes, first: bytes, behind: bytes, at: int) -> None:
            before = cells.get(key)
            if before is None:
                cells[key] = first, behind, -1
            elif before[2] < 0:
                cells[key] = *before[:2], at - 2
            found[key] += 1

        for at, first in zip(range(0, len(boundaries), 2), firsts, strict=True):
            ends = at + 1 < len(boundaries)
            behind = boundaries[at + 1] if ends else b"\xff" * (self.length + 1)
            start, end = first[:key_length], behind[:key_length]
            if start == end:
                put(start, first, behind, at)
                continue
            # Of the keys that it has whole, one gets a cell.
            whole = int.from_bytes(start)
            if first[key_length:] != zeros:
                put(start, first, behind, at)
                whole += 1
            if behind[key_length:] != zeros and ends:
                put(end, first, behind, at)
            last = int.from_bytes(end) if ends else 1 << 8 * key_length
            if last - whole == 1:
                put(whole.to_bytes(key_length), first, behind, at)
            elif last > whole:
                self._wide.append(whole.to_bytes(key_length) + zeros)
                if ends:
                    self._wide.append(end + zeros)
        self._most = min(2 * max(found.values(), default=0), len(boundaries))
        latest = len(boundaries) - self._most
        for key, (first, behind, at) in cells.items():
            if at > latest:
                cells[key] = first, behind, latest

    def have(self, packed: bytes) -> bool:
        """Whether one of the ranges has a packed address of the family."""
        cell = self._cells.get(packed[: self._key_length])
        if cell is None:
            return bisect_right(self._wide, packed) & 1 == 1
        first, behind, at = cell
        if first <= packed < behind:
            return True
        return at >= 0 and bisect_right(self.boundaries, packed, at, at + self._most) & 1 == 1

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
