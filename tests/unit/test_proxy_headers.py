"""PROXY headers: what proxies send, in any pieces, and what is none."""

from __future__ import annotations

import copy
import os
import pickle
import socket
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from dsadapter.errors import ProxyHeaderError
from dsadapter.proxy_protocol import (
    MAX_V1_LENGTH,
    MAX_V2_LENGTH,
    TLV,
    ProxyHeader,
    ProxyHeaderParser,
    parse_tlvs,
)

CASES = int(os.environ.get("FUZZ_CASES", 20_000 if os.environ.get("CI") else 2_000))
"""``FUZZ_CASES=1000000 pytest --timeout=0 tests/unit/test_proxy_headers.py -k hostile``"""

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
IPV4 = ("192.0.2.1", 4000)
IPV4_TO = ("198.51.100.1", 80)
IPV6 = ("2001:db8::1", 4000, 0, 0)
IPV6_TO = ("2001:db8::80", 80, 0, 0)
PATHS = (b"/run/client".ljust(108, b"\0"), b"\0abstract".ljust(108, b"\0"))


def packed(text: str) -> bytes:
    return socket.inet_pton(socket.AF_INET6 if ":" in text else socket.AF_INET, text)


def addresses(source: str, destination: str, ports: tuple[int, int] = (4000, 80)) -> bytes:
    return packed(source) + packed(destination) + ports[0].to_bytes(2) + ports[1].to_bytes(2)


def v2(family: int, block: bytes, command: int = 0x21) -> bytes:
    return SIGNATURE + bytes([command, family]) + len(block).to_bytes(2) + block


def tlv(kind: int, value: bytes) -> bytes:
    return bytes([kind]) + len(value).to_bytes(2) + value


def crc32c(data: bytes) -> int:
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def with_checksum(family: int, block: bytes, behind: bytes = b"") -> bytes:
    zeros = v2(family, block + tlv(3, bytes(4)) + behind)
    return v2(family, block + tlv(3, crc32c(zeros).to_bytes(4)) + behind)


def stream(version: Any, source: Any, destination: Any, *tlvs: TLV) -> ProxyHeader:
    return ProxyHeader(version, source, destination, "stream", tlvs)


