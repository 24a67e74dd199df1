"""Serve one connection of each family with a plugin that watches, and say what it was told."""

from __future__ import annotations

import json
import socket

from twisted.internet import reactor
from twisted.internet.endpoints import serverFromString
from twisted.internet.protocol import Factory, Protocol

from dsadapter.plugin import PluginManager
from dsadapter.testing import RecordingPlugin, registered


class Misspelt(RecordingPlugin):
    dsadapter_connexion_made = RecordingPlugin.dsadapter_connection_made


def message_about(plugin: object) -> str:
    try:
        PluginManager().register(plugin)
    except Exception as error:
        return str(error)
    return ""


def connect(port: int) -> None:
    for host in ("127.0.0.1", "::1"):
        socket.create_connection((host, port)).close()


with registered(RecordingPlugin()) as recording:
    listening = serverFromString(reactor, "dualstack:0").listen(Factory.forProtocol(Protocol))
    port = listening.result
    reactor.callInThread(connect, port.getHost().port)

    def poll() -> None:
        if len(recording.of("connection_lost")) < 2:
            reactor.callLater(0.01, poll)
        else:
            port.stopListening().addCallback(lambda _: reactor.stop())

    reactor.callWhenRunning(poll)
    reactor.run()

print(
    json.dumps(
        {
            "hooks": sorted(event.hook for event in recording.events),
            "peers": [connection.peer[0] for connection in recording.of("connection_made")],
            "refused": message_about(Misspelt()),
        }
    )
)
