"""Sockets that a process was given, without a framework, and connections that it hands on."""

from __future__ import annotations

import asyncio
import os
import socket
import threading
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.request import urlopen

import pytest
from support.programs import free_port

from dsadapter.frameworks import get_framework
from dsadapter.sockets.adopting import inherited_datagrams, inherited_streams
from dsadapter.sockets.handing_on import native_ipv4
from dsadapter.sockets.listening import inherited_sockets, listening_socket
from dsadapter.testing import RecordingPlugin, registered


def listening(host: str = "::", port: int = 0, *, v6only: bool = False) -> int:
    sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    if ":" in host:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, v6only)
    sock.bind((host, port))
    sock.listen(7)
    return sock.detach()


class Peer(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(self.client_address[0].encode())

    def log_message(self, *args: Any) -> None:
        pass


@pytest.mark.not_on_windows("a program of Windows is given no sockets by number")
def test_a_server_of_the_standard_library_on_an_inherited_socket() -> None:
    recording = RecordingPlugin()
    with registered(recording):
        [sock] = inherited_sockets(fd=listening())
        number = sock.getsockname()[1]
        server = ThreadingHTTPServer(("", 0), Peer, bind_and_activate=False)
        server.socket.close()
        server.socket = sock
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            for host, shown in (("127.0.0.1", b"127.0.0.1"), ("[::1]", b"::1")):
                with urlopen(f"http://{host}:{number}/") as answer:
                    assert answer.read() == shown
        finally:
            server.shutdown()
            thread.join()
            server.server_close()
    assert [listener.mode for listener in recording.of("listener_opened")] == ["dual-stack"]


@pytest.mark.not_on_windows("a program of Windows is given no sockets by number")
def test_a_pair_is_one_listener() -> None:
    recording = RecordingPlugin()
    with registered(recording):
        number = free_port()
        ipv6, ipv4 = listening("::", number, v6only=True), listening("0.0.0.0", number)
        sockets = inherited_sockets(fd=[ipv6, ipv4])
        assert [sock.getsockname()[:2] for sock in sockets] == [("0.0.0.0", number), ("::", number)]
        for sock in sockets:
            assert sock.getblocking()
            assert not os.get_inheritable(sock.fileno())
            assert len(recording.of("listener_opened")) == 1
            sock.close()
    assert len(recording.of("listener_closed")) == 1


@pytest.mark.not_on_windows("a program of Windows is given no sockets by number")
def test_sockets_that_are_no_pair() -> None:
    one, two = listening("127.0.0.1"), listening("::1")
    try:
        with pytest.raises(OSError, match=rf"descriptors {one} and {two} are 127\.0\.0\.1:\d+ and"):
            inherited_streams(fd=[one, two])
    finally:
        os.close(one)
        os.close(two)


@pytest.mark.not_on_windows("a program of Windows is given no sockets by number")
def test_the_queue_stays_as_long_as_it_is() -> None:
    """asyncio calls ``listen`` again."""
    fd = listening()
    policy = inherited_streams(fd=fd)
    assert policy.backlog == 7
    os.close(fd)


@pytest.mark.not_on_windows("a program of Windows is given no sockets by number")
def test_asyncio_on_inherited_sockets() -> None:
    datagrams = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    datagrams.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    datagrams.bind(("::", 0))
    number = datagrams.getsockname()[1]
    adapter = get_framework("asyncio")
    peers: list[Any] = []

    class Streams(asyncio.Protocol):
        def connection_made(self, transport: Any) -> None:
            peers.append(transport.get_extra_info("peername")[0])
            transport.close()

    class Datagrams(asyncio.DatagramProtocol):
        def datagram_received(self, data: bytes, addr: Any) -> None:
            peers.append((data, addr[0]))

    async def main() -> None:
        server = await adapter.server(None, inherited_streams(fd=listening()))(Streams)
        policy = inherited_datagrams(fd=datagrams.detach())
        transport, _ = await adapter.datagram(None, policy)(Datagrams)
        port = server.sockets[0].getsockname()[1]
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        assert await reader.read() == b""
        writer.close()
        with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as client:
            client.sendto(b"x", ("127.0.0.1", number))
        while len(peers) < 2:
            await asyncio.sleep(0.01)
        transport.close()
        server.close()
        await server.wait_closed()

    asyncio.run(main())
    assert peers == ["127.0.0.1", (b"x", "127.0.0.1")]


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
@pytest.mark.parametrize("by", ["object", "number"])
@pytest.mark.not_on_windows("IPV6_ADDRFORM is Linux's")
def test_a_connection_that_is_handed_on_is_ipv4_for_every_reader(host: str, by: str) -> None:
    listener = socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True)
    with listener, socket.create_connection((host, listener.getsockname()[1])) as client:
        accepted, _ = listener.accept()
        with accepted:
            assert native_ipv4(accepted if by == "object" else accepted.fileno()) is True
            # What a child or a C library sees.
            with socket.socket(fileno=os.dup(accepted.fileno())) as reader:
                assert reader.getpeername()[0] == host
                assert reader.getsockname()[0] == host
            client.sendall(b"x")
            assert accepted.recv(1) == b"x"


@pytest.mark.not_on_windows("IPV6_ADDRFORM is Linux's")
def test_a_client_that_has_half_closed_stays_mapped_and_that_is_said() -> None:
    with listening_socket("::", 0) as ready:
        plain = socket.socket(fileno=os.dup(ready.fileno()))
        with plain, socket.create_connection(("127.0.0.1", ready.getsockname()[1])) as client:
            client.shutdown(socket.SHUT_WR)
            accepted, _ = plain.accept()
            with accepted:
                assert accepted.recv(1) == b""
                assert native_ipv4(accepted) is False
                assert accepted.getpeername()[0] == "::ffff:127.0.0.1"


def test_what_is_no_socket_is_not_handed_on() -> None:
    reading, writing = os.pipe()
    try:
        with pytest.raises(OSError, match=r"non-socket|WinError"):
            native_ipv4(reading)
    finally:
        os.close(reading)
        os.close(writing)
