"""What ``--explain`` lists beside listeners, in which process, and how often it counts."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest
from support.launched import finished, launch, said

START = """
import asyncio, os, socket, sys

def bound(host, port=0, v6only=1, kind=socket.SOCK_STREAM):
    sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, kind)
    if ":" in host: sock.setsockopt(41, socket.IPV6_V6ONLY, v6only)
    sock.bind((host, port))
    return sock

def send(host, sock):
    sender = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
    sender.sendto(b"x", (host, sock.getsockname()[1]))
    sock.recvfrom(9)

def connect(host, sock):
    with socket.create_connection((host, sock.getsockname()[1])), sock.accept()[0]: pass
"""
Row = dict[str, Any]


def listed(source: str, folder: Path) -> list[Row]:
    """The rows of the file, in a run that has to succeed."""
    listing = folder / "listing"
    done = finished(launch(sys.executable, "-c", START + source, options=(f"--explain={listing}",)))
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in listing.read_text().splitlines()]


def shown(rows: list[Row]) -> list[tuple[Any, ...]]:
    """Without ports."""
    names = ("what", "serves", "done", "ipv4", "why")
    return [(row["address"].rpartition(":")[0], *(row[name] for name in names)) for row in rows]


def test_sockets_for_datagrams(tmp_path: Path) -> None:
    source = (
        "kind = socket.SOCK_DGRAM\n"
        "dual = bound('::', v6only=0, kind=kind); six = bound('::', kind=kind)\n"
        "one = bound('::1', kind=kind); four = bound('127.0.0.1', kind=kind)\n"
        "mapped = bound('::ffff:127.0.0.1', v6only=0, kind=kind)\n"
        "send('127.0.0.1', dual); send('::1', dual); send('::1', six); send('127.0.0.1', mapped)\n"
        "six.close()\n"
    )
    kept = "one for datagrams keeps its v6-only flag"
    dual = ("[::]", "datagrams", "dual-stack", "translated")
    mapped = ("127.0.0.1", "datagrams", "ipv4", "translated")
    assert shown(listed(source, tmp_path)) == [
        (*dual, 0, "the program serves both families"),
        ("[::]", "datagrams", "ipv6", "left", 0, kept),
        ("[::1]", "datagrams", "ipv6", "left", 0, "bound to one address"),
        ("127.0.0.1", "datagrams", "ipv4", "left", 0, "a socket for IPv4"),
        (*mapped, 0, "bound to an IPv4 address"),
        # What has been counted, at the end.
        (*dual, 1, "the program serves both families"),
        (*mapped, 1, "bound to an IPv4 address"),
    ]


CONNECTS = {
    "socket": "socket.create_connection((host, port))",
    "asyncio": "asyncio.run(asyncio.open_connection(host, port))",
    "uvloop": "import uvloop; uvloop.run(asyncio.open_connection(host, port))",
    "twisted": (
        "from twisted.internet import reactor, protocol\n"
        "class P(protocol.Protocol):\n"
        "    def connectionMade(self): reactor.stop()\n"
        "reactor.connectTCP(host, port, protocol.ClientFactory.forProtocol(P)); reactor.run()"
    ),
}


@pytest.mark.parametrize("way", CONNECTS)
def test_connections_by_mapped_literals(tmp_path: Path, way: str) -> None:
    source = (
        "server = bound('127.0.0.1'); server.listen(); port = server.getsockname()[1]\n"
        "socket.create_connection(('127.0.0.1', port)).close(); host = '::ffff:127.0.0.1'\n"
    ) + CONNECTS[way]
    rows = [row for row in listed(source, tmp_path) if row["what"] == "connection"]
    assert shown(rows) == [
        ("127.0.0.1", "connection", "ipv4", "translated", 1, "named ::ffff:127.0.0.1")
    ]


def test_connections_are_counted_and_are_not_listed_without_end(tmp_path: Path) -> None:
    source = (
        "server = bound('127.0.0.1'); server.listen(200); there = server.getsockname()\n"
        "six = [socket.socket(socket.AF_INET6) for _ in range(3)]\n"
        "for sock in six: sock.connect(('::ffff:127.0.0.1', there[1]))\n"
        "for number in range(1, 121):\n"
        "    with socket.socket(socket.AF_INET6) as sock:\n"
        "        sock.connect_ex((f'::ffff:127.0.1.{number}', there[1]))\n"
    )
    rows = [row for row in listed(source, tmp_path) if row["what"] == "connection"]
    assert len({row["address"] for row in rows}) == 101
    last = {row["address"].rpartition(":")[0] or row["address"]: row["ipv4"] for row in rows}
    assert (last["127.0.0.1"], last["127.0.1.99"], last["others"]) == (3, 1, 21)


ENDS = {
    "fork": "pid = os.fork()\nif pid == 0:\n    connect('127.0.0.1', six); sys.exit()\nos.wait()",
    "multiprocessing": (
        "import multiprocessing\n"
        "worker = multiprocessing.get_context('fork').Process("
        "target=connect, args=('127.0.0.1', six))\n"
        "worker.start(); worker.join()"
    ),
    "exec": (
        "pid = os.fork()\nif pid == 0:\n"
        "    connect('127.0.0.1', six); os.execv('/bin/true', ['true'])\nos.wait()"
    ),
}


@pytest.mark.parametrize("way", ENDS)
def test_each_process_counts_its_own(tmp_path: Path, way: str) -> None:
    source = (
        "six = bound('::'); six.listen(); connect('127.0.0.1', six); connect('127.0.0.1', six)\n"
        + ENDS[way]
    )
    rows = listed(source, tmp_path)
    own = rows[0]["process"]
    assert [row["ipv4"] for row in rows if row["process"] == own] == [0, 1, 2]
    assert [row["ipv4"] for row in rows if row["process"] != own] == [1]
    done = finished(launch(sys.executable, "-c", START + source, options=("--explain",)))
    assert said(done).count("covered: socket, asyncio, dsadapter") == 2


def test_a_listener_is_written_when_it_closes(tmp_path: Path) -> None:
    """A process may be ended by a signal after that."""
    source = (
        "six = bound('::'); six.listen(); connect('127.0.0.1', six); six.close(); os._exit(0)\n"
    )
    assert [row["ipv4"] for row in listed(source, tmp_path)] == [0, 1]


@pytest.mark.parametrize("end", ["os._exit(0)", "os.kill(os.getpid(), 9)"])
def test_a_process_that_ends_at_once_has_been_counted(tmp_path: Path, end: str) -> None:
    source = (
        f"six = bound('::'); six.listen()\nfor _ in range(11): connect('127.0.0.1', six)\n{end}\n"
    )
    listing = tmp_path / "listing"
    finished(launch(sys.executable, "-c", START + source, options=(f"--explain={listing}",)))
    counts = [json.loads(line)["ipv4"] for line in listing.read_text().splitlines()]
    assert counts == [0, 1, 2, 4, 8]


def test_a_pipe_that_nobody_reads_stops_nobody(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    options = (f"--explain={pipe}",)
    done = finished(launch(sys.executable, "-c", "print(1)", options=options))
    assert done.returncode == 2
    assert f"{pipe} can't be written: No such device or address" in done.stderr
    source = (
        f"import dsadapter.launcher; dsadapter.launcher.install(file={str(pipe)!r})\n"
        "six = bound('::'); six.listen(); connect('127.0.0.1', six); print(1)\n"
    )
    done = finished([sys.executable, "-c", START + source])
    assert done.stdout == "1\n"
    assert f"{pipe} can't be written: No such device or address" in done.stderr
    with open(os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)) as reader:
        done = finished([sys.executable, "-c", START + source])
        assert [json.loads(line)["ipv4"] for line in reader] == [0, 1]
    assert done.stdout == "1\n"


def test_what_is_said_has_an_end() -> None:
    source = (
        "import socket\nfor _ in range(250):\n"
        "    with socket.socket(socket.AF_INET6) as sock:\n"
        "        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)\n"
        "        sock.bind(('::', 0))\n        sock.listen()\n"
    )
    lines = said(finished(launch(sys.executable, "-c", source)))
    assert 100 < len(lines) <= 201
    assert lines[-1].endswith("--explain=FILE lists every listener")


def test_sockets_that_are_closed_are_not_kept(tmp_path: Path) -> None:
    source = (
        "import gc\n"
        "from dsadapter.launcher.listing import Entry\n"
        "for _ in range(20):\n    with bound('::1') as sock: sock.listen()\n"
        "gc.collect(); print(sum(isinstance(each, Entry) for each in gc.get_objects()) < 3)\n"
    )
    listing = tmp_path / "listing"
    for options in ((), (f"--explain={listing}",)):
        done = finished(launch(sys.executable, "-c", START + source, options=options))
        assert done.stdout == "True\n", done.stderr
    assert len(listing.read_text().splitlines()) == 20
    # Those that a process lists when it ends are the last ones.
    many = source.replace("20", "1200")
    done = finished(launch(sys.executable, "-c", START + many, options=("--explain",)))
    assert len(said(done)) == 1003


OPENS = {
    "socket": "sock = socket.socket(socket.AF_INET6); sock.bind(('::', 0)); sock.listen()",
    "datagrams": "socket.socket(socket.AF_INET6, socket.SOCK_DGRAM).bind(('::', 0))",
    "twisted": (
        "from twisted.internet import reactor; from twisted.web.server import Site\n"
        "reactor.listenTCP(0, Site(None), interface='::')"
    ),
    "uvloop": (
        "import asyncio, uvloop\nasync def main():\n"
        "    loop = asyncio.get_running_loop()\n"
        "    await loop.create_server(asyncio.Protocol, '::', 0)\n"
        "    await loop.create_datagram_endpoint(asyncio.DatagramProtocol, ('::', 0))\n"
        "loop = uvloop.new_event_loop(); loop.run_until_complete(main()); loop.close()"
    ),
}


@pytest.mark.parametrize("opens", OPENS)
def test_the_programs_own_log_is_as_without(opens: str) -> None:
    source = "import logging, socket, sys\nlogging.basicConfig(level=1, stream=sys.stdout)\n"
    source += OPENS[opens]
    without = finished([sys.executable, "-c", source])
    covered = finished(launch(sys.executable, "-c", source))
    assert (covered.returncode, covered.stdout) == (0, without.stdout), covered.stderr