V4_BLOCK = addresses("192.0.2.1", "198.51.100.1")
V6_BLOCK = addresses("2001:db8::1", "2001:db8::80")
HEADERS = [
    (b"PROXY TCP4 192.0.2.1 198.51.100.1 4000 80\r\n", stream(1, IPV4, IPV4_TO)),
    (b"PROXY TCP6 2001:db8::1 2001:db8::80 4000 80\r\n", stream(1, IPV6, IPV6_TO)),
    (b"PROXY TCP6 2001:DB8:0::1 2001:db8::80 4000 80\r\n", stream(1, IPV6, IPV6_TO)),
    (
        b"PROXY TCP6 ::ffff:192.0.2.1 ::ffff:198.51.100.1 4000 80\r\n",
        stream(1, IPV4, IPV4_TO),
    ),
    (b"PROXY TCP6 ::FFFF:c000:201 2001:db8::80 4000 80\r\n", stream(1, IPV4, IPV6_TO)),
    (b"PROXY TCP6 2001:db8::1 198.51.100.1 4000 80\r\n", stream(1, IPV6, IPV4_TO)),
    (b"PROXY TCP6 192.0.2.1 2001:db8::80 4000 80\r\n", stream(1, IPV4, IPV6_TO)),
    (b"PROXY TCP4 192.0.2.1 2001:db8::80 4000 80\r\n", stream(1, IPV4, IPV6_TO)),
    (
        b"PROXY TCP4 255.255.255.255 0.0.0.0 65535 0\r\n",
        stream(1, ("255.255.255.255", 65535), ("0.0.0.0", 0)),
    ),
    (b"PROXY UNKNOWN\r\n", ProxyHeader(1)),
    (b"PROXY UNKNOWN ffff::1 2001:db8::80 4000 80\r\n", ProxyHeader(1)),
    (b"PROXY UNKNOWN " + b"f" * (MAX_V1_LENGTH - 16) + b"\r\n", ProxyHeader(1)),
    (b"PROXY UNKNOWN \x00\xff\t\r\n", ProxyHeader(1)),
    (v2(0x11, V4_BLOCK), stream(2, IPV4, IPV4_TO)),
    (v2(0x21, V6_BLOCK), stream(2, IPV6, IPV6_TO)),
    (v2(0x12, V4_BLOCK), ProxyHeader(2, IPV4, IPV4_TO, "datagram")),
    (v2(0x22, V6_BLOCK), ProxyHeader(2, IPV6, IPV6_TO, "datagram")),
    (
        v2(0x21, addresses("::ffff:192.0.2.1", "::ffff:198.51.100.1")),
        stream(2, IPV4, IPV4_TO),
    ),
    (v2(0x21, addresses("::ffff:192.0.2.1", "2001:db8::80")), stream(2, IPV4, IPV6_TO)),
    # 16 bytes that are also text.
    (
        v2(0x21, b"::ffff:127.0.0.1" + packed("::1") + bytes(4)),
        stream(2, ("3a3a:6666:6666:3a31:3237:2e30:2e30:2e31", 0, 0, 0), ("::1", 0, 0, 0)),
    ),
    (v2(0x31, PATHS[0] + PATHS[1]), stream(2, b"/run/client", b"\0abstract")),
    (v2(0x32, bytes(216)), ProxyHeader(2, b"", b"", "datagram")),
    (v2(0x31, b"a" * 108 + b"b\0junk".ljust(108, b"x")), stream(2, b"a" * 108, b"b")),
    (v2(0x00, b"", 0x20), ProxyHeader(2)),
    (v2(0x11, V4_BLOCK, 0x20), ProxyHeader(2)),
    (v2(0xFF, b"\xff" * 9, 0x20), ProxyHeader(2)),
    (v2(0x00, b""), ProxyHeader(2)),
    (v2(0x00, b"whatever"), ProxyHeader(2)),
    (v2(0x10, V4_BLOCK), ProxyHeader(2)),
    (v2(0x01, b""), ProxyHeader(2)),
    (
        v2(0x11, V4_BLOCK + tlv(2, b"example.com") + tlv(4, b"\0\0") + tlv(0xE0, b"")),
        stream(2, IPV4, IPV4_TO, TLV(2, b"example.com"), TLV(0xE0, b"")),
    ),
    (
        with_checksum(0x21, V6_BLOCK, tlv(5, b"id")),
        stream(
            2,
            IPV6,
            IPV6_TO,
            TLV(3, with_checksum(0x21, V6_BLOCK, tlv(5, b"id"))[55:59]),
            TLV(5, b"id"),
        ),
    ),
    (
        v2(0x11, V4_BLOCK + tlv(0x20, b"c" * (MAX_V2_LENGTH - 31))),
        stream(2, IPV4, IPV4_TO, TLV(0x20, b"c" * (MAX_V2_LENGTH - 31))),
    ),
]
REST = b"GET / HTTP/1.1\r\nPROXY TCP4 "


@pytest.mark.parametrize(("sent", "expected"), HEADERS)
def test_a_header_is_read_whole_and_leaves_the_rest(sent: bytes, expected: ProxyHeader) -> None:
    parser = ProxyHeaderParser()
    assert parser.feed(sent + REST) == expected
    assert parser.rest == REST
    parser.end()


@pytest.mark.parametrize(("sent", "expected"), HEADERS)
def test_a_header_is_read_byte_by_byte(sent: bytes, expected: ProxyHeader) -> None:
    parser = ProxyHeaderParser()
    for at in range(len(sent) - 1):
        assert parser.feed(sent[at : at + 1]) is None
        assert parser.rest == b""
    assert parser.feed(sent[-1:]) == expected
    assert parser.rest == b""


@pytest.mark.parametrize(("sent", "expected"), HEADERS[:20])
def test_it_is_read_in_any_two_pieces(sent: bytes, expected: ProxyHeader) -> None:
    for at in range(1, len(sent)):
        parser = ProxyHeaderParser()
        assert parser.feed(sent[:at]) is None
        assert parser.feed(sent[at:] + REST) == expected
        assert parser.rest == REST


