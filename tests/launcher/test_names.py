"""Names are canonical, in every spelling of the call."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from support.early_peers import DEEDS
from support.launched import finished, run_script

SERVER = """
import array, os, socket, ssl, sys, threading
server = socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True)
port = server.getsockname()[1]
"""


@pytest.mark.parametrize("deed", DEEDS)
def test_a_peer_that_is_early(tmp_path: Path, deed: str) -> None:
    tests = Path(__file__).parents[1]
    source = SERVER + (
        f"sys.path.insert(0, {str(tests)!r})\n"
        "from support.early_peers import early_peer\n"
        f"with early_peer('127.0.0.1', port, {deed!r}) as peer:\n"
        "    accepted, name = server.accept()\n"
        "    assert name == peer.name, name\n"
        "    try:\n"
        "        assert accepted.getpeername() == peer.name\n"
        "    except OSError:\n"
        f"        assert {deed!r} == 'resets'\n"
        "    assert accepted.getsockname() == peer.server\n"
        "    print('::ffff' in repr(accepted), accepted)\n"
    )
    assert run_script(source, tmp_path).startswith("False")


def test_a_child_process_sees_ipv4_on_the_bare_descriptor(tmp_path: Path) -> None:
    source = SERVER + (
        "import subprocess\n"
        "client = socket.create_connection(('127.0.0.1', port))\n"
        "accepted, _ = server.accept()\n"
        "code = 'import socket; print(socket.socket(fileno=0).getpeername()[0])'\n"
        "subprocess.run([sys.executable, '-I', '-c', code], stdin=accepted)\n"
    )
    assert run_script(source, tmp_path) == "127.0.0.1\n"


@pytest.mark.parametrize(
    "spelling",
    [
        "sock.connect(('::ffff:127.0.0.1', port))",
        "sock.connect(('::ffff:7f00:1', port, 0, 0))",
        "sock.connect(('127.0.0.1', port))",
        "assert sock.connect_ex(('::FFFF:127.0.0.1', port)) == 0",
    ],
)
@pytest.mark.parametrize("family", ["AF_INET6", "AF_INET"])
@pytest.mark.parametrize("v6only", [0, 1])
def test_connecting_by_a_mapped_literal_goes_to_ipv4(
    tmp_path: Path, spelling: str, family: str, v6only: int
) -> None:
    source = (
        "import socket\n"
        "server = socket.create_server(('127.0.0.1', 0))\n"
        "port = server.getsockname()[1]\n"
        f"sock = socket.socket(socket.{family})\n"
        f"if sock.family == socket.AF_INET6: sock.setsockopt(41, socket.IPV6_V6ONLY, {v6only})\n"
        f"{spelling}\n"
        "assert sock.getpeername() == ('127.0.0.1', port)\n"
        "assert sock.getsockname() == server.accept()[1]\n"
    )
    run_script(source, tmp_path)


@pytest.mark.parametrize(
    "adopted",
    [
        "socket.fromfd(fd, socket.AF_INET, socket.SOCK_STREAM)",
        "socket.socket(socket.AF_INET, socket.SOCK_STREAM, fileno=os.dup(fd))",
        "socket.socket(fileno=os.dup(fd))",
    ],
)
def test_an_adopted_descriptor_has_the_family_of_the_kernel(tmp_path: Path, adopted: str) -> None:
    source = SERVER + (
        "fd = server.fileno()\n"
        f"adopted = {adopted}\n"
        "assert adopted.family == socket.AF_INET6\n"
        "for host in '127.0.0.1', '::1':\n"
        "    client = socket.create_connection((host, port))\n"
        "    accepted, name = adopted.accept()\n"
        "    assert name == client.getsockname(), name\n"
    )
    run_script(source, tmp_path)


def test_other_families_are_as_they_were(tmp_path: Path) -> None:
    source = (
        "import socket\n"
        "one, other = socket.socketpair()\n"
        "one.send(b'x'); print(other.recvmsg(9), other.getpeername(), one.getsockname())\n"
        "server = socket.create_server(('127.0.0.1', 0))\n"
        "client = socket.create_connection(server.getsockname())\n"
        "print(server.accept()[1] == client.getsockname())\n"
        "unix = socket.socket(socket.AF_UNIX); unix.bind('\\0run'); unix.listen()\n"
        "client = socket.socket(socket.AF_UNIX); client.connect('\\0run')\n"
        "print(repr(unix.accept()[1]))\n"
    )
    path = tmp_path / "script.py"
    assert run_script(source, tmp_path) == finished([sys.executable, str(path)]).stdout


@pytest.mark.parametrize(
    "receive",
    [
        "data, name = server.recvfrom(9)",
        "buffer = bytearray(9); n, name = server.recvfrom_into(buffer); data = bytes(buffer[:n])",
        "data, _, _, name = server.recvmsg(9)",
        "buffer = bytearray(9); n, _, _, name = server.recvmsg_into([buffer]); data = buffer[:n]",
    ],
)
@pytest.mark.parametrize(
    "answer",
    [
        "server.sendto(b'answer', name)",
        "server.sendto(b'answer', 0, name)",
        "server.sendmsg([b'answer'], [], 0, name)",
        "server.sendto(b'answer', tuple(name))",
    ],
)
def test_datagrams(tmp_path: Path, receive: str, answer: str) -> None:
    source = (
        "import socket\n"
        "server = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)\n"
        "server.bind(('::', 0))\n"
        "port = server.getsockname()[1]\n"
        "for host in '127.0.0.1', '127.0.0.2', '::1':\n"
        "    client = socket.socket(socket.AF_INET6 if ':' in host else socket.AF_INET, "
        "socket.SOCK_DGRAM)\n"
        "    client.bind(('::1' if ':' in host else '127.0.0.1', 0))\n"
        "    client.sendto(b'x', (host, port))\n"
        f"    {receive}\n"
        "    assert data == b'x' and name == client.getsockname(), name\n"
        f"    {answer}\n"
        "    client.settimeout(10)\n"
        "    data, source = client.recvfrom(9)\n"
        "    print(source[0])\n"
    )
    seen = run_script(source, tmp_path).split()
    # An answer to a name that has been taken apart leaves from where the system likes.
    middle = "127.0.0.1" if "tuple" in answer else "127.0.0.2"
    assert seen == ["127.0.0.1", middle, "::1"]


SENDS = ["sendto(b'x', peer)", "sendto(b'x', 0, peer)", "sendmsg([b'x'], [], 0, peer)"]
WAITS = """
import asyncio, socket
server, other = (socket.socket(type=socket.SOCK_DGRAM) for _ in range(2))
for each in server, other: each.bind(("127.0.0.1", 0))
client = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
client.bind(("::", 0))
peer = ("::FFFF:127.0.0.1", server.getsockname()[1], 0, 0)
here = "127.0.0.1", client.getsockname()[1]
"""


@pytest.mark.parametrize("send", SENDS)
def test_an_answer_comes_from_whom_the_program_has_named(tmp_path: Path, send: str) -> None:
    """aioquic's clients compare the two; what others send is as ever."""
    source = WAITS + (
        f"client.{send}\n"
        "data, name = server.recvfrom(9); server.sendto(data, name); other.sendto(data, here)\n"
        "for _ in range(2): print(*client.recvfrom(9)[1][::2])\n"
        "server.sendto(data, name); name = client.recvfrom(9)[1]\n"
        "client.sendto(b'y', name)\n"
        "print(server.recvfrom(9)[0], name == (peer[0].lower(), *peer[1:]))\n"
    )
    assert run_script(source, tmp_path) == "::ffff:127.0.0.1 0\n127.0.0.1\nb'y' True\n"


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_so_does_one_at_a_loop(tmp_path: Path, loop: str) -> None:
    source = WAITS + (
        f"import {loop}\n"
        "class Client(asyncio.DatagramProtocol):\n"
        "    def datagram_received(self, data, name): names.append(name); come.set()\n"
        "async def main():\n"
        "    global come, names\n"
        "    come, names = asyncio.Event(), []\n"
        "    loop = asyncio.get_running_loop()\n"
        "    transport, _ = await loop.create_datagram_endpoint(Client, sock=client)\n"
        "    transport.sendto(b'x', peer)\n"
        "    for each in server, other:\n"
        "        each.sendto(b'answer', here); await come.wait(); come.clear()\n"
        "    transport.sendto(b'y', names[0])\n"
        "    print(*names[0][::2], *names[1][::2], server.recvfrom(9)[0], server.recvfrom(9)[0])\n"
        f"loop = {loop}.new_event_loop(); loop.run_until_complete(main()); loop.close()\n"
    )
    assert run_script(source, tmp_path) == "::ffff:127.0.0.1 0 127.0.0.1 b'x' b'y'\n"


