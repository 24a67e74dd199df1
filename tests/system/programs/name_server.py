"""A name server of ``twisted.names`` at one address: ``name_server.py ADDRESS ZONE``.

ZONE is a file in Python as ``twisted.names`` reads it. Names that begin with "broken" are answered
with SERVFAIL.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from twisted.internet import reactor as _reactor
from twisted.internet.defer import Deferred, fail
from twisted.names.authority import PySourceAuthority
from twisted.names.dns import PORT, DNSDatagramProtocol
from twisted.names.error import ResolverError
from twisted.names.server import DNSServerFactory

reactor: Any = _reactor


class Authority(PySourceAuthority):
    def _lookup(self, name: bytes, *args: Any, **kwargs: Any) -> Deferred[Any]:
        if name.startswith(b"broken"):
            # The errors for a response of another server all are DomainErrors, and so NXDOMAIN.
            return fail(ResolverError(name))
        return super()._lookup(name, *args, **kwargs)


address, zone = sys.argv[1:]
factory = DNSServerFactory(authorities=[Authority(zone)])
reactor.listenUDP(PORT, DNSDatagramProtocol(factory), interface=address)
reactor.listenTCP(PORT, factory, interface=address)
print(json.dumps({"address": address}), flush=True)
reactor.run()
