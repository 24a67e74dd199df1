"""Connecting from Twisted, against what Twisted, asyncio and Trio have for it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from functools import partial
from typing import Any

from benchmarks import network
from benchmarks.processes import Cpus, Process, Subjects, measure, one_cpu_apart
from benchmarks.rounds import RATIO, SPEEDUP, Samples, interleave
from benchmarks.table import Table, Target

PACKAGES = ("trio", "aiohappyeyeballs")
"""What is measured besides Twisted and Python."""

_OURS = "DualStackClientEndpoint"
_PEERS = {
    "hostname": "HostnameEndpoint",
    "asyncio": "asyncio",
    "aiohappyeyeballs": "aiohappyeyeballs",
    "trio": "Trio",
}
_CLIENTS = {"dualstack": _OURS, **_PEERS}
_BEST = "the best peer"
_DELAY = "the attempt delay"
_ATTEMPT_DELAY = 250.0
_NEW_NAME = "{}.server.test"
_KNOWN_NAME = "server.test"
_AGAIN = "again, {}"
_BY_NAME = "a name of one address, {}"
_BY_ADDRESS = "the address, {}"
_FAR = "far away"
_PLACES = {_FAR: network.FAR, "on this machine": network.LIVE}
_ONE_WAY = 0.0025
_PORT = 80
_NUMBERS = (1, 3, 8)
_OTHER = {"ipv6": "ipv4", "ipv4": "ipv6"}
_FAMILIES = {"ipv6": "IPv6", "ipv4": "IPv4"}
# Those who fail over at once connect many times in it, those who wait for a timer once.
_SECONDS = 0.05
_AT_ONCE = 1000
_LITERALS = {"127.0.0.1": ("tcp4", "TCP4ClientEndpoint"), "::1": ("tcp6", "TCP6ClientEndpoint")}
_ONE_BY_ONE = 200
_ROUNDS_PER_PROCESS = 10


def tables(rounds: int | None) -> Iterator[Table]:
    yield from _first_byte(rounds)
    yield _literals(rounds or 60)


class _Client:
    """A process that connects to names which mean what it is told."""

    def __init__(self, process: Process) -> None:
        self._process = process

    def first_byte(self, addresses: list[str], host: str = _NEW_NAME) -> float:
        """Milliseconds to the first byte."""
        return float(self._ask(addresses, host, seconds=_SECONDS))

    def at_once(self, addresses: list[str]) -> dict[str, float]:
        answer: dict[str, float] = self._ask(addresses, _NEW_NAME, at_once=_AT_ONCE)
        return answer

    def _ask(self, addresses: list[str], host: str, **how: float) -> Any:
        asked = {"host": host, "port": _PORT, "addresses": addresses, **how}
        return json.loads(self._process.ask(json.dumps(asked)))


def _first_byte(rounds: int | None) -> Iterator[Table]:
    with ExitStack() as stack:
        try:
            prefix = stack.enter_context(network.network())
        except network.UnavailableError as reason:
            yield Table(
                "First byte past dead addresses, connecting again, many connections at once",
                "Time from the call to the first byte.",
                Samples(),
                "ms",
                skipped=str(reason),
            )
            return
        cpus = stack.enter_context(one_cpu_apart())
        served = (*network.LIVE.values(), *network.NEAR.values())
        server = Process("connect_server.py", str(_PORT), "!", *served, prefix=prefix)
        stack.enter_context(server).answer()
        wire = Process(
            "connect_wire.py", network.WIRE, str(_ONE_WAY), *network.FAR.values(), prefix=prefix
        )
        stack.enter_context(wire).answer()
        clients = {
            name: _Client(
                stack.enter_context(Process("connect_client.py", name, cpus=cpus, prefix=prefix))
            )
            for name in _CLIENTS
        }
        for dead in _OTHER:
            yield _refused(clients, dead, rounds or 8)
        for dead in _OTHER:
            yield _silent(clients, dead, rounds or 5)
        yield _second(clients["dualstack"], rounds or 20)
        yield _at_once(clients, rounds or 5)


def _refused(clients: Mapping[str, _Client], dead: str, rounds: int) -> Table:
    samples = _measure(clients, network.refusing, dead, rounds)
    table = Table(
        f"First byte past {_FAMILIES[dead]} addresses that refuse",
        f"Time from the call, with a name of so many {_FAMILIES[dead]} addresses that nobody "
        f"listens on and then a live {_FAMILIES[_OTHER[dead]]} one, to the first byte; the median "
        f"over the connections of {_SECONDS * 1e3:g} ms, at least one.",
        samples,
        "ms",
    )
    for number in _NUMBERS:
        table.compare(_label(_OURS, number), _label(_BEST, number), RATIO, Target(1.2))
        _compare_with_peers(table, number)
    return table


def _silent(clients: Mapping[str, _Client], dead: str, rounds: int) -> Table:
    samples = _measure(clients, network.silent, dead, rounds)
    samples.derive(_DELAY, lambda _: _ATTEMPT_DELAY)
    table = Table(
        f"First byte past {_FAMILIES[dead]} addresses that are silent",
        f"The same with {_FAMILIES[dead]} addresses that never answer; the attempt delay is "
        f"{_ATTEMPT_DELAY:g} ms, that of HostnameEndpoint 300 ms.",
        samples,
        "ms",
    )
    for number in _NUMBERS:
        table.compare(_label(_OURS, number), _DELAY, RATIO, Target(1.2))
        _compare_with_peers(table, number)
    return table


def _second(client: _Client, rounds: int) -> Table:
    samples = Samples()
    subjects: dict[str, Callable[[], float]] = {}
    for place, hosts in _PLACES.items():
        for dead, family in _OTHER.items():
            live = hosts[family]
            addresses = [*network.silent(dead, _NUMBERS[-1]), live]
            name = f"{live}.{_KNOWN_NAME}".replace(":", "-")
            first = client.first_byte(addresses, name)
            if first < _ATTEMPT_DELAY:
                raise RuntimeError(f"silent addresses have cost {first} ms only")
            where = f"{_FAMILIES[family]} {place}"
            subjects[_AGAIN.format(where)] = partial(client.first_byte, addresses, name)
            subjects[_BY_NAME.format(where)] = partial(client.first_byte, [live], f"one.{name}")
            subjects[_BY_ADDRESS.format(where)] = partial(client.first_byte, [live], live)
    interleave(subjects, rounds, samples)
    table = Table(
        "Connecting again past addresses that are silent",
        f"The same with names of {_NUMBERS[-1]} silent addresses that have been connected to once "
        "before, against direct connections to the live address, by a name of nothing else and by "
        f"the address itself; {_FAR} means a round trip of {2e3 * _ONE_WAY:g} ms.",
        samples,
        "ms",
    )
    for place in _PLACES:
        for family in _FAMILIES.values():
            for direct in (_BY_NAME, _BY_ADDRESS):
                subject, peer = (each.format(f"{family} {place}") for each in (_AGAIN, direct))
                table.compare(subject, peer, RATIO, Target(1.2 if place == _FAR else 1.3))
    return table


def _measure(
    clients: Mapping[str, _Client],
    addresses: Callable[[str, int], list[str]],
    dead: str,
    rounds: int,
) -> Samples:
    def sampled(client: _Client, number: int) -> Callable[[], float]:
        return lambda: client.first_byte([*addresses(dead, number), network.LIVE[_OTHER[dead]]])

    samples = Samples()
    subjects = {
        _label(_CLIENTS[name], number): sampled(client, number)
        for number in _NUMBERS
        for name, client in clients.items()
    }
    interleave(subjects, rounds, samples)
    for number in _NUMBERS:
        samples.derive(_label(_BEST, number), _best(number))
    return samples


def _compare_with_peers(table: Table, number: int) -> None:
    for name, peer in _PEERS.items():
        # Which waits where the others don't.
        relation = SPEEDUP if name == "hostname" else RATIO
        table.compare(_label(_OURS, number), _label(peer, number), relation)


def _best(number: int) -> Callable[[Mapping[str, float]], float]:
    return lambda figures: min(figures[_label(peer, number)] for peer in _PEERS.values())


def _label(client: str, number: int) -> str:
    return f"{client}, {number} dead"


def _at_once(clients: Mapping[str, _Client], rounds: int) -> Table:
    counts = {"failed": 0, "leaked": 0}
    addresses = [*network.silent("ipv6", 1), network.LIVE["ipv4"]]

    def sampled(name: str) -> Callable[[], float]:
        def sample() -> float:
            outcome = clients[name].at_once(addresses)
            if name == "dualstack":
                for each in counts:
                    counts[each] += int(outcome[each])
            return outcome["seconds"] / _AT_ONCE * 1e6

        return sample

    samples = Samples()
    interleave({_CLIENTS[name]: sampled(name) for name in _CLIENTS}, rounds, samples)
    table = Table(
        f"{_AT_ONCE:,} connections at once",
        f"CPU time per connection of {_AT_ONCE:,} that are begun in one turn of the event loop, to "
        "names of one IPv6 address that is silent and a live IPv4 one, until all have got their "
        "byte and are closed; the connections that failed, and the descriptors that are left.",
        samples,
        "µs",
    )
    for peer in _PEERS.values():
        table.compare(_OURS, peer, RATIO)
    for each, number in counts.items():
        table.count(f"{_OURS}: {each}", number, Target(0))
    return table


def _literals(rounds: int) -> Table:
    def start(stack: ExitStack, cpus: Cpus) -> Subjects:
        server = stack.enter_context(Process("connect_server.py", "0", "", *_LITERALS))
        ports = dict(zip(_LITERALS, server.answer().split(), strict=True))
        clients = {
            name: stack.enter_context(Process("connect_cost.py", name, cpus=cpus))
            for name in ("tcp4", "dualstack", "tcp6")
        }
        return {
            f"{label} to {host}": _cost(clients[name], host, ports[host])
            for host, peer in _LITERALS.items()
            for name, label in (peer, ("dualstack", _OURS))
        }

    samples = measure(start, rounds, _ROUNDS_PER_PROCESS)
    table = Table(
        "Connecting to a literal",
        f"CPU time of a client process, event loop included, that makes and closes {_ONE_BY_ONE} "
        "connections one after the other, per connection.",
        samples,
        "µs",
    )
    for host, (_, peer) in _LITERALS.items():
        table.compare(f"{_OURS} to {host}", f"{peer} to {host}", RATIO, Target(1.05))
    return table


def _cost(process: Process, host: str, port: str) -> Callable[[], float]:
    return lambda: float(process.ask(f"{host} {port} {_ONE_BY_ONE}")) / _ONE_BY_ONE * 1e6