TOLD = """
import asyncio, socket, sys
stranger = socket.socket(type=socket.SOCK_DGRAM)
stranger.bind(("127.0.0.1", 0))
probe = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM); probe.bind(("::", 0))
number = probe.getsockname()[1]; probe.close()
server = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
server.bind(("::", number))
if sys.argv[1] == "inherited":
    server = socket.socket(fileno=server.detach())
told = "::ffff:127.0.0.1", stranger.getsockname()[1]
here = "127.0.0.1", number
"""


@pytest.mark.parametrize("whose", ["its own", "inherited"])
@pytest.mark.parametrize("loop", ["", "asyncio", "uvloop"])
def test_a_stranger_gets_no_mapped_name_at_a_server(tmp_path: Path, loop: str, whose: str) -> None:
    """It tells the server where to send, as peers of a DHT do."""
    if not loop:
        source = TOLD + (
            "server.sendto(b'x', told); stranger.recv(9); stranger.sendto(b'y', here)\n"
            "print(server.recvfrom(9)[1] == stranger.getsockname())\n"
        )
    else:
        source = TOLD + (
            f"import {loop}\n"
            "class Server(asyncio.DatagramProtocol):\n"
            "    def datagram_received(self, data, name): come.set_result(name)\n"
            "async def main():\n"
            "    global come\n"
            "    loop = asyncio.get_running_loop(); come = loop.create_future()\n"
            "    transport, _ = await loop.create_datagram_endpoint(Server, sock=server)\n"
            "    transport.sendto(b'x', told); stranger.recv(9); stranger.sendto(b'y', here)\n"
            "    print(await come == stranger.getsockname())\n"
            f"loop = {loop}.new_event_loop(); loop.run_until_complete(main()); loop.close()\n"
        )
    assert run_script(source, tmp_path, whose) == "True\n"


