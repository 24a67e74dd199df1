"""Sockets that a process was given: by systemd, by a parent, by another worker."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from support.builds import CHECKOUT
from support.datagrams import Informed, Recorder
from support.listeners import RecordingFactory, stop
from support.processes import running_command
from support.programs import free_port
from support.reactors import Reactor, open_descriptors
from twisted.internet.endpoints import serverFromString
from twisted.internet.error import CannotListenError

from dsadapter import hookimpl
from dsadapter.frameworks.twisted import DualStackDatagramEndpoint, DualStackServerEndpoint
from dsadapter.frameworks.twisted.adopters import (
    adoptDatagramPort,
    adoptStreamConnection,
    adoptStreamPort,
)
from dsadapter.testing import registered

pytestmark = pytest.mark.not_on_windows("a program of Windows is given no sockets by number")

SERVER = Path(__file__).parent / "servers" / "inherited.py"
ACTIVATE = shutil.which("systemd-socket-activate")

FAMILY = {"127.0.0.1": "ipv4", "::1": "ipv6"}

systemd = pytest.mark.skipif(ACTIVATE is None, reason="systemd-socket-activate is not installed")


class EchoInformed(Informed):
    def packetReceived(self, data: bytes, addr: Any, info: Any) -> None:
        super().packetReceived(data, addr, info)
        self.transport.write(data, addr)


@pytest.fixture
def reactor() -> Iterator[Reactor]:
    made = Reactor()
    yield made
    made.close()


def listening(host: str = "::", port: int = 0, *, v6only: bool = False, queue: int = 7) -> int:
    """A descriptor as another program would pass it: blocking, and nothing else set."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family)
    if family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, v6only)
    sock.bind((host, port))
    sock.listen(queue)
    return sock.detach()


def receiving(host: str = "::") -> int:
    sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
    if ":" in host:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    sock.bind((host, 0))
    return sock.detach()


def port_of(fd: int) -> int:
    with socket.socket(fileno=os.dup(fd)) as sock:
        number: int = sock.getsockname()[1]
        return number


def peers(reactor: Reactor, factory: RecordingFactory, port: int, *hosts: str) -> list[str]:
    """Who connects, as the application sees it."""
    for host in hosts:
        before = len(factory.lost)
        socket.create_connection((host, port)).close()
        reactor.until(lambda: len(factory.lost) > before)  # noqa: B023
    return [protocol.transport.getPeer().host for protocol in factory.made]


def listen(reactor: Reactor, description: str) -> tuple[Any, RecordingFactory]:
    factory = RecordingFactory()
    return reactor.result_of(serverFromString(reactor, description).listen(factory)), factory


def activated(*arguments: str, listen_on: tuple[str, ...], options: tuple[str, ...] = ()) -> Any:
    assert ACTIVATE is not None
    where = [f"--listen={address}" for address in listen_on]
    keep = [f"--setenv={name}" for name in ("PATH", "PYTHONPATH", "HOME") if name in os.environ]
    program = [sys.executable, "-u", str(SERVER), *arguments]
    return running_command([ACTIVATE, *where, *keep, *options, *program])


def connected(server: Any, host: str, port: int) -> socket.socket:
    """A connection to what systemd-socket-activate listens on, as soon as it does."""
    server.wait_for_log("Listening on")
    return socket.create_connection((host, port))


@systemd
@pytest.mark.parametrize("which", ["0", "web"])
def test_a_socket_of_systemd_by_its_index_and_by_its_name(which: str) -> None:
    port = free_port()
    with activated(
        f"dualstack:systemd={which}", listen_on=(str(port),), options=("--fdname=web",)
    ) as server:
        with connected(server, "127.0.0.1", port) as client:
            assert server.event() == {"mode": "dual-stack", "addresses": [["::", port]]}
            # Neither the variables nor the sockets reach a child.
            assert server.event() == {"child": [[], []]}
            assert server.event() == {"peer": "127.0.0.1", "host": "127.0.0.1", "raw": "127.0.0.1"}
            client.sendall(b"hello")
            assert client.recv(5) == b"hello"
        with socket.create_connection(("::1", port)):
            assert server.event()["peer"] == "::1"


