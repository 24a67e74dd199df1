"""Connect to one port of every host that is given, one after the other, and print what came of it.

``connect.py PORT HOST...``
"""

import json
import sys

from twisted.internet import defer, reactor
from twisted.internet.protocol import Factory, Protocol

from dsadapter.frameworks.twisted import DualStackClientEndpoint

port, hosts = int(sys.argv[1]), sys.argv[2:]
outcomes = {}


@defer.inlineCallbacks
def connect_to_all():
    for host in hosts:
        try:
            endpoint = DualStackClientEndpoint(reactor, host, port, timeout=5)
            protocol = yield endpoint.connect(Factory.forProtocol(Protocol))
        except Exception as error:
            outcomes[host] = {"error": f"{type(error).__name__}: {error}"}
        else:
            outcomes[host] = {"peer": protocol.transport.getPeer().host}
            protocol.transport.abortConnection()
    print(json.dumps(outcomes))
    reactor.stop()


reactor.callWhenRunning(connect_to_all)
reactor.run()
