"""A pair that one asyncio server opens, as one socket."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from support.certificates import issue
from support.launched import finished, launch, said
from support.namespaces import namespace, needs_root
from support.programs import free_port

LOOPS = ["asyncio", "uvloop"]

START = """
import asyncio, socket, subprocess, sys
LOOP = {loop!r}
if LOOP == "uvloop":
    from uvloop import new_event_loop
else:
    from asyncio import new_event_loop

async def ask(port, host, **options):
    try:
        reader, writer = await asyncio.open_connection(host, port, **options)
        writer.write_eof() if "ssl" not in options else None
        told = (await reader.read()).decode()
        writer.close()
        return told
    except OSError as error:
        return type(error).__name__

async def serve(reader, writer):
    info = writer.get_extra_info
    assert info("peername") == info("socket").getpeername()
    writer.write(f"{{info('peername')[0]}} {{info('sockname')[0]}}".encode())
    writer.close()

def listening(port):
    # The sockets of both families that listen on a port.
    return subprocess.run(
        ["ss", "-H", "-ltn", f"sport = :{{port}}"], stdout=subprocess.PIPE, text=True, check=True
    ).stdout.count("LISTEN")

def names(server):
    return sorted(sock.getsockname()[:2] for sock in server.sockets)

async def both(port, **options):
    for host in "127.0.0.1", "::1":
        print(await ask(port, host, **options))

def run(main):
    loop = new_event_loop()
    try:
        loop.run_until_complete(main(int(sys.argv[1])))
    finally:
        loop.close()
"""

BOTH = "127.0.0.1 127.0.0.1\n::1 ::1\n"
REFUSED = "ConnectionRefusedError\n"


def merged(
    loop: str, source: str, *options: str, prefix: tuple[str, ...] = ()
) -> tuple[int, str, list[str]]:
    """The port and the output of a program that has to succeed, and what the launcher said."""
    text = START.format(loop=loop) + source
    port = free_port()
    command = launch(sys.executable, "-c", text, str(port), options=("--merge-pairs", *options))
    done = finished([*prefix, *command])
    assert done.returncode == 0, done.stderr
    return port, done.stdout, said(done)


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("host", [None, "", ["0.0.0.0", "::"], ("::", "0.0.0.0")])
def test_a_pair_of_one_server_becomes_one_socket(loop: str, host: object) -> None:
    source = f"""
async def main(port):
    server = await asyncio.start_server(serve, {host!r}, port)
    assert names(server) == [("0.0.0.0", port), ("::", port)], server.sockets
    print(listening(port), sorted(int(sock.family) for sock in server.sockets))
    await both(port)
    server.close()
    await server.wait_closed()
    assert not server.sockets and not server.is_serving() and not listening(port)
    await both(port)
run(main)
"""
    port, out, lines = merged(loop, source, "--explain")
    assert out == "1 [2, 10]\n" + BOTH + REFUSED * 2
    rows = {line.split()[1]: line.split()[2:4] for line in lines if "one server is" in line}
    assert rows == {f"{host}:{port}": ["dual-stack", "merged"] for host in ("0.0.0.0", "[::]")}
    assert any(f"0.0.0.0:{port} and [::]:{port} are one socket" in line for line in lines)


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("closing", ["0.0.0.0", "::"])
def test_a_face_closes(loop: str, closing: str) -> None:
    """Nobody can close one in public, but a loop's sockets are objects."""
    source = f"""
async def main(port):
    server = await asyncio.start_server(serve, None, port)
    # These wait in the queue.
    waiting = {{}}
    for host in "127.0.0.1", "::1":
        waiting[host] = [socket.create_connection((host, port), timeout=10) for _ in range(60)]
        waiting[host][0].shutdown(socket.SHUT_WR)
    face, = (s for s in server.sockets if s.getsockname()[0] == {closing!r})
    face._sock.close()
    await both(port)
    print(names(server) == [({{"::": "0.0.0.0", "0.0.0.0": "::"}}[{closing!r}], port)])
    for host, clients in waiting.items():
        told = set()
        for client in clients:
            client.setblocking(False)
            try:
                told.add((await asyncio.get_running_loop().sock_recv(client, 99)).decode())
            except ConnectionResetError:
                told.add("reset")
        print(host, *told)
    while listening(port) != 1:
        await asyncio.sleep(0.05)
    await both(port)
    assert server.is_serving()
    server.close()
    await server.wait_closed()
    await both(port)
    assert not listening(port)
run(main)
"""
    _port, out, _ = merged(loop, source)
    after = {"0.0.0.0": REFUSED + "::1 ::1\n", "::": "127.0.0.1 127.0.0.1\n" + REFUSED}[closing]
    told = {
        "0.0.0.0": "127.0.0.1 reset\n::1 ::1 ::1\n",
        "::": "127.0.0.1 127.0.0.1 127.0.0.1\n::1 reset\n",
    }[closing]
    assert out == after + "True\n" + told + after + REFUSED * 2


