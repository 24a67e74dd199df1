"""What is remembered of senders: bounded, and what is busy stays."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from typing import Any

import pytest

from dsadapter.packetinfo.senders import Recent, Senders

SIZE = 100


@pytest.fixture
def senders() -> Iterator[Senders]:
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        yield Senders(sock, "ipv6", object(), SIZE)


def envelope(source: int, destination: int) -> bytes:
    """A native IPv6 socket address with its control message, as recvmmsg gives them."""
    name = struct.pack("=HH4x16sI4x", socket.AF_INET6, 0x3500, packed(source), 0)
    data = packed(destination) + struct.pack("@I", 1)
    header = struct.pack("@Nii", socket.CMSG_LEN(len(data)), socket.IPPROTO_IPV6, 50)
    return name + (header + data).ljust(socket.CMSG_SPACE(len(data)), b"\0")


def packed(number: int) -> bytes:
    return b"\x20\x01\x0d\xb8" + number.to_bytes(12, "big")


def learn(senders: Senders, key: bytes) -> Any:
    return senders.known.get(key) or senders.of_envelope(key, 0)


@pytest.mark.parametrize("varied", ["sources", "destinations"])
@pytest.mark.not_on_windows("recvmmsg is Unix's")
def test_a_memory_has_a_bound(senders: Senders, varied: str) -> None:
    for number in range(1, 10 * SIZE):
        key = envelope(number, 1) if varied == "sources" else envelope(1, number)
        address, info, _, drop = learn(senders, key)
        assert drop is None
        assert info is not None
        assert address[0] == ("2001:db8::1" if varied == "destinations" else address[0])
        assert len(senders) <= SIZE
    assert len(senders) > SIZE // 4


@pytest.mark.not_on_windows("recvmmsg is Unix's")
def test_a_busy_sender_is_not_made_anew(senders: Senders) -> None:
    busy = envelope(1, 1)
    first = learn(senders, busy)[0]
    for number in range(2, 20 * SIZE):
        learn(senders, envelope(number, 1))
        if number % (SIZE // 4) == 0:
            assert learn(senders, busy)[0] is first
    senders.forget()
    assert learn(senders, busy)[0] is not first


def test_the_half_that_was_asked_for_stays() -> None:
    recent: Recent[int] = Recent(4)
    for number in (1, 2, 3):
        recent.add(number, number)
    assert recent.recall(1) == 1
    recent.add(4, 4)
    assert (recent.recall(2), recent.recall(3)) == (None, 3)
    assert len(recent) <= 4