@systemd
def test_a_socket_of_systemd_that_has_no_name() -> None:
    port = free_port()
    with activated("dualstack:systemd=0", listen_on=(str(port),)) as server:
        with connected(server, "127.0.0.1", port):
            assert server.event()["mode"] == "dual-stack"


@systemd
def test_datagrams_through_a_socket_of_systemd() -> None:
    port = free_port()
    with (
        activated("datagrams", "0", listen_on=(str(port),), options=("--datagram",)) as server,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client,
    ):
        server.wait_for_log("Listening on")
        client.settimeout(20)
        client.connect(("127.0.0.1", port))
        client.send(b"the one that starts it")
        assert server.event()["mode"] == "dual-stack"
        server.event()
        assert server.event() == {"peer": "127.0.0.1", "data": "the one that starts it"}
        assert client.recv(100) == b"the one that starts it"


@systemd
def test_a_name_or_an_index_that_systemd_did_not_pass() -> None:
    port = free_port()
    for which, said in (("wev", "no socket 'wev'; did you mean 'web'?"), ("1", "passed 0 'web'")):
        with activated(
            f"dualstack:systemd={which}", listen_on=(str(port),), options=("--fdname=web",)
        ) as server:
            with connected(server, "127.0.0.1", port):
                server.wait_for_log("ValueError", said)


@systemd
def test_the_page_is_right() -> None:
    page = (CHECKOUT / "docs" / "inherited-sockets.md").read_text()
    start, ask = re.findall(r"```console\n\$ (.*)\n```", page)
    port = free_port()
    program, *arguments = start.replace("8080", str(port)).split()
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    }
    with running_command([program, *arguments], env=environment) as server:
        server.wait_for_log("Listening on")
        subprocess.run(
            ask.replace("8080", str(port)).split(), check=True, capture_output=True, timeout=60
        )
        server.wait_for_log("127.0.0.1", "GET / HTTP/1.1")


def test_variables_of_another_process_are_not_taken() -> None:
    fd = listening()
    environment = {**os.environ, "LISTEN_PID": "1", "LISTEN_FDS": "1"}
    done = subprocess.run(
        [sys.executable, str(SERVER), "dualstack:systemd=0"],
        env=environment,
        pass_fds=[fd],
        capture_output=True,
        text=True,
        timeout=60,
    )
    os.close(fd)
    assert "systemd passed its sockets to process 1, and this one is" in done.stderr
    assert "exec" in done.stderr


def test_without_systemd_the_error_says_how_to_try(reactor: Reactor) -> None:
    with pytest.raises(ValueError, match=r"LISTEN_FDS is not set.*systemd-socket-activate -l 8080"):
        serverFromString(reactor, "dualstack:systemd=0")


def test_a_descriptor_of_a_parent() -> None:
    fd = listening()
    port = port_of(fd)
    with running_command(
        [sys.executable, "-u", str(SERVER), f"dualstack:fd={fd}:nativeIPv4=yes"], pass_fds=[fd]
    ) as server:
        os.close(fd)
        assert server.event() == {"mode": "dual-stack", "addresses": [["::", port]]}
        assert server.event() == {"child": [[], []]}
        with socket.create_connection(("127.0.0.1", port)):
            assert server.event()["raw"] == "127.0.0.1"


def test_a_descriptor_that_another_process_sends(reactor: Reactor) -> None:
    """By a control message, as workers get them from a master."""
    here, there = socket.socketpair()
    sender = os.fork()
    if not sender:
        socket.send_fds(there, [b"take this"], [listening()])
        os._exit(0)
    with here, there:
        _, [fd], *_ = socket.recv_fds(here, 100, 1)
    os.waitpid(sender, 0)
    number = port_of(fd)
    port, factory = listen(reactor, f"dualstack:fd={fd}")
    assert peers(reactor, factory, number, "127.0.0.1", "::1") == ["127.0.0.1", "::1"]
    stop(reactor, port)


