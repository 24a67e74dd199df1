"""Twisted's ports of both families on one port number, where v6-only is the system's default."""

from __future__ import annotations

import sys

import pytest
from support.launched import finished, launch
from support.namespaces import namespace, needs_root

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
