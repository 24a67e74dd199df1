"""Datagram sockets on Windows that block, that somebody else has made, and that threads share."""

from __future__ import annotations

import socket
import threading
from typing import Any

import pytest

from dsadapter.policy import DatagramPolicy
from dsadapter.sockets.adopting import adopt, inherited_datagrams
from dsadapter.sockets.binding import DatagramSocket, open_datagram_socket

LOOPBACK = ("127.0.0.1", "::1")


def asked(host: str, number: int, data: bytes) -> None:
    """Send from a plain socket."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.sendto(data, (host, number))


@pytest.mark.parametrize("host", LOOPBACK)
def test_a_blocking_socket_waits_and_lets_other_threads_run(host: str) -> None:
    received: list[Any] = []
    with open_datagram_socket(DatagramPolicy("::", 0)) as sock:
        sock.setblocking(True)
        begun = threading.Event()

        def receive() -> None:
            begun.set()
            received.append(sock.recvmsg(100, 256))

        waiting = threading.Thread(target=receive)
        waiting.start()
        assert begun.wait(20)
        # Were the interpreter held meanwhile, this would never come to send.
        asked(host, sock.getsockname()[1], b"hello")
        waiting.join(20)
    [(data, messages, flags, _)] = received
    assert (data, flags) == (b"hello", 0)
    assert messages


@pytest.mark.parametrize("host", LOOPBACK)
def test_a_socket_of_somebody_else_gives_packet_information(host: str) -> None:
    plain = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    plain.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    plain.bind(("::", 0))
    number = plain.getsockname()[1]
    mode, [sock] = adopt(inherited_datagrams(fd=plain.detach()), None)
    with sock:
        assert (mode, type(sock)) == ("dual-stack", DatagramSocket)
        sock.settimeout(20)
        asked(host, number, b"hello")
        data, messages, _, name = sock.recvmsg(100, 256)
        assert data == b"hello"
        assert (41, 19) in {(level, kind) for level, kind, _ in messages}
        assert name[0].endswith(host)


def test_threads_send_by_one_socket_without_mixing_datagrams() -> None:
    with (
        open_datagram_socket(DatagramPolicy("::", 0)) as sock,
        socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as taker,
    ):
        taker.bind(("::1", 0))
        for each in (sock, taker):
            each.settimeout(20)
        name = taker.getsockname()
        wanted = [bytes([number % 251]) * (number + 1) for number in range(100)]

        def send(some: list[bytes]) -> None:
            for data in some:
                assert sock.sendmsg([data[:1], data[1:]], (), 0, name) == len(data)

        threads = [threading.Thread(target=send, args=(wanted[n::4],)) for n in range(4)]
        for thread in threads:
            thread.start()
        received = [taker.recv(1000) for _ in wanted]
        for thread in threads:
            thread.join(20)
    assert sorted(received) == sorted(wanted)


def test_a_connected_socket_sends_without_a_name() -> None:
    with (
        open_datagram_socket(DatagramPolicy("::", 0)) as sock,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taker,
    ):
        taker.bind(("127.0.0.1", 0))
        taker.settimeout(20)
        sock.connect((f"::ffff:{taker.getsockname()[0]}", taker.getsockname()[1], 0, 0))
        assert sock.sendmsg([b"", b"hello"]) == 5
        assert sock.sendmsg([]) == 0
        assert [taker.recv(100) for _ in range(2)] == [b"hello", b""]
