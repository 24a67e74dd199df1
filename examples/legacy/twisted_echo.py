"""Answers every line with the client's address: two listeners, one a family."""

import sys

from twisted.internet import protocol, reactor
from twisted.protocols import basic


class WhoAmI(basic.LineReceiver):
    def lineReceived(self, line):
        host = self.transport.getPeer().host
        # Where the IPv6 socket serves IPv4 too, its peers look like this.
        if host.startswith("::ffff:"):
            host = host[7:]
        self.sendLine(host.encode())


port = int(sys.argv[1])
factory = protocol.Factory.forProtocol(WhoAmI)
# IPv6 first: it may have the IPv4 port as well.
reactor.listenTCP(port, factory, interface="::")
reactor.listenTCP(port, factory)  # IPv4
print("listening", flush=True)
reactor.run()
