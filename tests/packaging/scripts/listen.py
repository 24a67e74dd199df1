"""Find the parsers and listen with an endpoint string, both as any program does."""

import json
import socket

from twisted.internet import reactor
from twisted.internet.endpoints import serverFromString
from twisted.internet.interfaces import (
    IStreamClientEndpointStringParserWithReactor,
    IStreamServerEndpointStringParser,
)
from twisted.internet.protocol import Factory
from twisted.plugin import getPlugins
from twisted.plugins import dsadapter_endpoints


def parsers(interface):
    found = list(getPlugins(interface))
    return {
        name: parser.prefix for name, parser in vars(dsadapter_endpoints).items() if parser in found
    }


ports = []
serverFromString(reactor, "dualstack:0").listen(Factory()).addCallback(ports.append)
number = ports[0].getHost().port
peers = []
for host in ("127.0.0.1", "::1"):
    with socket.create_connection((host, number)) as connection:
        peers.append(connection.getpeername()[0])

print(
    json.dumps(
        {
            "server": parsers(IStreamServerEndpointStringParser),
            "client": parsers(IStreamClientEndpointStringParserWithReactor),
            "drop_in": dsadapter_endpoints.__file__,
            "peers": peers,
        }
    )
)