@pytest.mark.parametrize(("sent", "expected"), HEADERS)
def test_a_header_that_is_cut_is_refused_at_the_end(sent: bytes, expected: ProxyHeader) -> None:
    parser = ProxyHeaderParser()
    parser.feed(sent[:-1])
    with pytest.raises(ProxyHeaderError, match="ended within a PROXY header"):
        parser.end()


def test_an_end_without_a_byte_is_refused() -> None:
    parser = ProxyHeaderParser()
    assert parser.feed(b"") is None
    with pytest.raises(ProxyHeaderError, match="ended without a PROXY header"):
        parser.end()


def test_nothing_is_read_behind_the_end() -> None:
    parser = ProxyHeaderParser()
    parser.feed(b"PROXY UNKNOWN\r\n")
    with pytest.raises(RuntimeError, match="application's"):
        parser.feed(b"x")


LINE = b"PROXY TCP4 192.0.2.1 198.51.100.1 4000 80\r\n"
NO_HEADERS = [
    (b"GET / HTTP/1.1\r\n", "is no PROXY header"),
    (b"\x16\x03\x01", "is no PROXY header"),
    (b"proxy TCP4", "is no PROXY header"),
    (b"PROXY\tTCP4", "is no PROXY header"),
    (b"\r\n\r\n\0\r\nQUIX\n", "is no PROXY header"),
    (b"\0", "is no PROXY header"),
    (LINE.replace(b"\r\n", b"\n"), "isn't CRLF"),
    (LINE.replace(b"\r\n", b"\rGET"), "isn't CRLF"),
    (LINE.replace(b" 80", b"\n80"), "isn't CRLF"),
    (b"PROXY UNKNOWN \n\r\n", "isn't CRLF"),
    (b"PROXY UNKNOWN \rx\r\n", "isn't CRLF"),
    (b"PROXY TCP6 " + b"1" * MAX_V1_LENGTH, "no end within 107 bytes"),
    (b"PROXY UNKNOWN " + b"f" * (MAX_V1_LENGTH - 15) + b"\r\n", "no end within 107 bytes"),
    (b"PROXY \r\n", "where TCP4, TCP6 or UNKNOWN"),
    (b"PROXY UNKNOWNS\r\n", "where TCP4, TCP6 or UNKNOWN"),
    (b"PROXY UDP4 192.0.2.1 198.51.100.1 4000 80\r\n", "where TCP4, TCP6 or UNKNOWN"),
    (b"PROXY tcp4 192.0.2.1 198.51.100.1 4000 80\r\n", "where TCP4, TCP6 or UNKNOWN"),
    (b"PROXY TCP4\r\n", "2 fields"),
    (b"PROXY TCP4 192.0.2.1 198.51.100.1 4000\r\n", "5 fields"),
    (b"PROXY TCP4 192.0.2.1 198.51.100.1 4000 80 \r\n", "7 fields"),
    (b"PROXY TCP4 192.0.2.1 198.51.100.1 4000 80 x\r\n", "7 fields"),
    (b"PROXY TCP4  192.0.2.1 198.51.100.1 4000 80\r\n", "7 fields"),
    (LINE.replace(b"4000", b""), "where a port"),
    (LINE.replace(b"4000", b"http"), "where a port"),
    (LINE.replace(b"4000", b"65536"), "where a port"),
    (LINE.replace(b"4000", b"-1"), "where a port"),
    (LINE.replace(b"4000", b"+1"), "where a port"),
    (LINE.replace(b"4000", b"1_0"), "where a port"),
    (LINE.replace(b"4000", b"04000"), "where a port"),
    (LINE.replace(b"4000", b"00"), "where a port"),
    (LINE.replace(b"4000", b"\xb2"), "where a port"),
    (LINE.replace(b"4000", b"9" * 50), "where a port"),
    (LINE.replace(b"192.0.2.1", b"localhost"), "where an address"),
    (LINE.replace(b"192.0.2.1", b"192.0.2"), "where an address"),
    (LINE.replace(b"192.0.2.1", b"192.0.2.256"), "where an address"),
    (LINE.replace(b"192.0.2.1", b"192.0.2.01"), "where an address"),
    (LINE.replace(b"192.0.2.1", b"0x7f.1"), "where an address"),
    (LINE.replace(b"192.0.2.1", b"192.0.2.1\0"), "where an address"),
    (LINE.replace(b"192.0.2.1", b"\x1b[2J"), "where an address"),
    (LINE.replace(b"192.0.2.1", b"192.0.2.1/32"), "where an address"),
    (LINE.replace(b"198.51.100.1", b"unix:/run/x"), "where an address"),
    (LINE.replace(b"192.0.2.1", b"::ffff:192.0.2.1"), "for a client of IPv4"),
    (LINE.replace(b"192.0.2.1", b"2001:db8::1"), "for a client of IPv4"),
    (b"PROXY TCP6 [::1] ::1 1 2\r\n", "where an address"),
    (b"PROXY TCP6 fe80::1%eth0 ::1 1 2\r\n", "where an address"),
    (b"PROXY TCP6 ::ffff:192.0.2.1%1 ::1 1 2\r\n", "where an address"),
    (b"PROXY TCP6 2001:db8::1::2 ::1 1 2\r\n", "where an address"),
    (v2(0x11, V4_BLOCK, 0x11), "version 1 and command 1"),
    (v2(0x11, V4_BLOCK, 0x31), "version 3 and command 1"),
    (v2(0x11, V4_BLOCK, 0x22), "version 2 and command 2"),
    (v2(0x41, V4_BLOCK), "address family 4"),
    (v2(0x13, V4_BLOCK), "protocol 3"),
    (v2(0x11, V4_BLOCK[:-1]), "too short for addresses"),
    (v2(0x11, b""), "too short for addresses"),
    (v2(0x21, V6_BLOCK[:-1]), "too short for addresses"),
    (v2(0x31, bytes(215)), "too short for addresses"),
    (v2(0x11, V4_BLOCK + b"\x02"), "is cut"),
    (v2(0x11, V4_BLOCK + b"\x02\0"), "is cut"),
    (v2(0x11, V4_BLOCK + b"\x02\0\x05abcd"), "is cut"),
    (v2(0x11, V4_BLOCK + tlv(2, b"a") + b"\xff\xff\xff"), "is cut"),
    (v2(0x11, V4_BLOCK + tlv(3, bytes(4))), "is wrong"),
    (v2(0x11, V4_BLOCK + tlv(3, b"")), "is wrong"),
    (with_checksum(0x21, V6_BLOCK).replace(b"\x0f\xa0", b"\x0f\xa1"), "is wrong"),
    (SIGNATURE + b"\x21\x11" + (MAX_V2_LENGTH - 15).to_bytes(2), "announces 4097 bytes"),
    (SIGNATURE + b"\x21\x11\xff\xff", "announces 65551 bytes"),
    (SIGNATURE + b"\x20\x00\xff\xff", "announces 65551 bytes"),
]


