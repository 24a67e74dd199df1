"""Asking an ``AddressSet`` of 100,000 rules, against what else Python programs ask."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterator
from random import Random
from typing import Any

try:
    # Has no wheels, and so isn't in the group of what is installed to be measured against.
    import pytricia
except ImportError:
    pytricia = None

from benchmarks.addressing import timed
from benchmarks.rounds import SPEEDUP, Samples, interleave
from benchmarks.table import Row, Table, Target
from dsadapter.addressing import AddressSet

PACKAGES = () if pytricia is None else ("pytricia",)
_RULES = 100_000
_LOOPED_RULES = 100
_ASKED = 1000
_OURS = "AddressSet"
_TRIE = "pytricia"
_LOOP = f"ip_address in any of {_LOOPED_RULES} networks"
_QUICK = Target(1000)


def tables(rounds: int | None) -> Iterator[Table]:
    random = Random(1)
    ipv4 = [_network(random, 32, random.choice((24, 24, 28, 32))) for _ in range(_RULES // 2)]
    ipv6 = [_network(random, 128, random.choice((48, 56, 64, 128))) for _ in range(_RULES // 2)]
    rules = [*ipv4, *ipv6]
    made = AddressSet(map(str, rules))
    samples = Samples()
    asked = {
        "IPv4": [_address(random, ipv4) for _ in range(_ASKED)],
        "IPv6": [_address(random, ipv6) for _ in range(_ASKED)],
    }
    asked["mapped"] = [f"::ffff:{text}" for text in asked["IPv4"]]
    subjects: dict[str, Callable[[], float]] = {}
    for kind, texts in asked.items():
        subjects[f"{_OURS}, {kind}"] = timed(made.__contains__, texts)
    for version, kind in ((4, "IPv4"), (6, "IPv6")):
        family = [rule for rule in rules if rule.version == version]
        subjects[f"{_LOOP}, {kind}"] = timed(_loop(family[:_LOOPED_RULES]), asked[kind][:100])
        if pytricia is not None:
            trie = _trie(family)
            subjects[f"{_TRIE}, {kind}"] = timed(trie.__contains__, asked[kind])
            if any((text in made) != (text in trie) for text in asked[kind]):
                raise RuntimeError(f"{_OURS} and {_TRIE} answer differently")
    interleave(subjects, rounds or 15, samples)
    table = Table(
        "Access rules",
        f"CPU time of a plain loop that asks for {_ASKED} addresses as text, every second one of "
        f"them in a set of {_RULES:,} networks, half of them IPv4 and half IPv6, at random, per "
        f"address; nothing is subtracted for the loop.",
        samples,
        "ns",
    )
    for kind in asked:
        subject = f"{_OURS}, {kind}"
        table.rows.append(Row(subject, samples.median(subject), "ns", target=_QUICK))
    for kind in ("IPv4", "IPv6"):
        for peer in (_LOOP, *PACKAGES):
            table.compare(f"{_OURS}, {kind}", f"{peer}, {kind}", SPEEDUP)
    yield table


def _network(random: Random, bits: int, length: int) -> Any:
    # IPv6's are in what is assigned of 2000::/3, the regions' first blocks.
    first = random.getrandbits(bits)
    if bits == 128:
        first = random.choice((0x2001, 0x2400, 0x2600, 0x2800, 0x2A00)) << 112 | first >> 16
    below = bits - length
    return ipaddress.ip_network((first >> below << below, length))


def _address(random: Random, networks: list[Any]) -> str:
    network = random.choice(networks)
    if random.random() < 0.5:
        return str(network[random.randrange(network.num_addresses)])
    return str(network.network_address + 2**16 * random.randrange(1, 256))


def _trie(networks: list[Any]) -> Any:
    trie = pytricia.PyTricia(networks[0].max_prefixlen)
    for network in networks:
        trie.insert(str(network), True)
    return trie


def _loop(networks: list[Any]) -> Callable[[str], bool]:
    def has(text: str) -> bool:
        address = ipaddress.ip_address(text)
        return any(address in network for network in networks)

    return has
