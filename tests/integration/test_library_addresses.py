"""Texts that only the C library takes for an address are refused wherever a host goes in."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

import pytest
from support.datagrams import Recorder, listen
from support.reactors import Reactor, open_descriptors
from twisted.internet.endpoints import clientFromString, serverFromString
from twisted.internet.error import InvalidAddressError, MulticastJoinError
from twisted.web.client import URI

from dsadapter.frameworks.twisted import (
    DualStackAgentEndpointFactory,
    DualStackClientEndpoint,
    DualStackDatagramEndpoint,
    DualStackServerEndpoint,
)

TEXTS = ["*", " ", "127.0.0.1 ", " ::1", "127.1", "0x7f000001", "2130706433", "0", "<broadcast >"]
ASKED: dict[str, Callable[[Any, str], object]] = {
    "connect": lambda reactor, text: DualStackClientEndpoint(reactor, text, 80),
    "connect by string": lambda reactor, text: clientFromString(reactor, f"dualstack:{text}:80"),
    "bindAddress": lambda reactor, text: DualStackClientEndpoint(
        reactor, "::1", 80, bindAddress=text
    ),
    "bindAddress with a port": lambda reactor, text: DualStackClientEndpoint(
        reactor, "::1", 80, bindAddress=(text, 0)
    ),
    "listen": lambda reactor, text: DualStackServerEndpoint(reactor, 0, interface=text),
    "listen by string": lambda reactor, text: serverFromString(
        reactor, f"dualstack:0:interface={text}"
    ),
    "datagrams": lambda reactor, text: DualStackDatagramEndpoint(reactor, 0, interface=text),
}


@pytest.mark.parametrize("asked", ASKED)
@pytest.mark.parametrize("text", TEXTS)
def test_no_endpoint_takes_it(reactor: Reactor, asked: str, text: str) -> None:
    before = open_descriptors()
    with pytest.raises(ValueError, match="'"):
        ASKED[asked](reactor, text)
    assert open_descriptors() <= before


@pytest.mark.parametrize("text", ["*", "127.1", "0"])
def test_no_request_goes_there(reactor: Reactor, text: str) -> None:
    endpoint = DualStackAgentEndpointFactory(reactor).endpointForURI(
        URI.fromBytes(f"http://{text}/".encode())
    )
    with pytest.raises(ValueError, match="if that is meant"):
        reactor.result_of(endpoint.connect(None))


@pytest.mark.parametrize("text", TEXTS)
def test_no_datagram_goes_there(reactor: Reactor, text: str) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
        peer.bind(("127.0.0.1", 0))
        peer.setblocking(False)
        number = peer.getsockname()[1]
        port = listen(reactor, Recorder())
        for act in (
            lambda: port.write(b"x", (text, number)),
            lambda: port.write(b"x", ("127.0.0.1", number), source=text),
            lambda: port.connect(text, number),
        ):
            with pytest.raises(InvalidAddressError):
                act()
        with pytest.raises(BlockingIOError):
            peer.recv(1)
        reactor.result_of(port.stopListening())


@pytest.mark.parametrize("text", [*TEXTS, "224.1"])
def test_no_group_is_joined_and_nobody_is_asked(
    reactor: Reactor, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    asked: list[str] = []
    monkeypatch.setattr(reactor, "resolve", asked.append)
    port = listen(reactor, Recorder())
    for arguments in ((text,), ("224.0.0.251", text)):
        if text == "0" and len(arguments) == 2:
            continue  # the interface's index
        for act in (port.joinGroup, port.leaveGroup):
            with pytest.raises(MulticastJoinError):
                reactor.result_of(act(*arguments))
    if text != "0":
        with pytest.raises(ValueError, match="'"):
            reactor.result_of(port.setOutgoingInterface(text))
    assert asked == []
    reactor.result_of(port.stopListening())
