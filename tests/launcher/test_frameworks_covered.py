"""asyncio, uvloop, Trio and Twisted in a covered process, by their own functions."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import pytest
from support.certificates import issue
from support.launched import finished, launch, run_script, said

LOOPS = ["asyncio", "uvloop"]

ASYNCIO = """
import asyncio, socket, sys
LOOP = {loop!r}
if LOOP == "uvloop":
    from uvloop import new_event_loop
else:
    from asyncio import new_event_loop

async def told(port, *hosts):
    seen = []
    for host in hosts or ("127.0.0.1", "::1"):
        try:
            reader, writer = await asyncio.open_connection(host, port)
        except OSError as error:
            seen.append(type(error).__name__)
            continue
        seen.append((await reader.read()).decode())
        writer.close()
    return seen

def server(name):
    async def serve(reader, writer):
        info = writer.get_extra_info
        assert info("peername") == info("socket").getpeername()
        writer.write(f"{{name}} {{info('peername')[0]}} {{info('sockname')[0]}}".encode())
        writer.close()
    return serve

def run(main):
    loop = new_event_loop()
    try:
        loop.run_until_complete(main())
    finally:
        loop.close()
"""


def of(loop: str, source: str, folder: Path, *options: str) -> str:
    return run_script(ASYNCIO.format(loop=loop) + source, folder, options=options)


BOTH = "['s 127.0.0.1 127.0.0.1', 's ::1 ::1']\n"


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("given", ["'::', 0", "sock=bound()", "'::', 0, reuse_port=True"])
def test_a_server_on_the_wildcard(tmp_path: Path, loop: str, given: str) -> None:
    source = f"""
def bound():
    sock = socket.socket(socket.AF_INET6)
    sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    sock.bind(("::", 0))
    return sock
async def main():
    made = await asyncio.start_server(server("s"), {given})
    (sock,) = made.sockets
    print(await told(sock.getsockname()[1]))
    port = sock.getsockname()[1]
    made.close()
    await made.wait_closed()
    print(await told(port))
run(main)
"""
    refused = "['ConnectionRefusedError', 'ConnectionRefusedError']\n"
    assert of(loop, source, tmp_path) == BOTH + refused


@pytest.mark.parametrize("given", ["'::', 0", "sock=bound()"])
def test_a_server_of_uvloop_that_begins_to_serve_later(tmp_path: Path, given: str) -> None:
    source = f"""
def bound():
    sock = socket.socket(socket.AF_INET6)
    sock.bind(("::", 0))
    return sock
async def main():
    made = await asyncio.start_server(server("s"), {given}, start_serving=False)
    (sock,) = made.sockets
    port = sock.getsockname()[1]
    print(made.is_serving(), await told(port, "::1"))
    await made.start_serving()
    print(made.is_serving(), await told(port))
    made.close()
    other = await asyncio.start_server(server("s"), "::", 0, start_serving=False)
    other.close()
    print(other.sockets, await told(port, "::1"))
run(main)
"""
    refused = "['ConnectionRefusedError']\n"
    expected = f"False {refused}True {BOTH}() {refused}"
    assert of("uvloop", source, tmp_path) == expected


@pytest.mark.parametrize(
    "options",
    ["ssl='x'", "ssl_handshake_timeout=1", "nonsense=1", "sock=object()", "host='::', sock=sock()"],
)
def test_what_a_loop_does_not_take_fails_as_without(tmp_path: Path, options: str) -> None:
    given = options if "sock" in options else f"host='::', port=0, {options}"
    source = f"""
def sock(): return socket.socket(socket.AF_INET6)
async def main():
    try:
        await asyncio.get_running_loop().create_server(asyncio.Protocol, {given})
    except Exception as error:
        print(type(error).__name__, error)
