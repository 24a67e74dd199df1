"""Parsing one PROXY header, as each connection behind a proxy has one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from socket import AF_INET6, inet_pton

from benchmarks.addressing import timed
from benchmarks.rounds import Samples, interleave
from benchmarks.table import Row, Table, Target
from dsadapter.proxy_protocol import ProxyHeader, ProxyHeaderParser

_COPIES = 100
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


def _version_2(command: int, family: int, block: bytes) -> bytes:
    fixed = bytes([command, family]) + len(block).to_bytes(2)
    return b"\r\n\r\n\0\r\nQUIT\n" + fixed + block


def _parse(sent: bytes) -> tuple[ProxyHeader | None, bytes]:
    parser = ProxyHeaderParser()
    return parser.feed(sent), parser.rest


def _microseconds(sample: Callable[[], float]) -> Callable[[], float]:
    return lambda: sample() / 1000
