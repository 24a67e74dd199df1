"""CPU time of datagram endpoints of asyncio and uvloop per datagram, against the loop's own."""

from __future__ import annotations

import json
from collections.abc import Iterator

from benchmarks.processes import Process
from benchmarks.rounds import RATIO, Samples
from benchmarks.table import Table, Target

PACKAGES = ("uvloop",)
_BURSTS = (1, 32)
_SIZE = 100
_OURS, _OWN = "dual-stack", "its own on 0.0.0.0"
# What the prototypes reached; one at a time is mostly the loop itself.
_TARGETS = {("asyncio", 32): Target(0.4), ("uvloop", 32): Target(1.2)}
# asyncio's own has 256 KiB for every datagram, which the GNU C library maps and unmaps each time
# until the process has freed a larger block (mallopt(3), M_MMAP_THRESHOLD).
_FREED = {"": 0, ", a megabyte freed before": 1 << 20}


def tables(rounds: int | None) -> Iterator[Table]:
    for loop in ("asyncio", "uvloop"):
        for burst in _BURSTS:
            for state, freed in _FREED.items():
                if loop == "uvloop" and freed:
                    # Its buffer is the loop's.
                    continue
                waiting = f"{burst} waiting" if burst > 1 else "one by one"
                table = Table(
                    f"Datagrams under {loop}: {waiting}{state}",
                    f"CPU time of the loop until a protocol has counted {burst} datagrams of "
                    f"{_SIZE} bytes that an IPv4 peer has sent, per datagram.",
                    _samples(loop, burst, rounds or 40, freed),
                    "µs",
                )
                table.compare(_OURS, _OWN, RATIO, _TARGETS.get((loop, burst)))
                yield table


def _samples(loop: str, burst: int, rounds: int, freed: int) -> Samples:
    samples = Samples()
    # A process of its own: what this one has loaded is in no program that serves datagrams.
    with Process("datagram_loop.py", loop, burst, rounds, freed) as process:
        for ours, own in json.loads(process.answer()):
            samples.add({_OURS: ours, _OWN: own})
    return samples