run(main)
"""
    text = ASYNCIO.format(loop="uvloop") + source
    without = finished([sys.executable, "-c", text])
    assert without.stdout
    # An address in memory.
    shown = re.sub("0x[0-9a-f]+|fd=[0-9]+", "", of("uvloop", source, tmp_path))
    assert shown == re.sub("0x[0-9a-f]+|fd=[0-9]+", "", without.stdout)


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("host", [None, ["127.0.0.1", "::1"], ["::", "0.0.0.0"], ["0.0.0.0", "::"]])
def test_a_pair_that_one_server_opens_stays_a_pair(tmp_path: Path, loop: str, host: object) -> None:
    source = f"""
from contextlib import closing
async def main():
    # A port that is free in both families.
    with closing(socket.create_server(("::", 0), family=10, dualstack_ipv6=True)) as probe:
        port = probe.getsockname()[1]
    made = await asyncio.start_server(server("s"), {host!r}, port)
    print(sorted(int(sock.family) for sock in made.sockets))
    print(await told(port))
run(main)
"""
    assert of(loop, source, tmp_path) == "[2, 10]\n" + BOTH


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("order", [("::", "0.0.0.0"), ("0.0.0.0", "::"), ("::", "127.0.0.1")])
def test_two_servers_of_one_port_stay_two(
    tmp_path: Path, loop: str, order: tuple[str, str]
) -> None:
    source = f"""
async def main():
    first = await asyncio.start_server(server("first"), {order[0]!r}, 0)
    port = first.sockets[0].getsockname()[1]
    second = await asyncio.start_server(server("second"), {order[1]!r}, port)
    # Loops go on watching what they watched.
    for _ in range(2):
        print(await told(port))
run(main)
"""
    names = ("first", "second") if order[0] != "::" else ("second", "first")
    expected = f"['{names[0]} 127.0.0.1 127.0.0.1', '{names[1]} ::1 ::1']\n"
    assert of(loop, source, tmp_path) == expected * 2


@pytest.mark.parametrize("loop", LOOPS)
def test_connecting_by_a_mapped_literal(tmp_path: Path, loop: str) -> None:
    source = """
async def main():
    made = await asyncio.start_server(server("s"), "127.0.0.1", 0)
    port = made.sockets[0].getsockname()[1]
    reader, writer = await asyncio.open_connection("::ffff:127.0.0.1", port)
    print(await reader.read(), writer.get_extra_info("peername") == ("127.0.0.1", port))
run(main)
"""
    assert of(loop, source, tmp_path) == "b's 127.0.0.1 127.0.0.1' True\n"


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("given", ["('::', 0)", "('::0', 0), reuse_port=True", "sock=bound()"])
def test_datagrams_of_a_loop(tmp_path: Path, loop: str, given: str) -> None:
    source = """
def bound():
    sock = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    sock.bind(("::", 0))
    sock.setblocking(False)
    return sock

class Echo(asyncio.DatagramProtocol):
    def connection_made(self, transport): self.transport = transport
    def datagram_received(self, data, addr):
        self.transport.sendto(f"{addr[0]} {len(addr)} {len(data)}".encode(), addr)

class Client(asyncio.DatagramProtocol):
    def datagram_received(self, data, addr): self.answer.set_result((data.decode(), addr[0]))

async def main():
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(Echo, GIVEN)
    port = transport.get_extra_info("sockname")[1]
    for host in "127.0.0.1", "127.0.0.2", "::1":
        here = "::1" if ":" in host else "127.0.0.1"
        client, protocol = await loop.create_datagram_endpoint(Client, (here, 0))
        protocol.answer = loop.create_future()
        client.sendto(bytes(60000), (host, port))
        print(*await protocol.answer)
    transport.close()
    await asyncio.sleep(0.01)
    # Nobody has it any more.
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
        sock.bind(("::", port))
run(main)
""".replace("GIVEN", given)
    listing = tmp_path / "listing"
    expected = "127.0.0.1 2 60000 127.0.0.1\n127.0.0.1 2 60000 127.0.0.2\n::1 4 60000 ::1\n"
    assert of(loop, source, tmp_path, f"--explain={listing}") == expected
    counts = [json.loads(line)["ipv4"] for line in listing.read_text().splitlines()]
    assert 2 in counts


BOUND = """
class Saying(asyncio.DatagramProtocol):
    def datagram_received(self, data, addr):
        print(*addr)
        self.come.set()