@pytest.mark.parametrize(
    ("host", "v6only", "mode"),
    [
        ("::", False, "dual-stack"),
        ("::", True, "ipv6"),
        ("0.0.0.0", False, "ipv4"),
        ("127.0.0.1", False, "ipv4"),
        ("::ffff:127.0.0.1", False, "ipv4"),
        ("::1", False, "ipv6"),
    ],
)
def test_the_kernel_says_what_a_socket_is(
    reactor: Reactor, host: str, v6only: bool, mode: str
) -> None:
    fd = listening(host, v6only=v6only)
    number = port_of(fd)
    port, factory = listen(reactor, f"dualstack:fd={fd}")

    canonical = host.removeprefix("::ffff:")
    assert port.mode == mode
    assert [address[:2] for address in port.addresses()] == [(canonical, number)]
    served = [h for h in ("127.0.0.1", "::1") if mode in ("dual-stack", FAMILY[h])]
    served = [
        h for h in ("127.0.0.1", "::1") if mode == "dual-stack" or (":" in h) == (mode == "ipv6")
    ]
    assert peers(reactor, factory, number, *served) == served
    stop(reactor, port)


def test_two_sockets_of_one_port_are_a_pair(reactor: Reactor) -> None:
    number = free_port()
    ipv6, ipv4 = listening("::", number, v6only=True), listening("0.0.0.0", number)
    port, factory = listen(reactor, f"dualstack:fd={ipv6},{ipv4}")

    assert port.mode == "pair"
    assert [address[:2] for address in port.addresses()] == [("0.0.0.0", number), ("::", number)]
    assert peers(reactor, factory, number, "127.0.0.1", "::1") == ["127.0.0.1", "::1"]
    stop(reactor, port)


def test_stopping_leaves_the_socket_to_whoever_else_has_it(reactor: Reactor) -> None:
    fd = listening()
    with socket.socket(fileno=os.dup(fd)) as kept:
        port, _ = listen(reactor, f"dualstack:fd={fd}")
        stop(reactor, port)
        with socket.create_connection(("127.0.0.1", kept.getsockname()[1])):
            kept.accept()[0].close()


def test_a_port_that_has_stopped_takes_no_socket_that_is_another_by_now(reactor: Reactor) -> None:
    fd = listening()
    port, _ = listen(reactor, f"dualstack:fd={fd}")
    stop(reactor, port)
    other = listening()
    if other != fd:
        os.dup2(other, fd)
        os.close(other)
    with pytest.raises(CannotListenError, match=f"descriptor {fd} is another socket by now"):
        port.startListening()
    os.close(fd)
    with pytest.raises(CannotListenError, match=f"descriptor {fd} is not open"):
        port.startListening()


def test_what_is_no_listening_socket_is_refused_and_stays_open(reactor: Reactor) -> None:
    bound = socket.socket()
    bound.bind(("127.0.0.1", 0))
    server = socket.create_server(("127.0.0.1", 0))
    client = socket.create_connection(server.getsockname())
    accepted, _ = server.accept()
    local, other = socket.socketpair()
    datagrams = socket.socket(fileno=receiving())
    pipe = os.pipe()
    cases = {
        bound.fileno(): rf"is bound to 127\.0\.0\.1:{bound.getsockname()[1]}, and does not listen",
        accepted.fileno(): "is a connection from 127.0.0.1.*Accept=no",
        local.fileno(): "is an AF_UNIX socket",
        datagrams.fileno(): "is a SOCK_DGRAM socket; pass a listening TCP socket",
        pipe[0]: "is not a socket",
        999: "is not open",
    }
    try:
        for fd, said in cases.items():
            before = open_descriptors()
            with pytest.raises(ValueError, match=f"descriptor {fd} {said}"):
                serverFromString(reactor, f"dualstack:fd={fd}")
            with pytest.raises(OSError, match=f"descriptor {fd} {said}"):
                DualStackServerEndpoint.inherited(reactor, fd=fd)
            assert open_descriptors() <= before
            assert fd == 999 or os.fstat(fd)
    finally:
        for sock in (bound, server, client, accepted, local, other, datagrams):
            sock.close()
        os.close(pipe[0])
        os.close(pipe[1])


