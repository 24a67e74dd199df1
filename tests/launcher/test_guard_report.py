"""``dsadapter run --guard=log``: mapped addresses that arrive, or are handed over, by line."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from support.launched import finished, launch, said

GUARD = ("--guard=log",)

# Both sides on one process: a dual-stack listener, and clients whose sockets are of one family.
BOTH_SIDES = """
import contextlib, os, socket, sys
server = socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True)
port = server.getsockname()[1]

def connected(family=socket.AF_INET):
    sock = socket.socket(family)
    if family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    sock.connect(("::FFFF:127.0.0.1", port))  # handed over
    return sock

def accepted():
    return server.accept()  # accepted
"""


def line_of(source: str, mark: str) -> int:
    """The number of the line that ends with a comment."""
    lines = source.splitlines()
    return next(number for number, line in enumerate(lines, 1) if line.endswith(f"# {mark}"))


def guarded(
    source: str, folder: Path, *words: str, options: tuple[str, ...] = GUARD
) -> subprocess.CompletedProcess[str]:
    path = folder / "script.py"
    path.write_text(source, encoding="utf-8")
    done = finished(launch(sys.executable, str(path), *words, options=options))
    assert done.returncode == 0, done.stderr
    return done


def table(done: subprocess.CompletedProcess[str]) -> list[list[str]]:
    """The rows of all processes, without the process id: kind, call, count, address, line."""
    rows = [re.split("  +", line) for line in said(done)]
    return [row for row in rows if row[0] in ("handed over", "arrived")]


def rows_of(report: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in report.read_text(encoding="utf-8").splitlines()]


def test_both_kinds_are_listed_by_source_line_when_the_process_ends(tmp_path: Path) -> None:
    source = (
        BOTH_SIDES + "for family in (socket.AF_INET, socket.AF_INET6, socket.AF_INET):\n"
        "    with connected(family), accepted()[0] as sock:\n"
        "        print(sock.getpeername()[0], sock.getsockname()[0])  # named\n"
    )
    done = guarded(source, tmp_path)
    assert done.stdout == "127.0.0.1 127.0.0.1\n" * 3
    script = tmp_path / "script.py"

    def place(mark: str) -> str:
        return f"{script}:{line_of(source, mark)}, in "

    mapped = "::ffff:127.0.0.1"
    assert table(done) == [
        [
            *("handed over", "connect", "3", "::FFFF:127.0.0.1"),
            place("handed over") + "connected (an IPv4-only socket, translated)",
        ],
        ["arrived", "accept", "3", mapped, place("accepted") + "accepted"],
        ["arrived", "getpeername", "6", mapped, place("named") + "<module>"],
    ]
    # What is handed over is logged too, once.
    (logged,) = [line for line in said(done) if "unmap()" in line]
    assert "dsadapter run has translated it" in logged


DATAGRAMS = """
import contextlib, socket
server = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
server.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
server.bind(("::", 0))
port = server.getsockname()[1]
client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for _ in range(4):
    client.sendto(b"x", ("::ffff:127.0.0.1", port))  # IPv4-only
buffer = bytearray(9)
print(server.recvfrom(9)[1][0])  # recvfrom
print(server.recvfrom_into(buffer)[1][0])  # recvfrom_into
print(server.recvmsg(9)[3][0])  # recvmsg
print(server.recvmsg_into([buffer])[3][0])  # recvmsg_into
only = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
only.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
only.bind(("::1", 0))
with contextlib.suppress(OSError):
    only.sendto(b"x", ("::ffff:127.0.0.1", port))  # sendto
with contextlib.suppress(OSError):
    only.sendmsg([b"x"], [], 0, ("::ffff:127.0.0.1", port, 0, 0))  # sendmsg
with contextlib.suppress(OSError):
    only.connect(("::ffff:127.0.0.1", port))  # connect
six = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
six.sendto(b"x", ("::1", port))
print(server.recvfrom(9)[1][0])
"""


def test_datagrams_that_arrive_or_get_no_further(tmp_path: Path) -> None:
    done = guarded(DATAGRAMS, tmp_path)
    assert done.stdout == "127.0.0.1\n" * 4 + "::1\n"
    found = {int(re.findall(r":(\d+), in", row[4])[0]): row[:3] for row in table(done)}
    arrived = ("recvfrom", "recvfrom_into", "recvmsg", "recvmsg_into")
    assert found == {
        line_of(DATAGRAMS, "IPv4-only"): ["handed over", "sendto", "4"],
        **{line_of(DATAGRAMS, call): ["arrived", call, "1"] for call in arrived},
        line_of(DATAGRAMS, "sendto"): ["handed over", "sendto", "1"],
        line_of(DATAGRAMS, "sendmsg"): ["handed over", "sendto", "1"],
        line_of(DATAGRAMS, "connect"): ["handed over", "connect", "1"],
    }


def test_a_program_that_sees_none(tmp_path: Path) -> None:
    source = (
        "import socket\n"
        "server = socket.create_server(('::', 0), family=socket.AF_INET6)\n"
        "server = socket.create_server(('::ffff:127.0.0.1', 0), family=socket.AF_INET6,"
        " dualstack_ipv6=True)\n"
        "socket.create_connection(('::ffff:127.0.0.1', server.getsockname()[1]))  # own name\n"
        "socket.socket(socket.AF_INET6, socket.SOCK_DGRAM).connect(('::ffff:127.0.0.1', 9))\n"
    )
    # A name that the program asks for has arrived, too; those that we ask for have not.
    (row,) = table(guarded(source, tmp_path))
    assert row[:3] == ["arrived", "getsockname", "1"]
    assert f":{line_of(source, 'own name')}," in row[4]
    done = guarded("import socket; socket.create_server(('::1', 0), family=10)", tmp_path)
    assert said(done)[-1] == "no mapped address was handed over, and none arrived"


def test_a_report_in_a_file_has_what_a_killed_process_has_seen(tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    source = (
        BOTH_SIDES + "for _ in range(12):\n"
        "    with connected(), accepted()[0]:\n"
        "        pass\n"
        "os.kill(os.getpid(), 9) if sys.argv[1] == 'kill' else os._exit(0)\n"
    )
    path = tmp_path / "script.py"
    path.write_text(source, encoding="utf-8")
    for how, status in (("kill", -signal.SIGKILL), ("exit", 0)):
        command = launch(
            sys.executable, str(path), how, options=(f"--guard-report={report}", "--guard=log")
        )
        done = finished(command)
        assert done.returncode == status, done.stderr
        # It had no time to say what it has seen.
        assert table(done) == []
        rows = rows_of(report)
        counts = [(row["mapped"], row["call"], row["count"]) for row in rows]
        assert sorted(counts) == [
            *(("arrived", "accept", 1), ("arrived", "accept", 10)),
            *(("handed over", "connect", 1), ("handed over", "connect", 10)),
        ]
        assert len({row["process"] for row in rows}) == 1


def test_a_report_in_a_file_alone(tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    source = BOTH_SIDES + "for _ in range(3):\n    with connected(), accepted()[0]: pass\n"
    done = guarded(source, tmp_path, options=(f"--guard-report={report}",))
    assert table(done) == []
    *_, last = [row for row in rows_of(report) if row["mapped"] == "handed over"]
    assert last.pop("process") > 0
    assert last == {
        "mapped": "handed over",
        "call": "connect",
        "count": 3,
        "address": "::FFFF:127.0.0.1",
        "file": str(tmp_path / "script.py"),
        "line": line_of(source, "handed over"),
        "function": "connected",
        "to": "an IPv4-only socket",
        "translated": True,
    }


def test_a_report_that_can_not_be_written(tmp_path: Path) -> None:
    path = tmp_path / "missing" / "report.json"
    done = finished(launch(sys.executable, "-c", "", options=(f"--guard-report={path}",)))
    assert (done.returncode, done.stdout) == (2, "")
    assert f"{path} can't be written" in done.stderr


WORKERS = (
    BOTH_SIDES
    + """
import multiprocessing

def work():
    with connected(), accepted()[0]:
        print("worker", os.getpid(), flush=True)

def spawned(port):
    sock = socket.socket()
    sock.connect(("::ffff:127.0.0.1", port))
    print("worker", os.getpid(), flush=True)

if __name__ == "__main__":
    with connected(), accepted()[0]:
        print("worker", os.getpid(), flush=True)
    process = multiprocessing.get_context("fork").Process(target=work)
    process.start(); process.join()
    for way in ("spawn", "forkserver"):
        process = multiprocessing.get_context(way).Process(target=spawned, args=(port,))
        process.start(); process.join()
    if os.fork() == 0:
        work()
        sys.exit()
    os.wait()
