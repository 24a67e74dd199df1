"""What is on or off takes True and False; text such as "no", true to Python, is refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from support.datagrams import Recorder, listen
from support.reactors import Reactor
from twisted.internet.testing import MemoryReactor

from dsadapter.frameworks.twisted import (
    DualStackAgentEndpointFactory,
    DualStackClientEndpoint,
    DualStackServerEndpoint,
)
from dsadapter.policy import ConnectPolicy, ListenPolicy

NEITHER: list[Any] = ["no", "yes", "False", "", b"", None, 2, 1.0, [], [0]]
TAKES: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "server": (
        "reusePort",
        lambda value: DualStackServerEndpoint(MemoryReactor(), 0, reusePort=value),
    ),
    "ListenPolicy": (
        "reuse_port",
        lambda value: ListenPolicy("::", 0, reuse_port=value),
    ),
    "client": (
        "rememberOutcomes",
        lambda value: DualStackClientEndpoint(MemoryReactor(), "::1", 80, rememberOutcomes=value),
    ),
    "agent": (
        "rememberOutcomes",
        lambda value: DualStackAgentEndpointFactory(MemoryReactor(), rememberOutcomes=value),
    ),
    "ConnectPolicy": (
        "remember_outcomes",
        lambda value: ConnectPolicy(remember_outcomes=value),
    ),
}


@pytest.mark.parametrize("place", TAKES)
@pytest.mark.parametrize("value", [*NEITHER, 0, 1], ids=repr)
def test_what_is_neither_true_nor_false_is_named(place: str, value: Any) -> None:
    name, take = TAKES[place]
    with pytest.raises(ValueError) as caught:
        take(value)
    assert str(caught.value) == (
        f"{name} {value!r} is neither True nor False; give {name}=True or False"
    )


@pytest.mark.parametrize("place", TAKES)
@pytest.mark.parametrize("value", [True, False])
def test_true_and_false_are_taken(place: str, value: bool) -> None:
    TAKES[place][1](value)


@pytest.mark.parametrize("place", TAKES)
def test_a_number_passes_for_no_equal_boolean_of_before(place: str) -> None:
    take = TAKES[place][1]
    for value, equal in ((True, 1), (False, 0)):
        take(value)
        with pytest.raises(ValueError, match="neither True nor False"):
            take(equal)


@pytest.mark.parametrize("interface", ["::", "127.0.0.1", "::1"])
def test_the_loopback_mode_is_on_or_off(reactor: Reactor, interface: str) -> None:
    port = listen(reactor, Recorder(), interface)
    for value in (False, True, 0, 1):
        port.setLoopbackMode(value)
        assert port.getLoopbackMode() is bool(value)
    for value in NEITHER:
        with pytest.raises(ValueError) as caught:
            port.setLoopbackMode(value)
        assert f"loopback mode {value!r} is neither True nor False" in str(caught.value)
        assert port.getLoopbackMode() is True
    reactor.result_of(port.stopListening())
