"""Prepare an operation, change root and user for good, then do it and say what came of it as JSON.

``jailed.py JAIL OPERATION [ARGUMENT...]``: the options of TLS and the root certificate, or a port
to connect to.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parents[2]))

from support.foreign_reactor import ForeignReactor
from support.listeners import RecordingFactory
from support.reactors import Reactor
from support.resolvers import Hosts
from twisted.internet.endpoints import clientFromString, serverFromString
from twisted.internet.protocol import DatagramProtocol, Factory, Protocol

from dsadapter.frameworks.twisted import (
    DualStackClientEndpoint,
    DualStackDatagramEndpoint,
    DualStackServerEndpoint,
)

jail, operation, *arguments = sys.argv[1:]
argument = arguments[0] if arguments else ""
reactor: Any = (ForeignReactor if operation.startswith("foreign") else Reactor)()
resolver = Hosts({name: ["127.0.0.1"] for name in ("name.example", "xn--bcher-kva.example")})

Do = Callable[[], Any]


def listening(endpoint: Any) -> Do:
    """Listen, and tell the peers of a client at each loopback address that is served."""

    def listen() -> str:
        made: list[Any] = []
        factory = RecordingFactory()
        # Every connection is closed at once.
        factory.buildProtocol = lambda addr: made.append(addr.host)  # type: ignore[method-assign]
        port = reactor.result_of(endpoint.listen(factory))
        clients = []
        for host in ("127.0.0.1", "::1"):
            with contextlib.suppress(ConnectionRefusedError):
                family = socket.AF_INET6 if ":" in host else socket.AF_INET
                clients.append(socket.socket(family))
                clients[-1].connect((host, port.getHost().port))
                before = len(made)
                reactor.until(lambda before=before: len(made) > before)
        return " ".join(made)

    return listen


def talking(options: str, root: str) -> Do:
    """Listen with TLS, and connect by it, verifying, until both have heard of each other."""
    from twisted.internet.endpoints import wrapClientTLS
    from twisted.internet.ssl import Certificate, optionsForClientTLS

    server = serverFromString(reactor, f"dualstack:0:{options}")
    settings = optionsForClientTLS("a.example", Certificate.loadPEM(Path(root).read_bytes()))

    def talk() -> str:
        factory = Factory.forProtocol(Hello)
        factory.heard = heard = []
        port = reactor.result_of(server.listen(factory)).getHost().port
        endpoint = DualStackClientEndpoint(reactor, "127.0.0.1", port)
        reactor.result_of(wrapClientTLS(settings, endpoint, reactor).connect(factory))
        reactor.until(lambda: len(heard) == 2)
        return " ".join(heard)

    return talk


class Hello(Protocol):
    def connectionMade(self) -> None:
        self.transport.write(b"hello")

    def dataReceived(self, data: bytes) -> None:
        self.factory.heard.append(data.decode())


def held() -> Do:
    holder = socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True)

    def listen() -> str:
        port = holder.getsockname()[1]
        deferred = DualStackServerEndpoint(reactor, port).listen(RecordingFactory())
        try:
            reactor.result_of(deferred)
        except Exception as error:
            return "held" if "held by another socket" in str(error) else repr(error)
        return "listening"

    return listen


def grouped(group: str) -> Do:
    endpoint = DualStackDatagramEndpoint(reactor, 0)

    def join() -> str:
        port = reactor.result_of(endpoint.listen(DatagramProtocol()))
        reactor.result_of(port.joinGroup(group, "lo"))
        return "joined"

    return join


def connecting(endpoint: Any) -> Do:
    def connect() -> str:
        protocol = reactor.result_of(endpoint.connect(RecordingFactory()))
        return str(protocol.transport.getPeer().host)

    return connect


def to(host: str, **options: Any) -> Do:
    return connecting(DualStackClientEndpoint(reactor, host, int(argument), **options))


def to_what_is_named_inside(host: str) -> Do:
    def connect() -> str:
        endpoint = DualStackClientEndpoint(reactor, host, int(argument), resolver=resolver)
        return connecting(endpoint)()  # type: ignore[no-any-return]

    return connect


def datagrams(interface: str) -> Do:
    endpoint = DualStackDatagramEndpoint(reactor, 0, interface=interface)
    return lambda: reactor.result_of(endpoint.listen(DatagramProtocol())).getHost().host


OPERATIONS: dict[str, Callable[[], Do]] = {
    "server": lambda: listening(DualStackServerEndpoint(reactor, 0)),
    "server string": lambda: listening(serverFromString(reactor, "dualstack:0")),
    "IPv4 server": lambda: listening(DualStackServerEndpoint(reactor, 0, interface="127.0.0.1")),
    "IPv6 server": lambda: listening(DualStackServerEndpoint(reactor, 0, interface="::1")),
    "pair": lambda: listening(DualStackServerEndpoint(reactor, 0, interface="localhost")),
    "TLS server": lambda: listening(serverFromString(reactor, f"dualstack:0:{argument}")),
    "TLS": lambda: talking(argument, arguments[1]),
    "foreign server": lambda: listening(DualStackServerEndpoint(reactor, 0)),
    "foreign pair": lambda: listening(DualStackServerEndpoint(reactor, 0, interface="localhost")),
    "held": lambda: held(),
    "datagrams": lambda: datagrams("::"),
    "IPv4 datagrams": lambda: datagrams("0.0.0.0"),
    "IPv4 group": lambda: grouped("239.1.2.3"),
    "IPv6 group": lambda: grouped("ff05::123"),
    "IPv4 client": lambda: to("127.0.0.1"),
    "IPv6 client": lambda: to("::1"),
    "client string": lambda: connecting(
        clientFromString(reactor, f"dualstack:127.0.0.1:{argument}")
    ),
    "client from elsewhere": lambda: to("127.0.0.1", bindAddress="192.0.2.1"),
    "client from a link-local address": lambda: to("::1", bindAddress="fe80::9"),
    "client to nobody": lambda: to("127.0.0.9"),
    "bound client": lambda: to("127.0.0.1", bindAddress="127.0.0.2"),
    "zoned client": lambda: to("fe80::7%wire"),
    "client by name": lambda: to("name.example", resolver=resolver),
    "client by a name of before": lambda: to("bücher.example", resolver=resolver),
    "client by a name of after": lambda: to_what_is_named_inside("bücher.example"),
    "client by a mapped name of after": lambda: to_what_is_named_inside("Bücher.example"),
}

do = OPERATIONS[operation]()
os.chroot(jail)
os.chdir("/")
os.setgid(65534)
os.setuid(65534)
try:
    outcome = do()
except Exception as error:
    outcome = f"{type(error).__name__}: {error}"
print(json.dumps({"outcome": outcome}), flush=True)
