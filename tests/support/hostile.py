"""What may come from anybody, one target a kind of input: each takes any bytes, and raises only if
something is wrong. Hypothesis feeds them in ``tests/unit``, atheris in ``tests/fuzz``.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
from collections.abc import Callable
from typing import Any

from twisted.internet.endpoints import clientFromString, serverFromString
from twisted.internet.testing import MemoryReactor

from dsadapter.addressing import AddressSet, is_mapped, unmap
from dsadapter.errors import ProxyHeaderError
from dsadapter.forwarded import client_by_forwarded, client_by_x_forwarded_for
from dsadapter.listener import Listener
from dsadapter.packetinfo import _bsd, _darwin, _linux
from dsadapter.packetinfo._cmsg import read
from dsadapter.plugin import active_hooks
from dsadapter.policy import ListenPolicy
from dsadapter.proxied import ProxyGate
from dsadapter.proxy_protocol import MAX_V2_LENGTH, ProxyHeaderParser
from dsadapter.sockets.canonical import CanonicalSocket
from dsadapter.sockets.control_messages import split

CASES = int(os.environ.get("FUZZ_CASES", 20_000 if os.environ.get("CI") else 1_000))
"""How many all targets get together."""

MAPPED_PREFIX = bytes(10) + b"\xff\xff"
_PROXY = ("127.0.0.1", 4000)
_TRUSTED = AddressSet(["10.0.0.0/8", "2001:db8::/32"])


def _is_canonical(address: Any) -> bool:
    family = socket.AF_INET if len(address) == 2 else socket.AF_INET6
    packed = socket.inet_pton(family, address[0])
    spelled = socket.inet_ntop(family, packed) == address[0]
    return spelled and not packed.startswith(MAPPED_PREFIX) and 0 <= address[1] <= 65535


def _check_readable(error: Exception) -> None:
    assert str(error).isprintable()
    assert len(str(error)) < 2000


def proxy_header(data: bytes) -> None:
    """A header at once and one in two pieces come out alike, in canonical addresses."""
    cut = data[0] if data else 0
    sent = data[1:]
    outcomes = []
    for pieces in ([sent], [sent[:cut], sent[cut:]]):
        parser = ProxyHeaderParser()
        header = rest = None
        try:
            for number, piece in enumerate(pieces):
                header = parser.feed(piece)
                if header is not None:
                    rest = parser.rest + b"".join(pieces[number + 1 :])
                    break
            else:
                parser.end()
        except ProxyHeaderError as error:
            _check_readable(error)
        outcomes.append((header, rest))
    assert outcomes[0] == outcomes[1]
    header, rest = outcomes[0]
    if header is not None:
        assert rest is not None
        assert sent.endswith(rest)
        assert len(sent) - len(rest) <= MAX_V2_LENGTH
        for address in (header.source, header.destination):
            assert not isinstance(address, tuple) or _is_canonical(address)


class _Turns:
    """A framework whose turns and whose clock are the target's."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.timers: list[tuple[float, _Turns.Watch]] = []
        self.readers: dict[socket.socket, _Turns.Watch] = {}

    class Watch:
        def __init__(self, function: Callable[..., object]) -> None:
            self.function: Callable[..., object] | None = function

        def cancel(self) -> None:
            self.function = None

        def __call__(self) -> None:
            if self.function is not None:
                self.function()

    def now(self) -> float:
        return self.seconds

    def call_later(self, seconds: float, function: Callable[[], object]) -> Watch:
        watch = self.Watch(function)
        self.timers.append((self.seconds + seconds, watch))
        return watch

    def when_readable(self, sock: socket.socket, ready: Callable[..., object]) -> Watch:
        watch = self.readers[sock] = self.Watch(ready)
        return watch

    def turn(self) -> None:
        watched = [sock for sock, watch in self.readers.items() if watch.function is not None]
        for sock in select.select(watched, [], [], 0)[0]:
            self.readers[sock]()

    def pass_time(self, seconds: float) -> None:
        self.seconds += seconds
        due = [watch for when, watch in self.timers if when <= self.seconds]
        self.timers = [each for each in self.timers if each[0] > self.seconds]
        for watch in due:
            watch()


def _life() -> Listener:
    life = Listener("none", ListenPolicy("::", 0, proxy_from=AddressSet(["127.0.0.1"])))
    life.hooks = active_hooks()
    return life


_LIFE = _life()


def connection(data: bytes) -> None:
    """A connection of a proxy ends by its limit: the application has it, with all that is behind
    its header, or it is closed; and no descriptor is left."""
    cut, sent = (data[0] if data else 0), data[1:]
    turns = _Turns()
    passed: list[CanonicalSocket] = []
    gate = ProxyGate(_LIFE, turns, lambda sock, *names: passed.append(sock))
    near, far = socket.socketpair()
    accepted = CanonicalSocket(socket.AF_UNIX, socket.SOCK_STREAM, 0, far.detach())
    try:
        near.sendall(sent[:cut])
        gate.accepted(accepted, _PROXY)
        turns.turn()
        with contextlib.suppress(BrokenPipeError):
            near.sendall(sent[cut:])
        turns.turn()
        turns.pass_time(ListenPolicy("::", 0).proxy_timeout)
        counters = gate.counters
        ends = (counters.malformed, counters.cut, counters.late)
        assert counters.passed + sum(ends) == 1
        assert len(passed) == counters.passed
        assert (accepted.fileno() == -1) == (not passed)
        if passed:
            near.shutdown(socket.SHUT_WR)
            accepted.setblocking(True)
            rest = b"".join(iter(lambda: accepted.recv(4096), b""))
            parser = ProxyHeaderParser()
            assert parser.feed(sent) is not None
            assert parser.rest == rest
    finally:
        near.close()
        accepted.close()
        gate.close()


