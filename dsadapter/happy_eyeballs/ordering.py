"""In which order addresses are tried (RFC 8305, section 4)."""

from __future__ import annotations

from collections.abc import Sequence

from dsadapter.addressing.sockaddr import SocketAddress


def is_ipv6(address: SocketAddress) -> bool:
    """Whether a canonical socket address is an IPv6 one."""
    return len(address) > 2


def without_duplicates(addresses: Sequence[SocketAddress]) -> list[SocketAddress]:
    """Each address once, where it came first."""
    return list(dict.fromkeys(addresses))


def next_in_turn(
    waiting: Sequence[SocketAddress],
    started: Sequence[SocketAddress],
    first_family_count: int,
    preferred: SocketAddress | None,
) -> SocketAddress:
    """Which address to try next, so that the families take turns.

    The first address's family goes first, with ``first_family_count`` addresses; from then on every
    attempt is of the other family than the one before, as long as there are addresses of both.

    :param waiting: addresses that have not been tried, the best first; at least one.
    :param started: those that have been, in the order of trying.
    :param preferred: the address to begin with, or else one of its family.
    """
    if not started:
        return _first(waiting, preferred)
    first = is_ipv6(started[0])
    if len(started) < first_family_count and all(is_ipv6(a) == first for a in started):
        wanted = first
    else:
        wanted = not is_ipv6(started[-1])
    return next((a for a in waiting if is_ipv6(a) == wanted), waiting[0])


def _first(waiting: Sequence[SocketAddress], preferred: SocketAddress | None) -> SocketAddress:
    if preferred is None or preferred in waiting:
        return preferred or waiting[0]
    return next((a for a in waiting if is_ipv6(a) == is_ipv6(preferred)), waiting[0])
