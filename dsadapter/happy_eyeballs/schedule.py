"""Which address to try when, and when it is over (RFC 8305, sections 3 to 5)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from dsadapter.addressing.sockaddr import SocketAddress
from dsadapter.happy_eyeballs.ordering import Untried, is_ipv6

RESOLUTION_DELAY = 0.05
"""Seconds to wait for IPv6 addresses when IPv4 ones are there already (RFC 8305, section 8)."""


class StartAttempt(NamedTuple):
    """Try an address; its end is to be reported."""

    address: SocketAddress


class CloseAttempt(NamedTuple):
    """Give up an attempt that is under way or has connected too late; no report is wanted."""

    address: SocketAddress


class StartTimer(NamedTuple):
    """Report in so many seconds; there is one timer, and this sets it anew."""

    seconds: float


class StopTimer(NamedTuple):
    """No report is wanted."""


class Succeed(NamedTuple):
    """The attempt that has won; all others have been closed."""

    address: SocketAddress


class Fail(NamedTuple):
    """Every address has failed, or there is none."""


Action = StartAttempt | CloseAttempt | StartTimer | StopTimer | Succeed | Fail


class Schedule:
    """Attempts at the addresses of one name, raced as RFC 8305 has it.

    Each method reports one event and returns what to do, in that order. No address is tried twice,
    and none is left out before all have failed. After :class:`Succeed`, :class:`Fail` or
    :meth:`cancelled` nothing is under way.

    :param attempt_delay: seconds after which the next attempt starts beside one that is under way.
    :param resolution_delay: seconds to wait for IPv6 addresses when only IPv4 ones are there; for
        those of the preferred address's family if there is one.
    :param first_family_count: how many addresses of the first family to try before one of the other
        (RFC 8305, section 8).
    :param preferred: the address to begin with, whatever the resolver says is best; where the name
        no longer has it, one of its family. It is not tried unless the name has it.
    """

    __slots__ = (
        "_attempt_delay",
        "_finished",
        "_more_expected",
        "_preferred",
        "_resolution_delay",
        "_running",
        "_started",
        "_timer_runs",
        "_untried",
    )

    def __init__(
        self,
        attempt_delay: float,
        resolution_delay: float = RESOLUTION_DELAY,
        first_family_count: int = 1,
        preferred: SocketAddress | None = None,
    ) -> None:
        self._attempt_delay = attempt_delay
        self._resolution_delay = resolution_delay
        self._preferred = preferred
        self._untried = Untried(first_family_count, preferred)
        self._started = False
        self._running: dict[SocketAddress, None] = {}
        self._more_expected = True
        self._timer_runs = False
        self._finished = False

    def resolved(
        self,
        addresses: Sequence[SocketAddress],
        more_ipv4_expected: bool = False,
        more_ipv6_expected: bool = False,
    ) -> list[Action]:
        """The resolver has spoken.

        :param addresses: all addresses so far, canonical, the best first; those that come late are
            taken into the order of what has not been tried yet.
        :param more_ipv4_expected: whether the resolver still looks for IPv4 addresses.
        :param more_ipv6_expected: likewise.
        """
        if self._finished:
            return []
        self._more_expected = more_ipv4_expected or more_ipv6_expected
        self._untried.add(addresses)
        if not self._untried.left:
            return self._fail_if_all_failed()
        if self._started:
            # Once the delay has passed, or all before have failed, a late address starts at once.
            return [] if self._timer_runs else self._start_next()
        ipv6_wanted = self._preferred is None or is_ipv6(self._preferred)
        wanted_expected = more_ipv6_expected if ipv6_wanted else more_ipv4_expected
        if wanted_expected and not self._untried.has(ipv6_wanted):
            return [] if self._timer_runs else self._start_timer(self._resolution_delay)
        return self._start_next()

    def timer_fired(self) -> list[Action]:
        """The timer has run out."""
        if self._finished or not self._timer_runs:
            return []
        self._timer_runs = False
        return self._start_next() if self._untried.left else []

    def attempt_failed(self, address: SocketAddress) -> list[Action]:
        """An attempt has failed; the next one starts at once."""
        if self._finished or address not in self._running:
            return []
        del self._running[address]
        if self._untried.left:
            return self._start_next()
        # An address that comes late does not wait for an attempt that is over.
        return [*self._stop_timer(), *self._fail_if_all_failed()]

    def attempt_connected(self, address: SocketAddress) -> list[Action]:
        """An attempt has connected: the first to do so wins."""
        if self._finished or address not in self._running:
            return [CloseAttempt(address)]
        del self._running[address]
        actions = self.cancelled()
        actions.append(Succeed(address))
        return actions

    def cancelled(self) -> list[Action]:
        """The caller gives up, or its time is over."""
        if self._finished:
            return []
        self._finished = True
        actions = self._stop_timer()
        if self._running:
            actions += map(CloseAttempt, self._running)
            self._running.clear()
        return actions

    def _start_next(self) -> list[Action]:
        address = self._untried.take()
        self._started = True
        self._running[address] = None
        more = self._untried.left or self._more_expected
        actions = self._start_timer(self._attempt_delay) if more else self._stop_timer()
        actions.append(StartAttempt(address))
        return actions

    def _start_timer(self, seconds: float) -> list[Action]:
        self._timer_runs = True
        return [StartTimer(seconds)]

    def _stop_timer(self) -> list[Action]:
        if not self._timer_runs:
            return []
        self._timer_runs = False
        return [StopTimer()]

    def _fail_if_all_failed(self) -> list[Action]:
        if self._running or self._untried.left or self._more_expected:
            return []
        return [*self.cancelled(), Fail()]


class OnlyAttempt:
    """The schedule of a target that is one address: it has begun, and nothing else is tried."""

    __slots__ = ()

    def timer_fired(self) -> list[Action]:
        """There is no timer."""
        return []

    def attempt_failed(self, _address: SocketAddress) -> list[Action]:
        """It has failed."""
        return [Fail()]

    def attempt_connected(self, address: SocketAddress) -> list[Action]:
        """It has connected."""
        return [Succeed(address)]