def server_string(data: bytes) -> None:
    """A server string is an endpoint, or a ``ValueError`` on one line."""
    _endpoint(serverFromString, data)


def client_string(data: bytes) -> None:
    """The same of a client string."""
    _endpoint(clientFromString, data)


def _endpoint(parse: Callable[..., Any], data: bytes) -> None:
    text = "dualstack:" + data.decode("utf-8", "replace")
    if (len(text) - len(text.rstrip("\\"))) % 2:
        text += "\\"  # Twisted's own tokenizer fails on a lone backslash at the end.
    # No certificates are looked for.
    for option in ("tls", "privateKey", "certKey", "extraCertChain", "dhParameters"):
        text = text.replace(option, "")
    try:
        parse(MemoryReactor(), text)
    except ValueError as error:
        _check_readable(error)


def address(data: bytes) -> None:
    """Text and bytes are canonical, or refused; a set has one answer for both forms."""
    text = data.decode("utf-8", "replace")
    for given in (text, data):
        with contextlib.suppress(ValueError):
            assert not is_mapped(unmap(given))
        with contextlib.suppress(ValueError):
            assert (given in _TRUSTED) == (unmap(given) in _TRUSTED)
    with contextlib.suppress(ValueError):
        rules = AddressSet([text])
        assert AddressSet(list(rules)) == rules
    with contextlib.suppress(ValueError):
        ListenPolicy(text, 0)


def forwarded(data: bytes) -> None:
    """A header about forwarding gives a canonical address, none, or a ``ValueError``."""
    values = data.decode("latin-1").split("\n")
    for find in (client_by_x_forwarded_for, client_by_forwarded):
        with contextlib.suppress(ValueError):
            client = find("10.0.0.1", values, _TRUSTED)
            assert client is None or unmap(client) == client


def control_messages(data: bytes) -> None:
    """Control messages say where a datagram arrived, or nothing."""
    for platform in (_linux, _darwin, _bsd):
        arrival = read(split(data), platform.DECODERS)
        if arrival is not None:
            assert len(arrival.destination) in (4, 16)
            assert not arrival.destination.startswith(MAPPED_PREFIX)


TARGETS: dict[str, Callable[[bytes], None]] = {
    target.__name__: target
    for target in (
        proxy_header,
        connection,
        server_string,
        client_string,
        address,
        forwarded,
        control_messages,
    )
}

WORDS: dict[str, list[bytes]] = {
    "headers": [
        b"\0PROXY TCP6 ::ffff:192.0.2.1 2001:db8::80 4000 80\r\nrest",
        b"\5PROXY TCP4 192.0.2.1 198.51.100.1 4000 80\r\n",
        b"\0PROXY UNKNOWN\r\n",
        b"\14\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c" + bytes(range(12)) + b"rest",
        b"\0\r\n\r\n\0\r\nQUIT\n\x21\x21\0\x24" + bytes(10) + b"\xff\xff" + bytes(24),
        b"\0\r\n\r\n\0\r\nQUIT\n\x20\0\0\0",
        b"\0\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x12" + bytes(12) + b"\x02\0\3abc",
    ],
    "strings": [
        b"8080",
        rb"8080:interface=\:\:1:backlog=5:proxyFrom=10.0.0.0/8,\:\:1",
        b"example.com:80:timeout=3:bindAddress=::1",
        b"port=1:interface=::ffff:127.0.0.1:family=ipv4:fallback=pair:reusePort=yes",
    ],
    "addresses": [
        b"::ffff:192.0.2.1",
        b"fe80::1%eth0",
        b"010.0.0.1/8",
        b"::FFFF:c000:201/128",
        b"[2001:db8::1]",
    ],
    "forwarded": [
        b"192.0.2.1, 10.0.0.1",
        b'for="[2001:db8::1]:80";by=_x, for=10.0.0.2\nfor=unknown',
    ],
    "messages": [
        (36).to_bytes(8, "little") + b"\x29\0\0\0\x32\0\0\0" + bytes(24),
        (28).to_bytes(8, "little") + b"\0\0\0\0\x08\0\0\0" + bytes(16),
    ],
}
"""What inputs begin as."""

SEEDS: dict[str, list[bytes]] = {
    "proxy_header": WORDS["headers"],
    "connection": WORDS["headers"],
    "server_string": WORDS["strings"],
    "client_string": WORDS["strings"],
    "address": WORDS["addresses"],
    "forwarded": WORDS["forwarded"],
    "control_messages": WORDS["messages"],
}