def feed_bytes(parser: ProxyHeaderParser, sent: bytes) -> None:
    for at in range(len(sent)):
        assert parser.feed(sent[at : at + 1]) is None


@pytest.mark.parametrize(("sent", "problem"), NO_HEADERS)
def test_what_is_no_header_has_one_clear_end(sent: bytes, problem: str) -> None:
    whole, pieces = ProxyHeaderParser(), ProxyHeaderParser()
    with pytest.raises(ProxyHeaderError) as caught:
        whole.feed(sent)
    text = str(caught.value)
    assert problem in text
    assert_readable(text)
    with pytest.raises(ProxyHeaderError):
        feed_bytes(pieces, sent)
    for parser in (whole, pieces):
        assert parser.rest == b""
        for again in (lambda: parser.feed(LINE), parser.end):  # noqa: B023
            with pytest.raises(ProxyHeaderError):
                again()


def test_a_checksum_is_there_once() -> None:
    block = V4_BLOCK + tlv(3, bytes(4)) + tlv(3, bytes(4))
    first = crc32c(v2(0x11, block)).to_bytes(4)
    with pytest.raises(ProxyHeaderError, match="two checksums"):
        ProxyHeaderParser().feed(v2(0x11, V4_BLOCK + tlv(3, first) + tlv(3, bytes(4))))