def bound():
    sock = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    sock.bind(("::ffff:127.0.0.1", 0))
    sock.setblocking(False)
    return sock
async def main():
    loop = asyncio.get_running_loop()
    made, protocol = await loop.create_datagram_endpoint(Saying, GIVEN)
    protocol.come = asyncio.Event()
    name = made.get_extra_info("sockname")[:2]
    with socket.socket(socket.AF_INET6 if ":" in name[0] else 2, socket.SOCK_DGRAM) as client:
        client.bind((name[0], 0))
        client.sendto(b"x", name)
        await protocol.come.wait()
        print(client.getsockname()[1])
run(main)
"""


@pytest.mark.parametrize(
    ("given", "shown", "says"),
    [
        ("('::1', 0)", "::1 PORT 0 0", False),
        ("(None, 0)", "::1 PORT 0 0", False),
        ("('localhost', 0), family=2", "127.0.0.1 PORT", False),
        ("('::ffff:127.0.0.1', 0)", "127.0.0.1 PORT", False),
        ("('::ffff:127.0.0.1', 0), family=10", "::ffff:127.0.0.1 PORT 0 0", True),
        ("sock=bound()", "::ffff:127.0.0.1 PORT 0 0", True),
    ],
)
def test_datagrams_of_uvloop_on_one_address(given: str, shown: str, says: bool) -> None:
    """What can't be translated is said."""
    source = ASYNCIO.format(loop="uvloop") + BOUND.replace("GIVEN", given)
    done = finished(launch(sys.executable, "-c", source))
    *_, line, port = done.stdout.splitlines()
    assert line == shown.replace("PORT", port), done.stderr
    assert any("shows mapped addresses" in each for each in said(done)) == says


@pytest.mark.parametrize("loop", LOOPS)
def test_tls(tmp_path: Path, loop: str) -> None:
    issued = issue("server.example")
    pem = tmp_path / "server.pem"
    pem.write_bytes(issued.pem + issued.key_pem())
    source = f"""
import ssl
async def main():
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain({str(pem)!r})
    made = await asyncio.start_server(server("s"), "::", 0, ssl=context)
    port = made.sockets[0].getsockname()[1]
    trusting = ssl.create_default_context()
    trusting.check_hostname = False
    trusting.verify_mode = ssl.CERT_NONE
    for host in "127.0.0.1", "::1":
        reader, writer = await asyncio.open_connection(host, port, ssl=trusting)
        print(await reader.read())
        writer.close()
run(main)
"""
    assert of(loop, source, tmp_path) == "b's 127.0.0.1 127.0.0.1'\nb's ::1 ::1'\n"


def test_trio(tmp_path: Path) -> None:
    source = """
import trio
async def serve(stream):
    await stream.send_all(str(stream.socket.getpeername()[0]).encode())
    await stream.aclose()
async def main():
    async with trio.open_nursery() as nursery:
        (listener,) = await nursery.start(trio.serve_tcp, serve, 0, ) if 0 else \\
            await nursery.start(lambda task_status: trio.serve_tcp(
                serve, 0, host="::", task_status=task_status))
        port = listener.socket.getsockname()[1]
        for host in "127.0.0.1", "::1":
            client = await trio.open_tcp_stream(host, port)
            print(await client.receive_some())
        nursery.cancel_scope.cancel()
trio.run(main)
"""
    assert run_script(source, tmp_path) == "b'127.0.0.1'\nb'::1'\n"


TWISTED = """
import os, socket, sys
from twisted.internet import defer, endpoints, protocol, reactor, task

class Tell(protocol.Protocol):
    def connectionMade(self):
        peer, here = self.transport.getPeer(), self.transport.getHost()
        self.transport.write(f"{peer.host} {here.host} {type(peer).__name__}".encode())
        self.transport.loseConnection()

class Factory(protocol.Factory):
    noisy = False
    def buildProtocol(self, addr):
        print(type(addr).__name__)
        return Tell()

class Ask(protocol.Protocol):
    data = b""
    def dataReceived(self, data): self.data += data
    def connectionLost(self, reason): self.factory.told.callback(self.data.decode())

def ask(host, port):
    factory = protocol.ClientFactory.forProtocol(Ask)
    factory.noisy = False
    factory.told = defer.Deferred()
    reactor.connectTCP(host, port, factory)
    return factory.told

async def both(port):
    for host in "127.0.0.1", "::1", "::ffff:127.0.0.1":
        print(await ask(host, port))
"""

