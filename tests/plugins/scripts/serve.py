"""Listen, serve a client of each family, close, and print what happened and what was logged."""

import json
import logging
import socket

from twisted.internet import reactor, threads
from twisted.internet.defer import DeferredQueue, gatherResults, maybeDeferred
from twisted.internet.endpoints import serverFromString
from twisted.internet.protocol import Factory, Protocol
from twisted.python.failure import Failure

from dsadapter.plugin import get_plugin_manager

HOSTS = ("127.0.0.1", "::1")
messages = []


class Keeping(logging.Handler):
    def emit(self, record):
        messages.append(record.getMessage())


logging.getLogger().addHandler(Keeping())


class Echo(Protocol):
    def dataReceived(self, data):
        self.transport.write(data + self.transport.getPeer().host.encode())

    def connectionLost(self, reason):
        # The transport tells plugins right after.
        reactor.callLater(0, self.factory.lost.put, self)


def ask(port):
    answers = []
    for host in HOSTS:
        with socket.create_connection((host, port)) as client:
            client.sendall(b"served ")
            answers.append(client.recv(100).decode())
    return answers


def report(outcome):
    report = {"messages": messages, "served": None, "error": None}
    if isinstance(outcome, Failure):
        report["error"] = f"{outcome.type.__name__}: {outcome.getErrorMessage()}"
    else:
        report["served"] = outcome
    report["plugins"] = sorted(
        name
        for name, plugin in get_plugin_manager().plugins.items()
        if not getattr(plugin, "__name__", "").startswith("dsadapter.")
    )
    report["failures"] = dict(get_plugin_manager().failures)
    print(json.dumps(report))
    reactor.stop()


def serve():
    factory = Factory.forProtocol(Echo)
    factory.lost = DeferredQueue()
    return serverFromString(reactor, "dualstack:0").listen(factory)


def use(port):
    asked = threads.deferToThread(ask, port.getHost().port)
    lost = gatherResults([port.factory.lost.get() for _ in HOSTS])
    done = gatherResults([asked, lost])
    return done.addCallback(lambda result: port.stopListening().addCallback(lambda _: result[0]))


def begin():
    maybeDeferred(serve).addCallback(use).addBoth(report)


reactor.callWhenRunning(begin)
reactor.run()
