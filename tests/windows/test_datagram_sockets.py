"""Datagram sockets on Windows: what CPython lacks there, and what Winsock does of its own."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from support.ports import Port

from dsadapter.policy import DatagramPolicy
from dsadapter.sockets.binding import open_datagram_socket

LOOPBACK = ("127.0.0.1", "::1")
MSG_TRUNC, MSG_CTRUNC = 0x100, 0x200


def client_of(host: str) -> socket.socket:
    made = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
    made.settimeout(5)
    return made


@pytest.fixture
def sock() -> Iterator[Any]:
    with open_datagram_socket(DatagramPolicy("::", 0)) as made:
        made.settimeout(5)
        yield made


@pytest.fixture
def opened() -> Iterator[Port]:
    made = Port()
    yield made
    made.port.close()


@pytest.mark.parametrize("host", LOOPBACK)
def test_a_datagram_comes_with_where_it_arrived_and_is_answered(sock: Any, host: str) -> None:
    with client_of(host) as client:
        client.sendto(b"hello", (host, sock.getsockname()[1]))
        data, messages, flags, name = sock.recvmsg(100, 256)

        assert (data, flags, name[1]) == (b"hello", 0, client.getsockname()[1])
        assert {(level, kind) for level, kind, _ in messages} >= {(41, 19)}
        assert sock.sendmsg([b"wor", b"ld"], (), 0, name) == 5
        assert client.recvfrom(100)[0] == b"world"


def test_an_empty_datagram_has_a_sender_too(sock: Any) -> None:
    with client_of("::1") as client:
        client.sendto(b"", ("::1", sock.getsockname()[1]))

        data, messages, _, name = sock.recvmsg(100, 256)

        assert (data, name[1]) == (b"", client.getsockname()[1])
        assert messages


def test_what_is_longer_than_the_buffer_is_cut_and_says_so(sock: Any) -> None:
    with client_of("::1") as client:
        client.sendto(b"0123456789", ("::1", sock.getsockname()[1]))

        data, messages, flags, _ = sock.recvmsg(4, 256)

        assert (data, flags & MSG_TRUNC) == (b"0123", MSG_TRUNC)
        assert messages


def test_cut_control_messages_spoil_the_datagram(sock: Any) -> None:
    with client_of("::1") as client:
        client.sendto(b"0123456789", ("::1", sock.getsockname()[1]))

        _, messages, flags, _ = sock.recvmsg(100, 8)

        assert messages == []
        assert flags & MSG_CTRUNC
        assert flags & MSG_TRUNC


def test_nothing_there_is_said_as_python_says_it(sock: Any) -> None:
    sock.setblocking(False)
    with pytest.raises(BlockingIOError) as told:
        sock.recvmsg(100, 256)
    assert told.value.winerror == 10035

    sock.settimeout(0.05)
    with pytest.raises(TimeoutError):
        sock.recvmsg(100, 256)


def test_a_refusal_has_winsocks_own_text(sock: Any) -> None:
    with pytest.raises(OSError, match=r".+") as told:
        sock.sendmsg([bytes(70000)], (), 0, ("::1", 9, 0, 0))
    assert told.value.winerror == 10040
    assert told.value.strerror != os.strerror(10040)


def test_threads_receive_from_one_socket_without_mixing_datagrams(sock: Any) -> None:
    received: list[bytes] = []

    def receive() -> None:
        for _ in range(100):
            received.append(sock.recvmsg(1000, 256)[0])

    threads = [threading.Thread(target=receive) for _ in range(4)]
    for thread in threads:
        thread.start()
    with client_of("::1") as client:
        wanted = [bytes([number % 256]) * (number + 1) for number in range(400)]
        for data in wanted:
            client.sendto(data, ("::1", sock.getsockname()[1]))
    for thread in threads:
        thread.join(10)

    assert sorted(received) == sorted(wanted)


@pytest.mark.parametrize("host", LOOPBACK)
def test_a_port_names_both_families_canonically(opened: Port, host: str) -> None:
    with client_of(host) as client:
        client.sendto(b"x", (host, opened.number))
        opened.until(1)
        [(data, address, info)] = opened.got

        assert (data, address[0], address[1]) == (b"x", host, client.getsockname()[1])
        assert info is not None
        assert (info.destination, info.interface_index) == (host, 1)
        opened.port.send(b"y", address)
        assert client.recvfrom(10)[1][:2] == (host, opened.number)
