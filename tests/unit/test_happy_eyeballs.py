"""The schedule of attempts: RFC 8305 without sockets and without a clock."""

from __future__ import annotations

from typing import Any

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


@given(EVENTS, st.none() | st.sampled_from(V6 + V4), st.integers(1, 4))
def test_whatever_happens_nothing_is_lost_tried_twice_or_left_open(
    events: list[Any], preferred: Any, first_family_count: int
) -> None:
    schedule = Schedule(0.25, 0.05, first_family_count, preferred)
    known: dict[Any, None] = {}
    tried: list[Any] = []
    running: list[Any] = []
    timer = over = more = False
    winner = None
    for kind, *details in [*events, ("resolved", [], False)]:
        if kind == "resolved":
            if over or (not more and known):
                # The resolver has been done before.
                continue
            known |= dict.fromkeys(details[0])
            more = details[1]
            actions = schedule.resolved(list(known), more, more)
        elif kind == "timer":
            if not timer:
                continue
            timer = False
            actions = schedule.timer_fired()
        elif kind == "cancelled":
            actions = schedule.cancelled()
            over = True
        elif running:
            address = running[details[0] % len(running)]
            running.remove(address)
            method = "attempt_failed" if kind == "failed" else "attempt_connected"
            actions = getattr(schedule, method)(address)
        else:
            continue
        for action in actions:
            if isinstance(action, StartAttempt):
                assert not over
                assert action.address not in tried
                tried.append(action.address)
                running.append(action.address)
            elif isinstance(action, CloseAttempt):
                running.remove(action.address)
            elif isinstance(action, StartTimer):
                timer = True
            elif isinstance(action, StopTimer):
                assert timer
                timer = False
            elif isinstance(action, Succeed):
                assert winner is None
                winner, over = action.address, True
            else:
                assert set(tried) == set(known)
                over = True
        if over:
            assert running == []
            assert not timer
    # Without an end there is something that can still happen.
    assert over or running or timer or more