NATIVE = (
    "IPv4Address\n127.0.0.1 127.0.0.1 IPv4Address\n"
    "IPv6Address\n::1 ::1 IPv6Address\n"
    "IPv4Address\n127.0.0.1 127.0.0.1 IPv4Address\n"
)


@pytest.mark.parametrize(
    "opening",
    [
        "reactor.listenTCP(0, Factory(), interface='::')",
        "await endpoints.TCP6ServerEndpoint(reactor, 0).listen(Factory())",
        "await endpoints.serverFromString(reactor, r'tcp6:0:interface=\\:\\:').listen(Factory())",
        "reactor.adoptStreamPort(dual.fileno(), socket.AF_INET, Factory())",
        "reactor.adoptStreamPort(dual.fileno(), socket.AF_INET6, Factory())",
    ],
)
def test_twisted_listens_natively(tmp_path: Path, opening: str) -> None:
    source = TWISTED + (
        "dual = socket.create_server(('::', 0), family=socket.AF_INET6, dualstack_ipv6=True)\n"
        "dual.setblocking(False)\n"
        "async def main(reactor):\n"
        f"    port = {opening}\n"
        "    dual.close()\n"
        "    await both(port.getHost().port)\n"
        "    await port.stopListening()\n"
        "task.react(lambda reactor: defer.ensureDeferred(main(reactor)))\n"
    )
    assert run_script(source, tmp_path) == NATIVE


def test_twisted_ipv4_listeners_are_widened_when_asked_for(tmp_path: Path) -> None:
    source = TWISTED + (
        "async def main(reactor):\n"
        "    port = reactor.listenTCP(0, Factory())\n"
        "    await both(port.getHost().port)\n"
        "task.react(lambda reactor: defer.ensureDeferred(main(reactor)))\n"
    )
    assert run_script(source, tmp_path, options=("--widen",)) == NATIVE
    asked = "print(await ask('127.0.0.1', port.getHost().port))"
    alone = source.replace("await both(port.getHost().port)", asked)
    assert run_script(alone, tmp_path) == NATIVE[: NATIVE.index("IPv6")]


def test_twisted_datagrams(tmp_path: Path) -> None:
    source = (
        TWISTED
        + """
class Echo(protocol.DatagramProtocol):
    noisy = False
    def datagramReceived(self, data, addr):
        self.transport.write(addr[0].encode(), addr)
        reactor.callLater(0, asked.callback, None)

asked = defer.Deferred()
async def main(reactor):
    global asked
    port = reactor.listenUDP(0, Echo(), interface="::")
    for host in "127.0.0.1", "127.0.0.2", "::1":
        asked = defer.Deferred()
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        with socket.socket(family, socket.SOCK_DGRAM) as c:
            c.sendto(b"?", (host, port.getHost().port))
            await asked
            data, address = c.recvfrom(99)
            print(data, address[0])
task.react(lambda reactor: defer.ensureDeferred(main(reactor)))
"""
    )
    expected = "b'127.0.0.1' 127.0.0.1\nb'127.0.0.1' 127.0.0.2\nb'::1' ::1\n"
    assert run_script(source, tmp_path) == expected


def test_a_loop_is_explained(tmp_path: Path) -> None:
    source = ASYNCIO.format(loop="uvloop") + (
        "async def main():\n"
        "    made = await asyncio.start_server(server('s'), '::', 0)\n"
        "    await told(made.sockets[0].getsockname()[1])\n"
        "run(main)\n"
    )
    done = finished(launch(sys.executable, "-c", source, options=("--explain",)))
    rows = [line.split() for line in said(done)]
    assert ["dual-stack", "widened", "-"] in [row[2:5] for row in rows]
