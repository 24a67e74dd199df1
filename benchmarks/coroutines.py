"""CPU time of Trio's and AnyIO's servers per connection, against their own listeners; and of
connecting."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack
from functools import partial
from typing import Any

from benchmarks.loops import LoopServer
from benchmarks.processes import Cpus, Process, Subjects, measure
from benchmarks.rounds import RATIO, Samples, interleave
from benchmarks.table import Table, Target

PACKAGES = ("trio", "anyio", "uvloop")
_FRAMEWORKS = {
    "trio": Target(1.08),
    "anyio": Target(1.05),
    "anyio on uvloop": Target(1.05),
    "anyio on trio": Target(1.05),
}
_CONNECTS = 100
_ROUNDS_PER_PROCESS = 20


class CoroutineServer(LoopServer):
    """A server of one framework with one kind of listener, and its clients."""

    script = "coroutine_server.py"


def tables(rounds: int | None) -> Iterator[Table]:
    for framework, target in _FRAMEWORKS.items():
        for title, what in (
            ("Accepting under", partial(CoroutineServer.accepted, whole_life=False)),
            ("One request a connection under", CoroutineServer.one_by_one),
        ):
            table = Table(
                f"{title} {framework}",
                "CPU time of a server process per connection, as for asyncio.",
                _measure(framework, what, rounds or 60),
                "µs",
            )
            own = "its own on 0.0.0.0, IPv4 client"
            table.compare("dual-stack, IPv4 client", own, RATIO, target)
            table.compare("dual-stack, IPv4 client", "its own on ::, IPv6 client", RATIO)
            yield table
    yield _connecting(rounds or 60)


def _measure(framework: str, what: Callable[[Any], float], rounds: int) -> Samples:
    def start(stack: ExitStack, cpus: Cpus) -> Subjects:
        kinds = ("ipv4", "ipv6", "ours")
        servers = [stack.enter_context(CoroutineServer(framework, kind, cpus)) for kind in kinds]
        return {server.name: partial(what, server) for server in servers}

    return measure(start, rounds, _ROUNDS_PER_PROCESS)


def _connecting(rounds: int) -> Table:
    samples = Samples()
    with Process("coroutine_server.py", "anyio", "ipv4") as server:
        port = int(server.answer())
        interleave(_clients(port), rounds, samples)
    table = Table(
        "Connecting to a literal",
        f"CPU time of {_CONNECTS} connects to an IPv4 address one after the other, and of closing "
        "the connections, per connect.",
        samples,
        "µs",
    )
    for framework in ("trio", "anyio"):
        table.compare(f"{framework}, dual-stack", f"{framework}, its own", RATIO, Target(1.05))
    return table


def _clients(port: int) -> dict[str, Callable[[], float]]:
    import anyio
    import trio

    from dsadapter.frameworks import anyio as ours_for_anyio
    from dsadapter.frameworks import trio as ours_for_trio

    def timed(connect: Callable[[str, int], Awaitable[Any]], backend: str) -> Callable[[], float]:
        async def main() -> float:
            start = time.process_time()
            for _ in range(_CONNECTS):
                stream = await connect("127.0.0.1", port)
                await stream.aclose()
            return (time.process_time() - start) / _CONNECTS * 1e6

        return lambda: anyio.run(main, backend=backend)

    return {
        "trio, its own": timed(trio.open_tcp_stream, "trio"),
        "trio, dual-stack": timed(ours_for_trio.open_tcp_stream, "trio"),
        "anyio, its own": timed(anyio.connect_tcp, "asyncio"),
        "anyio, dual-stack": timed(ours_for_anyio.connect_tcp, "asyncio"),
    }
