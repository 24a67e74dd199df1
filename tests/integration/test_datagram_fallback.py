"""How a datagram endpoint may fall back: what can be said, and what can't."""

from __future__ import annotations

from typing import Any

import pytest
from support.datagrams import Recorder, listen
from support.listeners import stop
from support.reactors import Reactor

from dsadapter.frameworks.twisted import DualStackDatagramEndpoint
from dsadapter.policy import DatagramPolicy

FALLBACKS = ["auto", "ipv4", "ipv6", "fail"]


def endpoint(reactor: Any, interface: str, fallback: str) -> None:
    options: dict[str, Any] = {"fallback": fallback}
    DualStackDatagramEndpoint(reactor, 0, interface=interface, **options)


def policy(reactor: Any, interface: str, fallback: str) -> None:
    options: dict[str, Any] = {"fallback": fallback}
    DatagramPolicy(interface, 0, **options)


MAKERS = pytest.mark.parametrize("make", [endpoint, policy])


@MAKERS
@pytest.mark.parametrize("fallback", FALLBACKS)
def test_a_fallback_is_chosen(reactor: Reactor, make: Any, fallback: str) -> None:
    make(reactor, "::", fallback)


@MAKERS
@pytest.mark.parametrize("fallback", ["pair", "IPv4", "maybe", ""])
def test_another_one_is_named_with_the_choices(reactor: Reactor, make: Any, fallback: str) -> None:
    """Datagrams have one socket, so there is no pair."""
    with pytest.raises(ValueError) as caught:
        make(reactor, "::", fallback)
    assert f"fallback {fallback!r}" in str(caught.value)
    assert "auto, ipv4, ipv6, fail" in str(caught.value)


@MAKERS
@pytest.mark.parametrize(("interface", "fallback"), [("127.0.0.1", "ipv6"), ("::1", "ipv4")])
def test_one_family_has_none(reactor: Reactor, make: Any, interface: str, fallback: str) -> None:
    with pytest.raises(ValueError) as caught:
        make(reactor, interface, fallback)
    assert f"fallback {fallback!r} is for '::'" in str(caught.value)


@pytest.mark.parametrize("fallback", FALLBACKS)
def test_both_families_are_served_where_they_can_be(reactor: Reactor, fallback: str) -> None:
    port = listen(reactor, Recorder(), fallback=fallback)
    assert port.mode == "dual-stack"
    stop(reactor, port)
