"""What is remembered of earlier connections, without sockets and without a clock."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from dsadapter.happy_eyeballs.outcomes import Outcomes

TARGET = ("www.example", 80)
SILENT = ("2001:db8::1", 80, 0, 0)
LIVE = ("192.0.2.1", 80)
HOME = {SILENT: "2001:db8::10", LIVE: "192.0.2.10"}
OFFICE = {SILENT: "2001:db8:1::10", LIVE: "198.51.100.10"}


def remembered(outcomes: Outcomes, network: dict[Any, str] = HOME, now: float = 0) -> None:
    outcomes.remember(TARGET, [SILENT, LIVE], LIVE, now, network.get)


def test_the_winner_is_recalled_for_ten_minutes_however_often() -> None:
    outcomes = Outcomes()
    assert outcomes.recall(TARGET, 0, HOME.get) is None
    remembered(outcomes)
    for now in range(0, 600, 50):
        assert outcomes.recall(TARGET, now, HOME.get) == LIVE
    assert outcomes.recall(TARGET, 600, HOME.get) is None
    assert len(outcomes) == 0


def test_a_clock_that_is_set_back_ends_it() -> None:
    outcomes = Outcomes()
    remembered(outcomes, now=1000)
    assert outcomes.recall(TARGET, 10, HOME.get) is None


def test_it_is_for_one_target() -> None:
    outcomes = Outcomes()
    remembered(outcomes)
    assert outcomes.recall(("www.example", 443), 0, HOME.get) is None
    assert outcomes.recall(("other.example", 80), 0, HOME.get) is None


def test_it_is_for_one_state_of_the_network() -> None:
    outcomes = Outcomes(route_lifetime=0)
    remembered(outcomes)
    for changed in ({**HOME, SILENT: None}, {**HOME, LIVE: "192.0.2.11"}, OFFICE):
        assert outcomes.recall(TARGET, 0, changed.get) is None
    outcomes.remember(TARGET, [LIVE, SILENT], SILENT, 0, OFFICE.get)
    assert outcomes.recall(TARGET, 0, OFFICE.get) == SILENT
    assert outcomes.recall(TARGET, 0, HOME.get) == LIVE


def test_a_route_is_asked_for_once_a_second() -> None:
    asked: list[Any] = []

    def source_of(address: Any) -> str:
        asked.append(address)
        return HOME[address]

    outcomes = Outcomes()
    outcomes.remember(TARGET, [SILENT, LIVE], LIVE, 0, source_of)
    for now in (0.0, 0.5, 0.9):
        assert outcomes.recall(TARGET, now, source_of) == LIVE
        assert asked == [SILENT, LIVE]
    assert outcomes.recall(TARGET, 1.0, source_of) == LIVE
    assert asked == [SILENT, LIVE] * 2
    # What is remembered for long is asked for anew.
    outcomes.remember(("other.example", 80), [SILENT, LIVE], LIVE, 1.5, source_of)
    assert asked == [SILENT, LIVE] * 3


def test_a_changed_route_counts_after_a_second_or_a_failure() -> None:
    outcomes = Outcomes()
    remembered(outcomes)
    assert outcomes.recall(TARGET, 0.9, OFFICE.get) == LIVE
    assert outcomes.recall(TARGET, 1.0, OFFICE.get) is None
    other = ("other.example", 80)
    outcomes.remember(other, [SILENT, LIVE], LIVE, 2, HOME.get)
    outcomes.forget(TARGET, LIVE)
    assert outcomes.recall(other, 2, OFFICE.get) is None


def test_a_first_address_that_wins_teaches_nothing() -> None:
    outcomes = Outcomes()
    outcomes.remember(TARGET, [LIVE], LIVE, 0, HOME.get)
    assert len(outcomes) == 0


def test_it_is_dropped() -> None:
    outcomes = Outcomes()
    remembered(outcomes)
    outcomes.forget(TARGET, LIVE)
    assert outcomes.recall(TARGET, 0, HOME.get) is None
    outcomes.forget(TARGET, LIVE)
    assert len(outcomes) == 0


def test_the_oldest_goes() -> None:
    outcomes = Outcomes(max_targets=2)
    for target in ("a", "b", "a", "c"):
        outcomes.remember(target, [SILENT, LIVE], LIVE, 0, HOME.get)
    assert [outcomes.recall(target, 0, HOME.get) for target in "abc"] == [LIVE, None, LIVE]


def test_nothing_is_looked_up_for_an_unknown_target() -> None:
    def source_of(_address: Any) -> str:
        raise AssertionError

    assert Outcomes().recall(TARGET, 0, source_of) is None


@given(
    st.lists(
        st.tuples(
            st.integers(0, 20),
            st.sampled_from([HOME, OFFICE]),
            st.sampled_from([[SILENT, LIVE], [LIVE, SILENT], [SILENT]]),
            st.floats(0, 1200),
        )
    )
)
def test_it_stays_within_its_bounds(races: list[Any]) -> None:
    outcomes = Outcomes(lifetime=600, max_targets=5, route_lifetime=0)
    latest: dict[Any, Any] = {}
    for port, network, tried, now in races:
        target = ("www.example", port)
        outcomes.remember(target, tried, tried[-1], now, network.get)
        if len(tried) > 1:
            latest[target] = (tried[-1], network, now)
        assert len(outcomes) <= 5
    for target, (winner, network, at) in latest.items():
        assert outcomes.recall(target, at, network.get) in (winner, None)
    if len(latest) <= 5:
        for target, (winner, network, at) in latest.items():
            assert outcomes.recall(target, at, network.get) == winner