@pytest.mark.parametrize("loop", LOOPS)
def test_one_that_begins_to_serve_later(loop: str) -> None:
    source = """
async def main(port):
    server = await asyncio.start_server(serve, None, port, start_serving=False)
    assert names(server) == [("0.0.0.0", port), ("::", port)], server.sockets
    print(listening(port), server.is_serving())
    await both(port)
    async with server:
        await server.start_serving()
        print(listening(port), server.is_serving())
        await both(port)
    await both(port)
run(main)
"""
    _, out, lines = merged(loop, source)
    assert out == "0 False\n" + REFUSED * 2 + "1 True\n" + BOTH + REFUSED * 2
    assert len(lines) == 1, lines


@pytest.mark.parametrize("loop", LOOPS)
def test_tls(tmp_path: Path, loop: str) -> None:
    issued = issue("server.example")
    pem = tmp_path / "server.pem"
    pem.write_bytes(issued.pem + issued.key_pem())
    source = f"""
import ssl
async def main(port):
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain({str(pem)!r})
    server = await asyncio.start_server(serve, None, port, ssl=context, backlog=7)
    trusting = ssl.create_default_context()
    trusting.check_hostname = False
    trusting.verify_mode = ssl.CERT_NONE
    await both(port, ssl=trusting)
    server.close()
run(main)
"""
    assert merged(loop, source)[1] == BOTH


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize(
    ("opening", "count"),
    [
        ("servers = [await asyncio.start_server(serve, h, port) for h in ('0.0.0.0', '::')]", 2),
        ("server = await asyncio.start_server(serve, ['127.0.0.1', '::1'], port)", 2),
        ("server = await asyncio.start_server(serve, ['::', '127.0.0.1'], port)", 2),
        ("server = await asyncio.start_server(serve, '0.0.0.0', port)", 1),
    ],
)
def test_any_other_pair_stays(loop: str, opening: str, count: int) -> None:
    source = f"""
async def main(port):
    {opening}
    print(listening(port))
    print(await ask(port, "127.0.0.1"))
run(main)
"""
    _, out, lines = merged(loop, source)
    assert out == f"{count}\n127.0.0.1 127.0.0.1\n"
    assert not any("one socket" in line for line in lines)


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("options", [(), ("--except=8080",)])
def test_what_stays_without_the_option(loop: str, options: tuple[str, ...]) -> None:
    source = """
async def main(port):
    server = await asyncio.start_server(serve, None, 8080)
    print(listening(8080))
    await both(8080)
run(main)
"""
    with namespace() as place:
        _, out, _ = merged(loop, source, *options, prefix=place.prefix)
    assert out == f"{2 if options else 1}\n" + BOTH


test_what_stays_without_the_option = needs_root(test_what_stays_without_the_option)