def test_a_longer_header_is_taken_where_it_is_allowed() -> None:
    sent = v2(0x11, V4_BLOCK + tlv(0x20, bytes(60_000)))
    header = ProxyHeaderParser(max_length=65_551).feed(sent)
    assert header == stream(2, IPV4, IPV4_TO, TLV(0x20, bytes(60_000)))
    with pytest.raises(ProxyHeaderError, match="at most 100 are taken"):
        ProxyHeaderParser(max_length=100).feed(sent)


def test_vectors_inside_of_vectors_are_taken_apart() -> None:
    value = b"\x01" + bytes(4) + tlv(0x21, b"TLSv1.3") + tlv(4, b"") + tlv(0x22, b"client")
    header = ProxyHeaderParser().feed(v2(0x11, V4_BLOCK + tlv(0x20, value)))
    assert header is not None
    assert parse_tlvs(header.tlvs[0].value[5:]) == (TLV(0x21, b"TLSv1.3"), TLV(0x22, b"client"))
    with pytest.raises(ProxyHeaderError, match="is cut"):
        parse_tlvs(value[5:-1])


def test_the_error_survives_copy_and_pickle() -> None:
    with pytest.raises(ProxyHeaderError) as caught:
        ProxyHeaderParser().feed(b"GET")
    for again in (copy.copy(caught.value), pickle.loads(pickle.dumps(caught.value))):
        assert isinstance(again, ValueError)
        assert str(again) == str(caught.value)


def assert_readable(text: str) -> None:
    assert text.isprintable()
    assert len(text) < 1000


def mutated(draw: st.DrawFn, sent: bytes) -> bytes:
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(sent)))
        cut = draw(st.integers(0, 3))
        sent = sent[:at] + draw(st.binary(max_size=4)) + sent[at + cut :]
    return sent


@st.composite
def nearly_headers(draw: st.DrawFn) -> bytes:
    sent = draw(st.sampled_from([sent for sent, _ in [*HEADERS, *NO_HEADERS]]))
    return mutated(draw, sent) + draw(st.binary(max_size=8))


hostile = (
    nearly_headers()
    | st.binary(max_size=300)
    | st.binary(max_size=64).map(lambda behind: SIGNATURE + behind)
    | st.text("PROXYTCPUNKW 0123456789abcdef:.%\r\n\0", max_size=120).map(
        lambda text: b"PROXY " + text.encode()
    )
)


def outcome(pieces: list[bytes]) -> tuple[ProxyHeader | None, bytes, str | None]:
    """The header, what is left behind it, and the error."""
    parser = ProxyHeaderParser()
    try:
        for number, piece in enumerate(pieces):
            if header := parser.feed(piece):
                return header, parser.rest + b"".join(pieces[number + 1 :]), None
        parser.end()
    except ProxyHeaderError as error:
        assert_readable(str(error))
        return None, b"", "refused"
    raise AssertionError("neither a header nor an error")


@settings(max_examples=CASES, deadline=None)
@given(hostile, st.lists(st.integers(0, 300), max_size=3))
@example(LINE, [1, 2])
def test_hostile_bytes_end_in_a_header_or_an_error_in_any_pieces(
    sent: bytes, cuts: list[int]
) -> None:
    whole = outcome([sent])
    bounds = [0, *sorted(cuts), len(sent)]
    pieces = [sent[a:b] for a, b in pairwise(bounds)]
    assert outcome(pieces) == whole
    header, rest, _ = whole
    if header is not None:
        assert sent.endswith(rest)
        assert len(sent) - len(rest) <= MAX_V2_LENGTH
        for address in (header.source, header.destination):
            if isinstance(address, tuple):
                family = socket.AF_INET if len(address) == 2 else socket.AF_INET6
                again = socket.inet_pton(family, address[0])
                assert socket.inet_ntop(family, again) == address[0]
                assert not again.startswith(bytes(10) + b"\xff\xff")
                assert 0 <= address[1] <= 65535
