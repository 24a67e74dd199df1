"""What the guard costs: socket calls that it looks at, and every other audit event."""

from __future__ import annotations

import socket
import sys
import time
from collections.abc import Callable, Iterator

from benchmarks.rounds import Samples, interleave
from benchmarks.table import Row, Table, Target
from dsadapter import guard

_CALLS = 2000
_ADDRESSES = {
    "sendto, IPv4": (socket.AF_INET, ("127.0.0.1", 9)),
    "sendto, IPv6": (socket.AF_INET6, ("::1", 9)),
    "sendto, mapped, dual-stack": (socket.AF_INET6, ("::ffff:127.0.0.1", 9)),
}


def tables(rounds: int | None) -> Iterator[Table]:
    # An audit hook stays: what is off is measured before it comes.
    events: dict[str, Callable[[], None]] = {"another event": lambda: sys.audit("dsadapter.none")}
    sockets = []
    for name, (family, address) in _ADDRESSES.items():
        sock = socket.socket(family, socket.SOCK_DGRAM)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        sockets.append(sock)
        events[name] = _sending(sock, address)
    off, on = Samples(), Samples()
    interleave({name: _timed(call) for name, call in events.items()}, rounds or 30, off)
    guard.install("log")
    interleave({name: _timed(call) for name, call in events.items()}, rounds or 30, on)
    guard.uninstall()
    for sock in sockets:
        sock.close()
    table = Table(
        "The leak guard",
        "CPU time of a call with the guard installed, less that of the same call before it was "
        "installed in the same process.",
        on,
        "µs",
    )
    for name in events:
        target = Target(0.2) if name == "another event" else Target(2)
        table.rows.append(Row(name, on.median(name) - off.median(name), "µs", target=target))
    yield table


def _sending(sock: socket.socket, address: tuple[str, int]) -> Callable[[], None]:
    def send() -> None:
        try:
            sock.sendto(b"x", address)
        except ConnectionRefusedError:
            # Of the one before.
            return

    return send


def _timed(call: Callable[[], None]) -> Callable[[], float]:
    def sample() -> float:
        start = time.process_time()
        for _ in range(_CALLS):
            call()
        return (time.process_time() - start) / _CALLS * 1e6

    return sample
