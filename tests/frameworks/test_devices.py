"""Listeners and datagram sockets of one network interface, or one VRF, alone."""

from __future__ import annotations

import errno
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from socketserver import BaseRequestHandler, UDPServer
from typing import Any

import anyio
import pytest
import trio
from support.namespaces import Namespace, connect_namespaces, namespace, needs_root
from support.reactors import open_descriptors
from support.seccomp import deny_option_in_this_thread

import dsadapter.frameworks.anyio as dual_anyio
import dsadapter.frameworks.asyncio as dual_asyncio
import dsadapter.frameworks.trio as dual_trio
from dsadapter.frameworks.blocking import DualStackMixin, create_server
from dsadapter.sockets.adopting import inherited_streams
from dsadapter.sockets.listening import listening_socket

pytestmark = pytest.mark.not_on_windows("a socket can't be bound to a device there")

SO_BINDTODEVICE = 25


def device_of(sock: Any) -> str:
    text: bytes = sock.getsockopt(socket.SOL_SOCKET, SO_BINDTODEVICE, 16)
    return text.rstrip(b"\0").decode()


def by_asyncio(device: str) -> str:
    import asyncio

    async def main() -> str:
        async with await dual_asyncio.create_server(
            asyncio.Protocol, None, 0, device=device
        ) as server:
            return device_of(server.sockets[0])

    return asyncio.run(main())


def by_trio(device: str) -> str:
    async def main() -> str:
        [listener] = await dual_trio.open_tcp_listeners(0, device=device)
        async with listener:
            return device_of(listener.socket)

    return trio.run(main)


def by_trio_datagrams(device: str) -> str:
    async def main() -> str:
        with closing(await dual_trio.open_udp_socket(device=device)) as sock:
            return device_of(sock)

    return trio.run(main)


def by_anyio(device: str) -> str:
    async def main() -> str:
        async with await dual_anyio.create_tcp_listener(device=device) as listener:
            sock = listener.listeners[0].extra(anyio.abc.SocketAttribute.raw_socket)
            return device_of(sock)

    return anyio.run(main)


def by_anyio_datagrams(device: str) -> str:
    async def main() -> str:
        async with await dual_anyio.create_udp_socket(device=device) as sock:
            return device_of(sock.extra(anyio.abc.SocketAttribute.raw_socket))

    return anyio.run(main)


def by_create_server(device: str) -> str:
    with create_server(("", 0), device=device) as sock:
        return device_of(sock)


def by_listening_socket(device: str) -> str:
    with listening_socket("::", 0, device=device) as sock:
        return device_of(sock)


def by_mixin(device: str) -> str:
    class Server(DualStackMixin, HTTPServer):
        pass

    Server.device = device
    with Server(("", 0), BaseHTTPRequestHandler) as server:
        return device_of(server.socket)


def by_mixin_for_datagrams(device: str) -> str:
    class Server(DualStackMixin, UDPServer):
        pass

    Server.device = device
    with Server(("", 0), BaseRequestHandler) as server:
        return device_of(server.socket)


WAYS = {
    "asyncio": by_asyncio,
    "trio": by_trio,
    "trio datagrams": by_trio_datagrams,
    "anyio": by_anyio,
    "anyio datagrams": by_anyio_datagrams,
    "create_server": by_create_server,
    "listening_socket": by_listening_socket,
    "mixin": by_mixin,
    "mixin for datagrams": by_mixin_for_datagrams,
}
every_way = pytest.mark.parametrize("way", WAYS.values(), ids=list(WAYS))


def in_a_thread(function: Callable[[], Any]) -> Any:
    """What a function gives or raises, in a thread of its own."""
    outcome: list[Any] = []

    def work() -> None:
        try:
            outcome.append(function())
        except BaseException as error:
            outcome.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    if isinstance(outcome[0], BaseException):
        raise outcome[0]
    return outcome[0]


@every_way
def test_its_socket_is_bound_to_the_device(way: Callable[[str], str]) -> None:
    assert way("lo") == "lo"


@every_way
def test_a_name_that_is_not_there_is_one_clear_error(way: Callable[[str], str]) -> None:
    before = open_descriptors()
    with pytest.raises(OSError, match=r"has no interface 'nosuch0', which device names; it has lo"):
        way("nosuch0")
    assert open_descriptors() <= before


