"""A server that refuses its third connection, with a second listener that a plugin refuses, a
connection of its own to a server of Twisted's, and two addresses that leak.

Prints its port as JSON; ends when its standard input does.
"""

import json
import socket

from twisted.internet import reactor, stdio
from twisted.internet.endpoints import TCP4ServerEndpoint, serverFromString
from twisted.internet.protocol import Factory, Protocol

from dsadapter import guard, hookimpl
from dsadapter.frameworks.twisted import DualStackClientEndpoint
from dsadapter.plugin import get_plugin_manager


class Gate:
    @hookimpl
    def dsadapter_before_bind(self, policy):
        if policy.host == "127.0.0.1":
            raise PermissionError("not by IPv4 alone")


class Echo(Protocol):
    def dataReceived(self, data):
        self.transport.write(data)


class Limited(Factory):
    left = 2

    def buildProtocol(self, addr):
        self.left -= 1
        return Echo() if self.left >= 0 else None


class Input(Protocol):
    def connectionLost(self, reason):
        reactor.stop()


def refused(failure):
    print(failure.getErrorMessage(), flush=True)


def listening(port):
    other = TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1").listen(Factory.forProtocol(Echo))
    other.addCallback(connect)
    other.addCallback(lambda _: print(json.dumps({"port": port.getHost().port}), flush=True))


def connect(other):
    endpoint = DualStackClientEndpoint(reactor, "127.0.0.1", other.getHost().port)
    return endpoint.connect(Factory.forProtocol(Protocol))


get_plugin_manager().register(Gate(), "gate")
serverFromString(reactor, "dualstack:0:interface=127.0.0.1").listen(Limited()).addErrback(refused)
guard.install()
with socket.socket(type=socket.SOCK_DGRAM) as sock:
    for _ in range(2):
        sock.connect(("::ffff:127.0.0.1", 9))
serverFromString(reactor, "dualstack:0").listen(Limited()).addCallback(listening)
stdio.StandardIO(Input())
reactor.run()
