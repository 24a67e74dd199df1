"""Twisted's ports of both families on one port number, where v6-only is the system's default."""

from __future__ import annotations

import sys

import pytest
from support.launched import finished, launch, said
from support.namespaces import namespace, needs_root
from support.seccomp import without

OPEN = """
import socket, sys
from twisted.internet import defer, protocol, reactor, task

class Tell(protocol.Protocol):
    def connectionMade(self):
        peer = self.transport.getPeer()
        self.transport.write(f"{self.factory.name} {peer.host}".encode())
        self.transport.loseConnection()

def factory(name):
    made = protocol.Factory.forProtocol(Tell)
    made.noisy, made.name = False, name
    return made

class Ask(protocol.Protocol):
    data = b""
    def dataReceived(self, data): self.data += data
    def connectionLost(self, reason): self.told.callback(self.data.decode())

async def ask(host, port):
    asking = protocol.ClientCreator(reactor, Ask)
    try:
        made = await asking.connectTCP(host, port)
    except Exception as error:
        return type(error).__name__
    made.told = defer.Deferred()
    return await made.told
"""


@needs_root
@pytest.mark.parametrize("order", [("::", "0.0.0.0"), ("0.0.0.0", "::"), ("::", "127.0.0.1")])
def test_a_pair_stays_a_pair(order: tuple[str, str]) -> None:
    first, second = order
    source = f"""{OPEN}
async def main(reactor):
    one = reactor.listenTCP(0, factory("one"), interface={first!r})
    port = one.getHost().port
    two = reactor.listenTCP(port, factory("two"), interface={second!r})
    for host in "127.0.0.1", "::1":
        print(await ask(host, port))
    await one.stopListening()
    print(await ask("::1" if {first!r} == "::" else "127.0.0.1", port))
task.react(lambda reactor: defer.ensureDeferred(main(reactor)))
"""
    with namespace() as place:
        place.run("sysctl", "-qw", "net.ipv6.bindv6only=1")
        done = finished([*place.prefix, *launch(sys.executable, "-c", source)])
    names = dict(zip(order, ("one", "two"), strict=True))
    ipv4 = names.get("0.0.0.0") or names["127.0.0.1"]
    told = f"{ipv4} 127.0.0.1\n{names['::']} ::1\nConnectionRefusedError\n"
    assert done.stdout == told, done.stderr


MERGED = f"""{OPEN}
HOSTS = {{"0.0.0.0": "127.0.0.1", "::": "::1"}}

def listening(port):
    # The sockets of both families that listen on a port; those that only wait to close are bound
    # to an interface that does not exist.
    import subprocess
    return subprocess.run(
        ["ss", "-H", "-ltn", f"sport = :{{port}}"], stdout=subprocess.PIPE, text=True, check=True
    ).stdout.count("LISTEN")

async def settled(port, count=1):
    while listening(port) != count:
        await task.deferLater(reactor, 0.05, lambda: None)

class Counting(protocol.Factory):
    protocol = Tell
    noisy, name, started, stopped = False, "one", 0, 0
    def startFactory(self): self.started += 1
    def stopFactory(self): self.stopped += 1

def opened(*hosts, factory=None, number=0):
    factory = factory or Counting()
    ports = {{}}
    for host in hosts:
        made = reactor.listenTCP(number, factory, interface=host)
        number = made.getHost().port
        ports[host] = made
    for host, made in ports.items():
        here = made.getHost()
        kind = "IPv6Address" if ":" in host else "IPv4Address"
        assert (type(here).__name__, here.host, here.port) == (kind, host, number), here
    return ports, number, factory

def react(main):
    task.react(lambda reactor: defer.ensureDeferred(main(reactor)))
"""


def merged(source: str, *options: str, prefix: tuple[str, ...] = ()) -> tuple[str, list[str]]:
    """The output of a program that has to succeed, and what the launcher said."""
    command = launch(sys.executable, "-c", MERGED + source, options=("--merge-pairs", *options))
    done = finished([*prefix, *command])
    assert done.returncode == 0, done.stderr
    return done.stdout, said(done)


ORDERS = [("::", "0.0.0.0"), ("0.0.0.0", "::"), ("::", "")]


