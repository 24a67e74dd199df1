"""What the guard costs: socket calls that it looks at, and every other audit event."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack

from benchmarks.rounds import BEYOND, Samples, interleave
from benchmarks.table import Table, Target

_CALLS = 2000
_OTHER = "another event"
_ADDRESSES = {
    "sendto, IPv4": (socket.AF_INET, ("127.0.0.1", 9)),
    "sendto, IPv6": (socket.AF_INET6, ("::1", 9)),
    "sendto, mapped, dual-stack": (socket.AF_INET6, ("::ffff:127.0.0.1", 9)),
}
_NONE, _NOTHING, _GUARD = "without a hook", "a hook that does nothing", "the guard"
_EVENTS = (_OTHER, *_ADDRESSES)


def tables(rounds: int | None) -> Iterator[Table]:
    samples = Samples()
    with ExitStack() as stack:
        # An audit hook stays, so that each state has a process of its own.
        asked = {state: _asking(stack, state) for state in (_NONE, _NOTHING, _GUARD)}
        interleave(
            {
                f"{event}, {state}": _sample(ask, event)
                for state, ask in asked.items()
                for event in _EVENTS
            },
            rounds or 100,
            samples,
        )
    table = Table(
        "The leak guard",
        f"CPU time of a call, in three processes that take turns, {_CALLS} calls a turn; a hook "
        "that does nothing is the least that Python asks for one.",
        samples,
        "µs",
    )
    for event in _EVENTS:
        target = Target(0.2 if event == _OTHER else 2)
        table.compare(f"{event}, {_GUARD}", f"{event}, {_NONE}", BEYOND, target)
        table.compare(f"{event}, {_NOTHING}", f"{event}, {_NONE}", BEYOND)
    yield table


def _asking(stack: ExitStack, state: str) -> Callable[[str], float]:
    worker = stack.enter_context(
        subprocess.Popen(
            [sys.executable, "-m", "benchmarks.guard", state],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
    )
    # Its end is that of its input.
    stdin, stdout = worker.stdin, worker.stdout
    assert stdin is not None
    assert stdout is not None
    stack.callback(stdin.close)

    def ask(event: str) -> float:
        stdin.write(f"{event}\n")
        stdin.flush()
        return float(stdout.readline())

    return ask


def _sample(ask: Callable[[str], float], event: str) -> Callable[[], float]:
    return lambda: ask(event)


def _work(state: str) -> None:
    """Measure the events that standard input names, in a process of one state."""
    if state == _NOTHING:
        sys.addaudithook(_nothing)
    elif state == _GUARD:
        from dsadapter import guard

        guard.install("log")
    calls: dict[str, Callable[[], None]] = {_OTHER: lambda: sys.audit("dsadapter.none")}
    for name, (family, address) in _ADDRESSES.items():
        sock = socket.socket(family, socket.SOCK_DGRAM)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        calls[name] = _sending(sock, address)
    for line in sys.stdin:
        call = calls[line.rstrip("\n")]
        start = time.process_time()
        for _ in range(_CALLS):
            call()
        print((time.process_time() - start) / _CALLS * 1e6, flush=True)


def _nothing(event: str, args: tuple[object, ...]) -> None:
    pass


def _sending(sock: socket.socket, address: tuple[str, int]) -> Callable[[], None]:
    def send() -> None:
        try:
            sock.sendto(b"x", address)
        except OSError:
            # Refused, for the one before; or no address to send to.
            return

    return send


if __name__ == "__main__":
    _work(sys.argv[1])