"""
)


def test_each_worker_tells_what_it_has_seen_itself(tmp_path: Path) -> None:
    done = guarded(WORKERS, tmp_path)
    workers = [int(line.split()[1]) for line in done.stdout.splitlines()]
    assert len(set(workers)) == 5
    told: dict[int, list[list[str]]] = {}
    for line in said(done):
        if started := re.match(r"process (\d+): ", line):
            rows = told.setdefault(int(started[1]), [])
        elif line.startswith(("handed over ", "arrived ")):
            rows.append(re.split("  +", line)[:3])
    handed, arrived = ["handed over", "connect", "1"], ["arrived", "accept", "1"]
    parent, forked, spawned, served, bare = workers
    assert told[parent] == told[forked] == told[bare] == [handed, arrived]
    assert told[spawned] == told[served] == [handed]


def test_a_process_that_becomes_another_program_tells_before(tmp_path: Path) -> None:
    source = BOTH_SIDES + "with connected(): os.execvp('echo', ['echo', 'another'])"
    done = guarded(source, tmp_path)
    assert done.stdout == "another\n"
    assert [row[:3] for row in table(done)] == [["handed over", "connect", "1"]]


def test_a_program_that_fails_tells_as_well(tmp_path: Path) -> None:
    path = tmp_path / "script.py"
    path.write_text(BOTH_SIDES + "connected()\nraise SystemExit(3)", encoding="utf-8")
    done = finished(launch(sys.executable, str(path), options=GUARD))
    assert done.returncode == 3
    assert [row[:3] for row in table(done)] == [["handed over", "connect", "1"]]


SERVERS = """
import asyncio, socket, sys, threading

def listening():
    sock = socket.socket(socket.AF_INET6)
    sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    sock.bind(("::", 0))
    sock.listen()
    return sock

def visit(port):
    with socket.create_connection(("127.0.0.1", port)) as sock:
        sock.recv(9)

async def serve(reader, writer):
    writer.write(b"hello")
    writer.close()

class Greeter(asyncio.Protocol):
    def connection_made(self, transport):
        transport.write(b"hello")
        transport.close()

class Echo(asyncio.DatagramProtocol):
    def connection_made(self, transport):
        self.ended = asyncio.get_running_loop().create_future()

    def datagram_received(self, data, sender):
        self.ended.set_result(None)

async def streams():
    server = await asyncio.start_server(serve, sock=(sock := listening()))
    await asyncio.to_thread(visit, sock.getsockname()[1])
    server.close()

async def protocol():
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Greeter, sock=(sock := listening()))
    await asyncio.to_thread(visit, sock.getsockname()[1])
    server.close()

async def datagrams():
    loop = asyncio.get_running_loop()
    sock = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    sock.bind(("::", 0))
    sock.setblocking(False)
    transport, protocol = await loop.create_datagram_endpoint(Echo, sock=sock)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.sendto(b"x", ("127.0.0.1", sock.getsockname()[1]))
    await protocol.ended

def twisted():
    from twisted.internet import protocol, reactor, threads

    class Hello(protocol.Protocol):
        def connectionMade(self):
            self.transport.write(b"hello")
            self.transport.loseConnection()

    factory = protocol.Factory.forProtocol(Hello)
    port = reactor.listenTCP(0, factory, interface="::")
    visiting = threads.deferToThread(visit, port.getHost().port)
    visiting.addBoth(lambda _: reactor.stop())
    reactor.run()

def trio():
    import trio

    async def greet(stream):
        await stream.send_all(b"hello")

    async def main():
        listener = trio.SocketListener(trio.socket.from_stdlib_socket(listening()))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.serve_listeners, greet, [listener])
            await trio.to_thread.run_sync(visit, listener.socket.getsockname()[1])
            nursery.cancel_scope.cancel()

    trio.run(main)

def threads():
    import socketserver

    class Handler(socketserver.BaseRequestHandler):
        def handle(self):
            self.request.sendall(b"hello")

    class Server(socketserver.ThreadingTCPServer):
        address_family = socket.AF_INET6

    with Server(("::", 0), Handler) as server:
        threading.Thread(target=visit, args=(server.server_address[1],)).start()
        server.handle_request()  # handle_request

