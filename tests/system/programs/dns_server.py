"""A DNS server of Twisted's, for one port over UDP and TCP: ``dns_server.py WAY PORT HOSTS``.

WAY is ``dsadapter``, or ``twisted`` for Twisted's own ports on ``::``.
"""

from __future__ import annotations

import sys
from typing import Any

from twisted.internet import reactor as _reactor
from twisted.names.dns import DNSDatagramProtocol
from twisted.names.hosts import Resolver
from twisted.names.server import DNSServerFactory
from twisted.python import log

from dsadapter.frameworks.twisted import DualStackDatagramEndpoint, DualStackServerEndpoint

reactor: Any = _reactor
way, port, hosts = sys.argv[1], int(sys.argv[2]), sys.argv[3]
log.startLogging(sys.stdout, setStdout=False)
factory = DNSServerFactory(clients=[Resolver(hosts)], verbose=2)
protocol = DNSDatagramProtocol(factory)
if way == "dsadapter":
    DualStackDatagramEndpoint(reactor, port).listen(protocol).addErrback(log.err)
    DualStackServerEndpoint(reactor, port).listen(factory).addErrback(log.err)
else:
    reactor.listenUDP(port, protocol, interface="::")
    reactor.listenTCP(port, factory, interface="::")
reactor.run()