@pytest.mark.parametrize("order", ORDERS[:2])
def test_a_pair_with_one_factory_becomes_one_socket(order: tuple[str, str]) -> None:
    out, lines = merged(
        f"""
async def main(reactor):
    ports, number, factory = opened(*{order})
    print(number)
    await settled(number)
    for host in "127.0.0.1", "::1":
        print(await ask(host, number))
react(main)
""",
        "--explain",
    )
    number, *told = out.splitlines()
    assert told == ["one 127.0.0.1", "one ::1"]
    rows = {line.split()[1]: line.split()[2:4] for line in lines if line.count("one factory")}
    assert rows == {f"{host}:{number}": ["dual-stack", "merged"] for host in ("0.0.0.0", "[::]")}
    assert any(f"0.0.0.0:{number} and [::]:{number} are one socket" in line for line in lines)


@pytest.mark.parametrize("order", ORDERS[:2])
@pytest.mark.parametrize("closing", ["0.0.0.0", "::"])
def test_a_face_closes(order: tuple[str, str], closing: str) -> None:
    out, lines = merged(
        f"""
async def main(reactor):
    ports, number, factory = opened(*{order})
    for _ in range(2):
        closing = ports.pop({closing!r})
        await closing.stopListening()
        # At once, and when what was left of the socket has closed.
        (host, other), = ports.items()
        for _ in range(2):
            assert await ask(HOSTS[{closing!r}], number) == "ConnectionRefusedError"
            print(await ask(HOSTS[host], number), other.getHost().host)
            await settled(number)
        assert factory.stopped == 0
        # And is opened again: beside an IPv6 socket an IPv4 one stays one.
        ports, _, _ = opened({closing!r}, factory=factory, number=number)
        ports[host] = other
        for host in "127.0.0.1", "::1":
            print(await ask(host, number))
        await settled(number, 2 if {closing!r} == "0.0.0.0" else 1)
    for port in ports.values():
        await port.stopListening()
    for host in "127.0.0.1", "::1":
        print(await ask(host, number))
    assert (factory.started, factory.stopped, factory.numPorts) == (1, 1, 0)
    assert listening(number) == 0
react(main)
"""
    )
    stays = {"0.0.0.0": "one ::1 ::\n", "::": "one 127.0.0.1 0.0.0.0\n"}[closing]
    once = stays * 2 + "one 127.0.0.1\none ::1\n"
    assert out == once * 2 + "ConnectionRefusedError\n" * 2
    assert all("are one socket" in line for line in lines), lines


@pytest.mark.parametrize("order", ORDERS[:2])
@pytest.mark.parametrize("closing", ["0.0.0.0", "::"])
def test_what_waits_when_a_face_closes(order: tuple[str, str], closing: str) -> None:
    """Of the family that goes on it is served; of the other one it is reset, as by a socket of its
    own."""
    out, _ = merged(
        f"""
async def main(reactor):
    ports, number, factory = opened(*{order})
    await settled(number)
    waiting = {{}}
    for host in "127.0.0.1", "::1":
        waiting[host] = [socket.create_connection((host, number), timeout=10) for _ in range(30)]
        # One has said all that it will say.
        waiting[host][0].shutdown(socket.SHUT_WR)
    closed = ports.pop({closing!r}).stopListening()
    await closed
    await settled(number)
    for host, clients in waiting.items():
        told = set()
        for client in clients:
            try:
                told.add(client.recv(99).decode())
            except ConnectionResetError:
                told.add("reset")
        print(host, *told)
react(main)
"""
    )
    expected = {"0.0.0.0": ("reset", "one ::1"), "::": ("one 127.0.0.1", "reset")}[closing]
    assert out == f"127.0.0.1 {expected[0]}\n::1 {expected[1]}\n"


def test_what_waits_for_the_first_port_when_the_second_one_opens() -> None:
    out, _ = merged(
        """
async def main(reactor):
    factory = Counting()
    first = reactor.listenTCP(0, factory)
    number = first.getHost().port
    waiting = [socket.create_connection(("127.0.0.1", number), timeout=10) for _ in range(30)]
    second = reactor.listenTCP(number, factory, interface="::")
    waiting += [socket.create_connection(("127.0.0.1", number), timeout=10) for _ in range(30)]
    await settled(number)
    print({client.recv(99) for client in waiting})
react(main)
"""
    )
    assert out == "{b'one 127.0.0.1'}\n"


