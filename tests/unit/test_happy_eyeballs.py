"""The schedule of attempts: RFC 8305 without sockets and without a clock."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsadapter.happy_eyeballs.schedule import (
    CloseAttempt,
    Fail,
    Schedule,
    StartAttempt,
    StartTimer,
    StopTimer,
    Succeed,
)

V6 = [(f"2001:db8::{number}", 80, 0, 0) for number in range(1, 5)]
V4 = [(f"192.0.2.{number}", 80) for number in range(1, 5)]


def started(actions: list[Any]) -> list[Any]:
    return [action.address for action in actions if isinstance(action, StartAttempt)]


def test_families_take_turns_and_the_next_starts_at_once_when_one_fails() -> None:
    schedule = Schedule(0.25)
    order = started(schedule.resolved([*V6[:3], *V4[:2]]))
    while True:
        actions = schedule.attempt_failed(order[-1])
        order += started(actions)
        if actions[-1] == Fail():
            break
    assert order == [V6[0], V4[0], V6[1], V4[1], V6[2]]


def test_first_family_count() -> None:
    schedule = Schedule(0.25, first_family_count=2)
    order = started(schedule.resolved([*V6[:3], *V4[:2]]))
    while len(order) < 5:
        order += started(schedule.attempt_failed(order[-1]))
    assert order == [V6[0], V6[1], V4[0], V6[2], V4[1]]


def test_a_silent_address_is_joined_by_the_next_after_the_delay_and_one_wins() -> None:
    schedule = Schedule(0.25)
    assert schedule.resolved([V6[0], V4[0]]) == [StartTimer(0.25), StartAttempt(V6[0])]
    assert schedule.timer_fired() == [StartAttempt(V4[0])]
    assert schedule.attempt_connected(V4[0]) == [CloseAttempt(V6[0]), Succeed(V4[0])]
    # The runner-up has connected in the same turn.
    assert schedule.attempt_connected(V6[0]) == [CloseAttempt(V6[0])]
    assert schedule.timer_fired() == schedule.cancelled() == []


def test_a_late_address_does_not_start_beside_a_young_attempt() -> None:
    schedule = Schedule(0.25)
    assert schedule.resolved([V6[0]], more_ipv4_expected=True)[-1] == StartAttempt(V6[0])
    assert schedule.resolved([V6[0], V4[0]]) == []
    assert schedule.timer_fired()[-1] == StartAttempt(V4[0])


def test_a_late_address_starts_at_once_beside_an_old_attempt() -> None:
    schedule = Schedule(0.25)
    schedule.resolved([V6[0]], more_ipv4_expected=True)
    assert schedule.timer_fired() == []
    assert StartAttempt(V4[0]) in schedule.resolved([V6[0], V4[0]])


def test_IPv4_addresses_wait_a_little_for_IPv6_ones() -> None:
    schedule = Schedule(0.25)
    assert schedule.resolved([V4[0]], more_ipv6_expected=True) == [StartTimer(0.05)]
    assert started(schedule.resolved([V6[0], V4[0]])) == [V6[0]]


def test_IPv4_starts_when_the_wait_for_IPv6_is_over() -> None:
    schedule = Schedule(0.25)
    schedule.resolved([V4[0]], more_ipv6_expected=True)
    assert started(schedule.timer_fired()) == [V4[0]]
    assert started(schedule.attempt_failed(V4[0])) == []
    assert started(schedule.resolved([V6[0], V4[0]])) == [V6[0]]


def order_of(schedule: Schedule, addresses: list[Any]) -> list[Any]:
    """All addresses in the order in which they are tried when each fails."""
    order = started(schedule.resolved(addresses))
    while len(order) < len(addresses):
        order += started(schedule.attempt_failed(order[-1]))
    return order


def test_the_preferred_address_comes_first_and_the_families_take_turns_from_there() -> None:
    order = order_of(Schedule(0.25, preferred=V4[1]), [*V6[:3], *V4[:2]])
    assert order == [V4[1], V6[0], V4[0], V6[1], V6[2]]


def test_without_the_preferred_address_its_family_comes_first() -> None:
    assert order_of(Schedule(0.25, preferred=V4[3]), [V6[0], V4[0]]) == [V4[0], V6[0]]
    assert order_of(Schedule(0.25, preferred=V4[3]), [V6[0], V6[1]]) == [V6[0], V6[1]]


def test_the_preferred_address_is_waited_for() -> None:
    schedule = Schedule(0.25, preferred=V4[0])
    assert schedule.resolved([V6[0]], more_ipv4_expected=True) == [StartTimer(0.05)]
    assert started(schedule.resolved([V6[0], V4[0]])) == [V4[0]]
    schedule = Schedule(0.25, preferred=V4[0])
    assert started(schedule.resolved([V4[0]], more_ipv6_expected=True)) == [V4[0]]


def test_no_address_fails_at_once() -> None:
    assert Schedule(0.25).resolved([]) == [Fail()]


class Machine:
    """A schedule, and what its actions have set going; checks that none contradicts another."""

    def __init__(self, *options: Any) -> None:
        self.schedule = Schedule(0.25, 0.05, *options)
        self.known: dict[Any, None] = {}
        self.tried: list[Any] = []
        self.running: list[Any] = []
        self.timer: float | None = None
        self.winner: Any = None
        self.over = False
        self.more = (True, True)

    def resolve(self, addresses: list[Any], more_ipv4: bool, more_ipv6: bool) -> None:
        self.known |= dict.fromkeys(addresses)
        self.more = (more_ipv4, more_ipv6)
        self.act(self.schedule.resolved(list(self.known), more_ipv4, more_ipv6))

    def end(self, address: Any, connected: bool) -> None:
        self.running.remove(address)
        if connected:
            self.act(self.schedule.attempt_connected(address))
            assert self.winner == address
        else:
            self.act(self.schedule.attempt_failed(address))

    def fire(self) -> None:
        self.timer = None
        self.act(self.schedule.timer_fired())

    def cancel(self) -> None:
        self.act(self.schedule.cancelled())
        self.over = True

    def act(self, actions: list[Any]) -> None:
        for action in actions:
            assert not self.over
            match action:
                case StartAttempt(address):
                    assert address not in self.tried
                    self.tried.append(address)
                    self.running.append(address)
                case CloseAttempt(address):
                    self.running.remove(address)
                case StartTimer(seconds):
                    self.timer = seconds
                case StopTimer():
                    assert self.timer is not None
                    self.timer = None
                case Succeed(address):
                    self.winner, self.over = address, True
                case Fail():
                    assert set(self.tried) == set(self.known)
                    self.over = True

    def check(self) -> None:
        if self.over:
            assert self.running == []
            assert self.timer is None
        else:
            # There is something that can still happen.
            assert self.running or self.timer is not None or any(self.more)


EVENTS = st.lists(
    st.one_of(
        st.tuples(st.just("resolved"), st.lists(st.sampled_from(V6 + V4)), st.booleans()),
        st.tuples(st.just("failed"), st.integers(0, 20)),
        st.tuples(st.just("connected"), st.integers(0, 20)),
        st.tuples(st.just("timer")),
        st.tuples(st.just("cancelled")),
    ),
    max_size=30,
)


@given(EVENTS, st.integers(1, 4), st.none() | st.sampled_from(V6 + V4))
def test_whatever_happens_nothing_is_lost_tried_twice_or_left_open(
    events: list[Any], first_family_count: int, preferred: Any
) -> None:
    machine = Machine(first_family_count, preferred)
    for kind, *details in [*events, ("resolved", [], False)]:
        if machine.over:
            break
        if kind == "resolved" and any(machine.more):
            machine.resolve(details[0], details[1], details[1])
        elif kind == "timer" and machine.timer is not None:
            machine.fire()
        elif kind == "cancelled":
            machine.cancel()
        elif kind in ("failed", "connected") and machine.running:
            address = machine.running[details[0] % len(machine.running)]
            machine.end(address, kind == "connected")
        machine.check()


@pytest.mark.parametrize("preferred", [None, V4[0], V6[1]])
@pytest.mark.parametrize("first_family_count", [1, 2])
def test_every_order_of_events_for_three_addresses(first_family_count: int, preferred: Any) -> None:
    """Each family's answer comes on its own, and giving up is tried after every step."""
    answers = {"ipv4": V4[:1], "ipv6": V6[:2]}
    ends = set()

    def replay(steps: tuple[Any, ...]) -> Machine:
        machine = Machine(first_family_count, preferred)
        answered: set[str] = set()
        for kind, detail in steps:
            if kind == "answer":
                answered.add(detail)
                machine.resolve(answers[detail], "ipv4" not in answered, "ipv6" not in answered)
            elif kind == "timer":
                machine.fire()
            else:
                machine.end(detail, kind == "connected")
        machine.check()
        return machine

    def explore(steps: tuple[Any, ...]) -> None:
        machine = replay(steps)
        given_up = replay(steps)
        given_up.cancel()
        given_up.check()
        for address in machine.tried:
            # Too late: the caller has its socket still, and is told to close it.
            late = given_up.schedule.attempt_connected(address)
            assert late == [CloseAttempt(address)]
        if machine.over:
            ends.add(machine.winner)
            return
        following = [("answer", family) for family in answers if ("answer", family) not in steps]
        if machine.timer is not None:
            following.append(("timer", ""))
        for address in machine.running:
            following += [("failed", address), ("connected", address)]
        assert following
        for step in following:
            explore((*steps, step))

    explore(())
    assert ends == {None, *V4[:1], *V6[:2]}