@pytest.mark.parametrize("loop", LOOPS)
def test_a_port_that_is_held_fails_as_without(loop: str) -> None:
    source = """
async def main(port):
    with socket.create_server(("127.0.0.1", port)):
        try:
            await asyncio.start_server(serve, None, port)
        except OSError as error:
            print(error.errno, "error while attempting to bind on address" in str(error))
    server = await asyncio.start_server(serve, None, port)
    print(listening(port))
run(main)
"""
    assert merged(loop, source)[1] == "98 True\n1\n"


@pytest.mark.parametrize("loop", LOOPS)
def test_a_pair_that_leaves_no_descriptor_for_a_third_socket_stays(loop: str) -> None:
    source = """
import os, resource
import dsadapter.launcher.merged_servers
async def main(port):
    # What is imported and opened at the first server is there.
    (await asyncio.start_server(serve, None, 0)).close()
    # All below a number are taken, and two from there on are left.
    last = os.open("/dev/null", os.O_RDONLY)
    fillers = []
    for number in range(last):
        try:
            os.fstat(number)
        except OSError:
            fillers.append(os.open("/dev/null", os.O_RDONLY))
    os.close(last)
    limit = last + 2
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, before[1]))
    server = await asyncio.start_server(serve, None, port)
    resource.setrlimit(resource.RLIMIT_NOFILE, before)
    print(names(server), listening(port))
    await both(port)
run(main)
"""
    port, out, lines = merged(loop, source)
    assert out == f"[('0.0.0.0', {port}), ('::', {port})] 2\n" + BOTH
    assert f"0.0.0.0:{port} and [::]:{port} stay a pair: Too many open files" in lines


@pytest.mark.parametrize("loop", LOOPS)
def test_from_inside_a_program(loop: str) -> None:
    source = """
async def main(port):
    server = await asyncio.start_server(serve, None, port)
    print(listening(port))
run(main)
"""
    first = "import dsadapter.launcher\ndsadapter.launcher.install(merge_pairs=True)\n"
    text = first + START.format(loop=loop) + source
    done = finished([sys.executable, "-c", text, str(free_port())])
    assert done.stdout == "1\n", done.stderr


@pytest.mark.parametrize("loop", LOOPS)
def test_a_port_that_processes_share(loop: str) -> None:
    source = """
async def main(port):
    server = await asyncio.start_server(serve, None, port)
    print(listening(port), flush=True)
    if "again" in sys.argv:
        return
    again = await asyncio.create_subprocess_exec(*sys.orig_argv, "again")
    assert await again.wait() == 0
    await both(port)
run(main)
"""
    _, out, lines = merged(loop, source, "--reuse-port")
    assert out == "1\n2\n" + BOTH
    assert sum("are one socket" in line for line in lines) == 2


def test_two_sockets_with_two_accept_loops_stay_two() -> None:
    source = """
import threading
port = int(sys.argv[1])
four = socket.create_server(("0.0.0.0", port))
six = socket.create_server(("::", port), family=socket.AF_INET6)
print(listening(port))
for sock, host in (four, "127.0.0.1"), (six, "::1"):
    client = socket.create_connection((host, port))
    print(sock.accept()[1] == client.getsockname())
"""
    assert merged("asyncio", source)[1] == "2\nTrue\nTrue\n"


def test_processes_that_the_program_starts() -> None:
    inner = """
import asyncio, sys
async def main(port):
    server = await asyncio.start_server(print, None, port)
    print(len({sock.fileno() for sock in server.sockets}), listening(port))
asyncio.run(main(int(sys.argv[1])))
"""
    listening = START[START.index("def listening") : START.index("def names")].format()
    source = f"""
inner = {"import subprocess" + chr(10) + listening + inner!r}
subprocess.run([sys.executable, "-c", inner, sys.argv[1]], check=True)
"""
    _, out, lines = merged("asyncio", source)
    assert out == "2 1\n"
    assert any("are one socket" in line for line in lines)