def test_faces_that_pause() -> None:
    out, _ = merged(
        """
async def main(reactor):
    ports, number, factory = opened("::", "0.0.0.0")
    for port in ports.values():
        port.stopReading()
    waiting = [socket.create_connection((host, number)) for host in ("127.0.0.1", "::1")]
    await task.deferLater(reactor, 0.1, lambda: None)
    for client in waiting:
        client.setblocking(False)
        try:
            print(client.recv(99))
        except BlockingIOError:
            print("waits")
    ports["0.0.0.0"].startReading()
    for client in waiting:
        client.settimeout(0)
        while True:
            await task.deferLater(reactor, 0, lambda: None)
            try:
                print(client.recv(99))
                break
            except BlockingIOError:
                pass
react(main)
"""
    )
    assert out == "waits\nwaits\nb'one 127.0.0.1'\nb'one ::1'\n"


@pytest.mark.parametrize("order", ORDERS[:2])
def test_a_port_that_processes_share(order: tuple[str, str]) -> None:
    out, _ = merged(
        f"""
from twisted.internet import utils
async def main(reactor):
    number = int(sys.argv[1]) if sys.argv[1:] else 0
    ports, number, factory = opened(*{order}, number=number)
    await settled(number, 2 if sys.argv[1:] else 1)
    if not sys.argv[1:]:
        again = [*sys.orig_argv[1:], str(number)]
        assert await utils.getProcessValue(sys.executable, again, env=None) == 0
        for host in "127.0.0.1", "::1":
            print(await ask(host, number))
react(main)
""",
        "--reuse-port",
    )
    assert out == "one 127.0.0.1\none ::1\n"


@needs_root
@pytest.mark.parametrize("order", ORDERS[1:])
@pytest.mark.parametrize("closing", [0, 1])
def test_a_face_closes_when_privileges_are_gone(order: tuple[str, str], closing: int) -> None:
    source = f"""
async def main(reactor):
    import encodings.idna, os
    factory = Counting()
    ports = [reactor.listenTCP(80, factory, interface=host) for host in {order}]
    os.setgid(65534)
    os.setuid(65534)
    await ports.pop({closing}).stopListening()
    for host in "127.0.0.1", "::1":
        print(await ask(host, 80))
react(main)
"""
    told = ["one 127.0.0.1", "one ::1"]
    told[order[closing] == "::"] = "ConnectionRefusedError"
    with namespace() as place:
        place.run("sysctl", "-qw", f"net.ipv6.bindv6only={closing}")
        out, _ = merged(source, prefix=place.prefix)
    assert out.splitlines() == told


@needs_root
@pytest.mark.parametrize("order", ORDERS[:2])
@pytest.mark.parametrize(
    ("why", "options", "kept"),
    [
        ("two factories", (), False),
        ("excepted", ("--except=8080",), False),
        ("no such option", (), True),
    ],
)
def test_any_other_pair_stays(
    order: tuple[str, str], why: str, options: tuple[str, ...], kept: bool
) -> None:
    second = "Counting()" if why == "two factories" else "first"
    source = f"""
async def main(reactor):
    first = Counting()
    second = {second}
    one = reactor.listenTCP(8080, first, interface={order[0]!r})
    two = reactor.listenTCP(8080, second, interface={order[1]!r})
    print(listening(8080))
    for host in "127.0.0.1", "::1":
        print(await ask(host, 8080))
react(main)
"""
    kernel = without("--deny-option=1,62=ENOPROTOOPT") if kept else ()
    with namespace() as place:
        place.run("sysctl", "-qw", "net.ipv6.bindv6only=1")
        out, lines = merged(source, *options, prefix=(*place.prefix, *kernel))
    # Without a first one to be emptied there is nothing to keep new connections from.
    stays = not (kept and order[0] == "::")
    assert out == f"{2 if stays else 1}\none 127.0.0.1\none ::1\n"
    warned = [line for line in lines if "stay a pair" in line]
    assert warned == ["0.0.0.0:8080 and [::]:8080 stay a pair: Protocol not available"] * (
        kept and stays
    )


@needs_root
def test_a_face_closes_where_a_queue_can_not_be_emptied_at_leisure() -> None:
    source = """
async def main(reactor):
    ports, number, factory = opened("::", "0.0.0.0")
    waiting = [socket.create_connection(("::1", number), timeout=10) for _ in range(30)]
    await ports["0.0.0.0"].stopListening()
    assert listening(number) == 1
    await task.deferLater(reactor, 0.1, lambda: None)
    print({client.recv(99) for client in waiting}, await ask("127.0.0.1", number))
react(main)
"""
    out, _ = merged(source, prefix=without("--deny-option=1,62=ENOPROTOOPT"))
    assert out == "{b'one ::1'} ConnectionRefusedError\n"