which = sys.argv[1]
if which.startswith("uvloop"):
    import uvloop
    uvloop.run(globals()[which.partition("-")[2]]())
elif which in ("twisted", "trio", "threads"):
    globals()[which]()
else:
    asyncio.run(globals()[which]())
"""


@pytest.mark.parametrize(
    ("which", "call", "place"),
    [
        ("streams", "accept", "serve"),
        ("protocol", "accept", "Greeter"),
        ("datagrams", "recvfrom", "Echo"),
        ("uvloop-streams", "accept", "serve"),
        ("uvloop-protocol", "accept", "Greeter"),
        ("twisted", "accept", "Hello"),
        ("trio", "accept", "trio.<locals>.greet"),
        ("threads", "accept", "threads"),
    ],
)
def test_what_arrives_at_a_framework_is_the_callbacks(
    which: str, call: str, place: str, tmp_path: Path
) -> None:
    (row,) = table(guarded(SERVERS, tmp_path, which))
    assert row[:2] == ["arrived", call]
    file, line, function = re.fullmatch(r"(.*):(\d+), in (.*)", row[4]).groups()  # type: ignore[union-attr]
    assert (file, function.rpartition(".")[2]) == (
        f"{tmp_path}/script.py",
        place.rpartition(".")[2],
    )
    assert 0 < int(line) <= SERVERS.count("\n")


def test_what_is_closed_last_is_no_error(tmp_path: Path) -> None:
    source = (
        "import socket\n"
        "def connect(make=socket.socket, kind=socket.SOCK_DGRAM):\n"
        "    with make(type=kind) as sock: sock.connect(('::ffff:127.0.0.1', 9))\n"
        "connect()\n"
        "class Last:\n"
        "    def __del__(self, connect=connect):\n"
        "        connect(); print('connected')\n"
        "last = Last()\n"
        "last.itself = last\n"
    )
    done = guarded(source, tmp_path)
    assert done.stdout == "connected\n"
    assert "Traceback" not in done.stderr


LOADED = "import sys; print(sorted(m for m in {} if m in sys.modules))"


def test_it_is_there_once_the_program_imports_socket_and_not_before(tmp_path: Path) -> None:
    names = ["dsadapter.guard", "dsadapter.launcher.guarding", "logging", "threading"]
    look = LOADED.format(names)
    assert guarded(look, tmp_path).stdout == "[]\n"
    # Locks of these are patched by gevent and eventlet, which come later.
    assert guarded(f"import socket\n{look}", tmp_path).stdout == f"{names[:2]}\n"
    assert guarded(f"import socket\n{look}", tmp_path, options=()).stdout == "[]\n"


def test_install_does_the_same_from_inside(tmp_path: Path) -> None:
    source = (
        "import dsadapter.launcher\n"
        "dsadapter.launcher.install(guard='log')\n" + BOTH_SIDES + "with connected(), accepted()[0]"
        ":\n    os.execvp('echo', ['echo', 'another'])\n"
    )
    done = finished([sys.executable, "-c", source])
    assert [row[:3] for row in table(done)] == [
        ["handed over", "connect", "1"],
        ["arrived", "accept", "1"],
    ]


def test_another_mode_is_refused() -> None:
    done = finished([*launch(options=("--guard=raise",))])
    assert done.returncode == 2
    assert "'raise' (choose from" in done.stderr


@pytest.mark.parametrize("option", ["--guard=log", "--guard-report=/dev/null"])
def test_the_line_to_type_has_the_option(option: str) -> None:
    done = finished(launch(sys.executable, "-I", "-c", "", options=(option,)))
    assert f"dsadapter run {option} -- " in done.stderr


def test_source_that_is_made_and_run_is_not_kept(tmp_path: Path) -> None:
    source = (
        BOTH_SIDES
        + "import weakref\n"
        + "made = weakref.WeakSet()\n"
        + "with connected(), accepted()[0] as sock:\n"
        + "    for _ in range(12000):\n"
        + "        made.add(code := compile('sock.getpeername()', '<made>', 'exec'))\n"
        + "        exec(code)\n"
        + "print(len(made) < 10000)\n"
    )
    done = guarded(source, tmp_path)
    assert done.stdout == "True\n"
    assert ["arrived", "getpeername", "12000"] in [row[:3] for row in table(done)]
