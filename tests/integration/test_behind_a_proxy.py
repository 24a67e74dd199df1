"""What ``docs/security.md`` says of a server behind a proxy: what it is told comes as it is."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

import pytest
from support.listeners import stop
from support.reactors import Reactor
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.endpoints import serverFromString
from twisted.web.http import proxiedLogFormatter
from twisted.web.resource import Resource
from twisted.web.server import Site

from dsadapter.addressing import unmap

MAPPED = "::ffff:192.0.2.1"
PACKED = socket.inet_pton(socket.AF_INET6, MAPPED)
V1 = f"PROXY TCP6 {MAPPED} 2001:db8::80 4000 80\r\n".encode()
V2 = (
    b"\r\n\r\n\0\r\nQUIT\n\x21\x21\0\x24"
    + PACKED
    + socket.inet_pton(socket.AF_INET6, "2001:db8::80")
    + (4000).to_bytes(2)
    + (80).to_bytes(2)
)
REQUEST = b"GET / HTTP/1.0\r\n"


class Witness(Resource):
    isLeaf = True  # noqa: N815

    def __init__(self) -> None:
        super().__init__()
        self.peers: list[Any] = []
        self.logged: list[str] = []
        self.forwarded: list[Any] = []

    def render_GET(self, request: Any) -> bytes:
        self.peers.append(request.getClientAddress())
        self.logged.append(proxiedLogFormatter("[now]", request).split()[0].strip('"'))
        self.forwarded += request.requestHeaders.getRawHeaders("X-Forwarded-For", [])
        return b""


Ask = Callable[[str, str, bytes], Witness]


@pytest.fixture
def ask(reactor: Reactor) -> Ask:
    """Send bytes to a server of a description by an address, and have what it was shown."""

    def ask(description: str, host: str, sent: bytes) -> Witness:
        witness = Witness()
        site = Site(witness, reactor=reactor)
        port = reactor.result_of(serverFromString(reactor, description).listen(site))
        with socket.create_connection((host, port.getHost().port)) as client:
            client.sendall(sent)
            reactor.until(lambda: witness.peers)
        stop(reactor, port)
        return witness

    return ask


@pytest.mark.parametrize(
    ("host", "kind"), [("127.0.0.1", IPv4Address), ("::1", IPv6Address)], ids=["ipv4", "ipv6"]
)
def test_the_peer_is_the_proxy_and_the_header_comes_as_it_is(
    ask: Ask, host: str, kind: type[Any]
) -> None:
    header = f"X-Forwarded-For: {MAPPED}\r\n\r\n".encode()
    shown = ask("dualstack:0", host, REQUEST + header)
    [peer] = shown.peers
    assert isinstance(peer, kind)
    assert peer.host == host
    assert shown.forwarded == shown.logged == [MAPPED]


@pytest.mark.parametrize(
    ("header", "text"), [(V1, MAPPED), (V2, "0:0:0:0:0:ffff:c000:201")], ids=["v1", "v2"]
)
def test_a_proxy_header_replaces_the_peer_by_what_it_carries(
    ask: Ask, header: bytes, text: str
) -> None:
    [peer] = ask("haproxy:dualstack:0", "127.0.0.1", header + REQUEST + b"\r\n").peers
    assert peer == IPv6Address("TCP", text, 4000)
    assert unmap(text) == "192.0.2.1"


def test_what_unmap_makes_of_other_texts() -> None:
    assert unmap("unknown") == "unknown"
    for text in ("[::ffff:192.0.2.1]", "010.0.0.1"):
        with pytest.raises(ValueError):
            unmap(text)