@pytest.mark.parametrize(
    ("description", "said"),
    [
        ("dualstack:8080:fd=3", "port is for a socket to be opened.*leave port out"),
        ("dualstack:fd=3:interface=0.0.0.0", "leave interface out"),
        ("dualstack:fd=3:backlog=5", "leave backlog out"),
        ("dualstack:fd=3:systemd=0", "give one"),
        ("dualstack:fd=three", "fd 'three' is not the number of a descriptor.*'dualstack:fd=3'"),
        ("dualstack:fd=", "fd '' is not the number"),
        ("dualstack:systemd=", "systemd '' is not an index or a name"),
        ("dualstack:fd=3,3", "names a descriptor twice"),
        ("dualstack:fd=9999999999", "fd 9999999999 is not the number"),
        ("dualstack:fd=3:nativeIPv4=maybe", "nativeIPv4=yes or nativeIPv4=no"),
    ],
)
def test_strings_that_say_two_things_or_nothing(
    reactor: Reactor, description: str, said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        serverFromString(reactor, description)


def test_a_plugin_may_refuse_it_and_it_stays_open(reactor: Reactor) -> None:
    class Refusing:
        @hookimpl
        def dsadapter_before_bind(self, sock: socket.socket, policy: Any) -> None:
            assert sock.getsockname()[1] == policy.port
            assert policy.inherited
            raise PermissionError("not this one")

    fd = listening()
    with registered(Refusing()):
        before = open_descriptors()
        with pytest.raises(CannotListenError, match="not this one"):
            listen(reactor, f"dualstack:fd={fd}")
        assert open_descriptors() <= before
    os.close(fd)


def test_datagrams_queued_before_are_answered_from_where_they_were_sent_to(
    reactor: Reactor,
) -> None:
    """A socket that answers from elsewhere is not heard by a connected client."""
    fd = receiving()
    number = port_of(fd)
    with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as client:
        client.settimeout(20)
        client.connect(("127.0.0.7", number))
        client.send(b"early")
        protocol = EchoInformed()
        endpoint = DualStackDatagramEndpoint.inherited(reactor, fd=fd)
        port: Any = reactor.result_of(endpoint.listen(protocol))
        reactor.until(lambda: protocol.got)
        assert protocol.got == [(b"early", client.getsockname())]
        # Nothing has told the kernel yet to remember the interface.
        [info] = protocol.infos
        assert (info.destination, info.interface_index) == ("127.0.0.7", 0)
        assert client.recv(100) == b"early"
    stop(reactor, port)


def test_datagram_sockets_that_can_not_be_taken(reactor: Reactor) -> None:
    unbound = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    mapped = socket.socket(fileno=receiving("::ffff:127.0.0.1"))
    connected_one = socket.socket(fileno=receiving())
    connected_one.connect(("::ffff:127.0.0.1", 9))
    stream = socket.create_server(("127.0.0.1", 0))
    cases = {
        unbound: "is not bound",
        mapped: "is an IPv6 socket bound to the IPv4 address 127.0.0.1",
        connected_one: "is connected to 127.0.0.1:9",
        stream: "is a SOCK_STREAM socket",
    }
    for sock, said in cases.items():
        with sock, pytest.raises(OSError, match=said):
            DualStackDatagramEndpoint.inherited(reactor, fd=sock.fileno())


def test_adopters_show_what_is_there_whatever_was_declared(reactor: Reactor) -> None:
    """Twisted's own, told AF_INET, would show stale memory."""
    fd = listening()
    factory = RecordingFactory()
    port: Any = adoptStreamPort(reactor, fd, factory)
    assert peers(reactor, factory, port_of(fd), "127.0.0.1") == ["127.0.0.1"]
    stop(reactor, port)

    with (
        socket.socket(fileno=fd) as sock,
        socket.create_connection(("127.0.0.1", port_of(fd))) as client,
    ):
        accepted, _ = sock.accept()
        with accepted:
            adopted: Any = adoptStreamConnection(reactor, accepted.fileno(), factory)
        assert adopted.transport.getPeer().host == "127.0.0.1"
        assert adopted.transport.getHost().host == "127.0.0.1"
        assert adopted.transport.getPeer().port == client.getsockname()[1]
        adopted.transport.abortConnection()
        reactor.until(lambda: adopted in factory.lost)

    datagrams = receiving()
    recorder = Recorder()
    udp: Any = adoptDatagramPort(reactor, datagrams, recorder)
    with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as sender:
        sender.sendto(b"x", ("127.0.0.1", port_of(datagrams)))
        reactor.until(lambda: recorder.got)
    assert recorder.got[0][1][0] == "127.0.0.1"
    stop(reactor, udp)
    os.close(datagrams)
