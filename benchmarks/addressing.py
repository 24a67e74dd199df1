"""Unmapping what the kernel hands over, against the standard library's ``ipaddress``."""

from __future__ import annotations

import gc
import ipaddress
import time
from collections.abc import Callable, Iterator, Sequence
from random import Random
from typing import Any

from benchmarks.rounds import SPEEDUP, Samples, interleave
from benchmarks.table import Table, Target
from dsadapter.addressing import unmap
from dsadapter.addressing.sockaddr import unmap_sockaddr

_DISTINCT = 2000
_PASSES = 10
_FASTER = Target(25, at_least=True)
_TEXT = "unmap(text)"
_SOCKADDR = "unmap(sockaddr)"
_ACCEPT = "unmap_sockaddr, as accept calls it"
_TEXT_PEER = "ip_address(text).ipv4_mapped"
_SOCKADDR_PEER = "ip_address(host).ipv4_mapped"
_TEXT_IPV6_PEER = "IPv6Address(text).ipv4_mapped"
_SOCKADDR_IPV6_PEER = "IPv6Address(host).ipv4_mapped"


def tables(rounds: int | None) -> Iterator[Table]:
    texts, sockaddrs = _kernel_addresses()
    on_texts: dict[str, Callable[[Any], Any]] = {
        _TEXT: unmap,
        _TEXT_PEER: _text_by(ipaddress.ip_address),
        _TEXT_IPV6_PEER: _text_by(ipaddress.IPv6Address),
    }
    on_sockaddrs: dict[str, Callable[[Any], Any]] = {
        _SOCKADDR: unmap,
        _ACCEPT: unmap_sockaddr,
        _SOCKADDR_PEER: _sockaddr_by(ipaddress.ip_address),
        _SOCKADDR_IPV6_PEER: _sockaddr_by(ipaddress.IPv6Address),
    }
    samples = Samples()
    subjects = _subjects(on_texts, texts) | _subjects(on_sockaddrs, sockaddrs)
    interleave(subjects, rounds or 15, samples)
    table = Table(
        "Unmapping",
        f"CPU time of a plain loop that calls the function with {_DISTINCT} distinct addresses as "
        f"the kernel writes them, {_PASSES} times over, per call; nothing is subtracted for the "
        f"loop.",
        samples,
        "ns",
    )
    table.compare(_TEXT, _TEXT_PEER, SPEEDUP, _FASTER)
    table.compare(_SOCKADDR, _SOCKADDR_PEER, SPEEDUP, _FASTER)
    table.compare(_ACCEPT, _SOCKADDR_PEER, SPEEDUP, _FASTER)
    table.compare(_TEXT, _TEXT_IPV6_PEER, SPEEDUP)
    table.compare(_SOCKADDR, _SOCKADDR_IPV6_PEER, SPEEDUP)
    table.compare(_ACCEPT, _SOCKADDR_IPV6_PEER, SPEEDUP)
    yield table


def _kernel_addresses() -> tuple[list[str], list[tuple[str, int, int, int]]]:
    random = Random(1)
    numbers = random.sample(range(2**32), _DISTINCT)
    texts = [f"::ffff:{ipaddress.IPv4Address(number)}" for number in numbers]
    return texts, [(text, random.randrange(1024, 65536), 0, 0) for text in texts]


def _text_by(parse: Callable[[str], Any]) -> Callable[[str], str]:
    def unmap_text(text: str) -> str:
        mapped = parse(text).ipv4_mapped
        return text if mapped is None else str(mapped)

    return unmap_text


def _sockaddr_by(parse: Callable[[str], Any]) -> Callable[[tuple[Any, ...]], tuple[Any, ...]]:
    def unmap_tuple(address: tuple[Any, ...]) -> tuple[Any, ...]:
        mapped = parse(address[0]).ipv4_mapped
        return address if mapped is None else (str(mapped), address[1])

    return unmap_tuple


def _subjects(
    functions: dict[str, Callable[[Any], Any]], values: Sequence[Any]
) -> dict[str, Callable[[], float]]:
    first, *others = [[function(value) for value in values] for function in functions.values()]
    if any(answers != first for answers in others):
        raise RuntimeError(f"{', '.join(functions)} answer differently")
    return {name: timed(function, values) for name, function in functions.items()}


def timed(function: Callable[[Any], Any], values: Sequence[Any]) -> Callable[[], float]:
    def sample() -> float:
        gc.collect()
        gc.disable()
        start = time.process_time_ns()
        for _ in range(_PASSES):
            for value in values:
                function(value)
        elapsed = time.process_time_ns() - start
        gc.enable()
        return elapsed / (_PASSES * len(values))

    return sample