@every_way
def test_a_right_that_is_missing_is_one_clear_error(way: Callable[[str], str]) -> None:
    """Before Linux 5.7 binding to a device needed CAP_NET_RAW."""
    before = open_descriptors()

    def body() -> None:
        deny_option_in_this_thread(socket.SOL_SOCKET, SO_BINDTODEVICE, errno.EPERM)
        way("lo")

    said = "device 'lo' can't be bound to: Operation not permitted; grant CAP_NET_RAW, or leave"
    with pytest.raises(PermissionError, match=said):
        in_a_thread(body)
    assert open_descriptors() <= before


def test_text_that_names_no_interface_is_refused_before_a_socket_exists() -> None:
    for device in ("", "eth 0", "x" * 16, "a/b", ".."):
        with pytest.raises(ValueError, match="is not the name of a network interface"):
            listening_socket("::", 0, device=device)


def test_a_socket_that_is_open_already_takes_no_device() -> None:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        policy = inherited_streams(fd=sock.fileno())
        with pytest.raises(ValueError, match="device is for a socket to be opened"):
            replace(policy, device="lo")


WIRES = {"one": ("192.0.2.{}", "2001:db8:1::{}"), "two": ("198.51.100.{}", "2001:db8:2::{}")}


@pytest.fixture
def wired() -> Iterator[tuple[Namespace, Namespace]]:
    """Two machines with two wires between them; the near one is .1, the far one .2."""
    with namespace() as near, namespace() as far:
        for name, hosts in WIRES.items():
            connect_namespaces(near, far, name)
            near.add_addresses(name, *(host.format(1) for host in hosts))
            far.add_addresses(name, *(host.format(2) for host in hosts))
        yield near, far


def accepted_from(listening: socket.socket, there: tuple[str, int]) -> str:
    socket.create_connection(there, 20).close()
    accepted, address = listening.accept()
    accepted.close()
    return str(address[0])


@needs_root
def test_peers_of_the_device_alone_are_served(wired: tuple[Namespace, Namespace]) -> None:
    near, far = wired
    with near.entered():
        listening = create_server(("", 0), device="one")
        number = listening.getsockname()[1]

        class Answering(DualStackMixin, UDPServer):
            device = "one"

        class Handler(BaseRequestHandler):
            def handle(self) -> None:
                self.request[1].sendto(self.client_address[0].encode(), self.client_address)

        datagrams = Answering(("", number), Handler)
    with listening, datagrams, far.entered():
        for hosts, served in ((WIRES["two"], False), (WIRES["one"], True)):
            for host in hosts:
                there = host.format(1), number
                family = socket.AF_INET6 if ":" in host else socket.AF_INET
                with socket.socket(family, socket.SOCK_DGRAM) as client:
                    client.settimeout(20)
                    client.connect(there)
                    client.send(b"x")
                    if served:
                        datagrams.handle_request()
                        assert client.recv(100).decode() == host.format(2)
                        assert accepted_from(listening, there) == host.format(2)
                        continue
                    # Nobody is there: ICMP says so, and TCP resets.
                    with pytest.raises(ConnectionRefusedError):
                        client.recv(100)
                    with pytest.raises(ConnectionRefusedError):
                        socket.create_connection(there, 20)


@needs_root
def test_peers_of_a_vrf_alone_are_served(wired: tuple[Namespace, Namespace]) -> None:
    near, far = wired
    made = subprocess.run(
        [*near.prefix, "ip", "link", "add", "blue", "type", "vrf", "table", "10"],
        capture_output=True,
        text=True,
        check=False,
    )
    if made.returncode:
        pytest.skip(f"this kernel has no VRFs: {made.stderr.strip()}")
    near.run("ip", "link", "set", "blue", "up")
    near.run("ip", "link", "set", "one", "master", "blue")
    near.add_addresses("one", WIRES["one"][1].format(1))
    with near.entered():
        listening = create_server(("", 0), device="blue")
    number = listening.getsockname()[1]
    with listening, far.entered():
        for host in WIRES["one"]:
            assert accepted_from(listening, (host.format(1), number)) == host.format(2)
        for host in WIRES["two"]:
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection((host.format(1), number), 20)
