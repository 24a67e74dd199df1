"""Interfaces of groups that this machine does not have: an error at once, and nobody is asked."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from support.datagrams import Recorder, listen
from support.listeners import stop
from support.reactors import Reactor
from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import MulticastJoinError
from twisted.internet.interfaces import IResolverSimple
from zope.interface import implementer

GROUPS = ("239.1.2.3", "ff05::123")


@implementer(IResolverSimple)
class Asked:
    """Knows every name."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def getHostByName(self, name: str, *args: Any) -> Deferred[str]:
        self.names.append(name)
        return succeed("127.0.0.1")


def join(port: Any, group: str) -> Deferred[Any]:
    return port.joinGroup(group, "eth99")  # type: ignore[no-any-return]


def join_for_one_source(port: Any, group: str) -> Deferred[Any]:
    source = "2001:db8::1" if ":" in group else "192.0.2.1"
    return port.joinGroup(group, "eth99", source=source)  # type: ignore[no-any-return]


def leave(port: Any, group: str) -> Deferred[Any]:
    return port.leaveGroup(group, "eth99")  # type: ignore[no-any-return]


def send_by(port: Any, group: str) -> Deferred[Any]:
    return port.setOutgoingInterface("eth99")  # type: ignore[no-any-return]


@pytest.mark.parametrize("group", GROUPS)
@pytest.mark.parametrize(
    ("change", "error"),
    [
        (join, MulticastJoinError),
        (join_for_one_source, MulticastJoinError),
        (leave, MulticastJoinError),
        (send_by, ValueError),
    ],
)
def test_an_interface_that_is_not_there_is_named(
    reactor: Reactor,
    change: Callable[[Any, str], Deferred[Any]],
    error: type[Exception],
    group: str,
) -> None:
    resolver = Asked()
    reactor.installResolver(resolver)
    port = listen(reactor, Recorder())
    try:
        with pytest.raises(error, match="eth99"):
            reactor.result_of(change(port, group))
    finally:
        stop(reactor, port)
    assert resolver.names == []


def test_one_of_an_IPv4_port_too(reactor: Reactor) -> None:
    resolver = Asked()
    reactor.installResolver(resolver)
    port = listen(reactor, Recorder(), "0.0.0.0")
    try:
        with pytest.raises(MulticastJoinError, match="eth99"):
            reactor.result_of(port.joinGroup(GROUPS[0], "eth99"))
    finally:
        stop(reactor, port)
    assert resolver.names == []


@pytest.mark.parametrize(
    ("group", "interface"),
    [("ff02::fb%eth99", ""), (GROUPS[0], 9999)],
)
def test_what_is_no_name_is_told_at_once(
    reactor: Reactor, group: str, interface: str | int
) -> None:
    resolver = Asked()
    reactor.installResolver(resolver)
    port = listen(reactor, Recorder())
    try:
        with pytest.raises(MulticastJoinError):
            reactor.result_of(port.joinGroup(group, interface))
    finally:
        stop(reactor, port)
    assert resolver.names == []