def test_the_v6only_flag_of_a_datagram_socket_is_never_changed(tmp_path: Path) -> None:
    source = (
        "import socket\n"
        "for flag in 0, 1:\n"
        "    sock = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)\n"
        "    sock.setsockopt(41, socket.IPV6_V6ONLY, flag)\n"
        "    sock.bind(('::', 0))\n"
        "    print(sock.getsockopt(41, socket.IPV6_V6ONLY))\n"
    )
    assert run_script(source, tmp_path) == "0\n1\n"


def test_a_datagram_socket_waits_as_it_is_told_and_closes(tmp_path: Path) -> None:
    source = """
import os, socket
sock = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
sock.bind(("::", 0))
sock.settimeout(0.01)
for wait in 0.01, 0.0:
    sock.settimeout(wait)
    try:
        sock.recvfrom(9)
    except (TimeoutError, BlockingIOError) as error:
        print(type(error).__name__)
fd = sock.fileno()
sock.close()
try:
    os.fstat(fd)
except OSError:
    print("closed")
try:
    sock.recvfrom(9)
except OSError as error:
    print(error.errno == 9)
again = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
assert again.fileno() == fd
again.bind(("::", 0))
del sock
os.fstat(fd)
"""
    assert run_script(source, tmp_path) == "TimeoutError\nBlockingIOError\nclosed\nTrue\n"
