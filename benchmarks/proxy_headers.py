"""Parsing one PROXY header, as each connection behind a proxy has one."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from socket import AF_INET6, inet_pton
from typing import Any

from twisted.internet.epollreactor import EPollReactor

from benchmarks.addressing import timed
from benchmarks.rounds import Samples, interleave
from benchmarks.table import Row, Table, Target
from dsadapter.addressing import AddressSet
from dsadapter.frameworks.twisted.reactor_waiting import ReactorWaiting
from dsadapter.listener import Listener
from dsadapter.plugin import active_hooks
from dsadapter.policy import ListenPolicy
from dsadapter.proxied import ProxyGate
from dsadapter.proxied.proxied_socket import proxied
from dsadapter.proxy_protocol import ProxyHeader, ProxyHeaderParser
from dsadapter.sockets.canonical import CanonicalSocket

_COPIES = 100
_WAITING = 200
_ADDRESSES = {
    "IPv4": (0x11, bytes([192, 0, 2, 1, 198, 51, 100, 1])),
    "IPv6": (0x21, 2 * inet_pton(AF_INET6, "2001:db8::1")),
    "mapped": (0x21, 2 * inet_pton(AF_INET6, "::ffff:192.0.2.1")),
}
_VECTORS = b"\x02\x00\x0bexample.com" + b"\x05\x00\x10" + bytes(16)


def tables(rounds: int | None) -> Iterator[Table]:
    headers = {
        "version 1, mapped": b"PROXY TCP6 ::ffff:192.0.2.1 ::ffff:198.51.100.1 4000 80\r\n",
        "version 2, local": _version_2(0x20, 0, b""),
    }
    for name, (family, addresses) in _ADDRESSES.items():
        block = addresses + (4000).to_bytes(2) + (80).to_bytes(2)
        headers[f"version 2, {name}"] = _version_2(0x21, family, block)
        headers[f"version 2, {name}, two TLVs"] = _version_2(0x21, family, block + _VECTORS)
    samples = Samples()
    subjects = {
        name: _microseconds(timed(_parse, [header + b"GET /"] * _COPIES))
        for name, header in headers.items()
    }
    interleave(subjects, rounds or 15, samples)
    table = Table(
        "PROXY headers",
        "CPU time of a parser from where it is made to where it has given the header and what came "
        "behind it, per connection.",
        samples,
        "µs",
    )
    for name in sorted(headers):
        target = Target(15) if name.startswith("version 2") else None
        table.rows.append(Row(name, samples.median(name), "µs", target=target))
    yield table
    yield _passing(headers, rounds)


def _passing(headers: dict[str, bytes], rounds: int | None) -> Table:
    """What ``proxyFrom`` adds to a connection, from where it has been accepted."""
    samples = Samples()
    with ExitStack() as stack:
        listening = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=_WAITING))
        reactor = EPollReactor()
        subjects = {
            f"{name}, {when}": partial(when.sample, listening, reactor, headers[name])
            for name in ("version 1, mapped", "version 2, IPv4", "version 2, mapped")
            for when in (_AtOnce(), _Later())
        }
        interleave(subjects, rounds or 60, samples)
    table = Table(
        "Connections behind a proxy",
        f"CPU time of a Twisted reactor from where it has accepted {_WAITING} connections of a "
        "named proxy to where the socket of the last one is the framework's, under the names of "
        "its header, per connection. The header was there when it was accepted, or came later.",
        samples,
        "µs",
    )
    for name in sorted(subjects):
        target = Target(15) if name.startswith("version 2") and "at once" in name else None
        table.rows.append(Row(name, samples.median(name), "µs", target=target))
    return table


class _AtOnce:
    """The header is there when the connection is accepted, as proxies send it."""

    def __str__(self) -> str:
        return "there at once"

    def sample(self, listening: socket.socket, reactor: Any, header: bytes) -> float:
        with ExitStack() as stack:
            clients = _clients(stack, listening)
            for client in clients:
                client.sendall(header)
            return _measured(stack, listening, reactor, lambda: None)


class _Later:
    """It comes in a later turn of the reactor."""

    def __str__(self) -> str:
        return "later"

    def sample(self, listening: socket.socket, reactor: Any, header: bytes) -> float:
        with ExitStack() as stack:
            clients = _clients(stack, listening)

            def send() -> None:
                for client in clients:
                    client.sendall(header)

            return _measured(stack, listening, reactor, send)


def _clients(stack: ExitStack, listening: socket.socket) -> list[socket.socket]:
    connect = partial(socket.create_connection, listening.getsockname())
    return [stack.enter_context(connect()) for _ in range(_WAITING)]


def _measured(
    stack: ExitStack, listening: socket.socket, reactor: Any, then: Callable[[], None]
) -> float:
    """Microseconds a connection; what sends the headers is not counted."""
    passed: list[Any] = []

    def deliver(sock: Any, peer: Any, local: Any, proxy: Any) -> None:
        passed.append(proxied(sock, peer, local))

    policy = ListenPolicy("127.0.0.1", 0, proxy_from=AddressSet(["127.0.0.0/8"]))
    life = Listener("twisted", policy)
    life.hooks = active_hooks()
    gate = ProxyGate(life, ReactorWaiting(reactor), deliver)
    accepted = []
    for _ in range(_WAITING):
        sock, _address = listening.accept()
        fd = sock.detach()
        accepted.append(CanonicalSocket(socket.AF_INET, socket.SOCK_STREAM, 0, fd))
    peers = [sock.getpeername() for sock in accepted]
    start = time.process_time()
    for sock, peer in zip(accepted, peers, strict=True):
        gate.accepted(sock, peer)
    elapsed = time.process_time() - start
    then()
    start = time.process_time()
    while len(passed) < _WAITING:
        reactor.iterate(0)
    elapsed += time.process_time() - start
    for sock in passed:
        sock.close()
    gate.close()
    return elapsed / _WAITING * 1e6


def _version_2(command: int, family: int, block: bytes) -> bytes:
    fixed = bytes([command, family]) + len(block).to_bytes(2)
    return b"\r\n\r\n\0\r\nQUIT\n" + fixed + block


def _parse(sent: bytes) -> tuple[ProxyHeader | None, bytes]:
    parser = ProxyHeaderParser()
    return parser.feed(sent), parser.rest


def _microseconds(sample: Callable[[], float]) -> Callable[[], float]:
    return lambda: sample() / 1000