FATES = st.lists(
    st.tuples(
        st.sampled_from(["refuses", "connects", "is silent"]), st.floats(0, 1, allow_nan=False)
    ),
    min_size=1,
    max_size=8,
)


@given(FATES, st.permutations(V6 + V4), st.integers(1, 4), st.none() | st.sampled_from(V6 + V4))
def test_the_time_that_passes_is_bounded(
    fates: list[Any], addresses: list[Any], first_family_count: int, preferred: Any
) -> None:
    fate_of = dict(zip(addresses, fates, strict=False))
    machine = Machine(first_family_count, preferred)
    now = 0.0
    ends: dict[Any, float] = {}
    machine.resolve(list(fate_of), False, False)
    fires = now + machine.timer if machine.timer is not None else None
    started_at: dict[Any, float] = {}
    while not machine.over:
        for address in machine.running:
            if address not in started_at:
                started_at[address] = now
                fate, seconds = fate_of[address]
                ends[address] = now + seconds if fate != "is silent" else float("inf")
        soonest = min(machine.running, key=ends.__getitem__, default=None)
        end = ends[soonest] if soonest is not None else float("inf")
        if fires is not None and fires <= end:
            now = fires
            machine.fire()
        elif end < float("inf"):
            now = end
            machine.end(soonest, fate_of[soonest][0] == "connects")
        else:
            break
        fires = now + machine.timer if machine.timer is not None else None
    # No address waits longer than one delay for each that was started before it.
    for position, address in enumerate(machine.tried):
        at = started_at.get(address, now)
        assert at <= position * 0.25 + 1e-9
    live = [address for address, (fate, _) in fate_of.items() if fate == "connects"]
    if live:
        latest = min(
            machine.tried.index(address) * 0.25 + fate_of[address][1]
            for address in live
            if address in machine.tried
        )
        assert machine.winner in live
        assert now <= latest + 1e-9
    elif all(fate == "refuses" for fate, _ in fates):
        assert machine.over
        assert machine.winner is None
    else:
        # All are being tried, and only the caller's own limit ends it.
        assert set(machine.tried) == set(fate_of)
