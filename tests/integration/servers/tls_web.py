"""A web server on the endpoint strings that are the arguments: its page says who asks, and by which
HTTP. One JSON line for each string has the port.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from twisted.internet import reactor
from twisted.internet.endpoints import serverFromString
from twisted.python import log
from twisted.web.resource import Resource
from twisted.web.server import Request, Site

reactor: Any


class Page(Resource):
    isLeaf = True  # noqa: N815

    def render_GET(self, request: Request) -> bytes:
        client, host = request.getClientAddress().host, request.getHost().host
        return f"{client} {host} {request.clientproto.decode()}".encode()


def listening(port: Any) -> None:
    print(json.dumps({"port": port.getHost().port}), flush=True)


log.startLogging(sys.stderr, setStdout=False)
for description in sys.argv[1:]:
    serverFromString(reactor, description).listen(Site(Page())).addCallback(listening)
reactor.run()
