"""A name server at 127.0.0.1 whose answer for each family is in the name that is asked.

``A-AAAA.example``: the first part is about A, the second about AAAA: ``good``, ``silent`` or
``broken``, which is SERVFAIL; a part after that makes a name one of several. A line on standard
input is answered with the questions so far.
"""

from __future__ import annotations

import json
from typing import Any

from twisted.internet import reactor as _reactor
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.stdio import StandardIO
from twisted.names import dns
from twisted.names.error import ResolverError
from twisted.names.server import DNSServerFactory
from twisted.protocols.basic import LineReceiver

reactor: Any = _reactor
asked: list[tuple[str, str]] = []
RECORDS = {
    dns.A: ("A", dns.Record_A("127.0.0.1", ttl=0)),
    dns.AAAA: ("AAAA", dns.Record_AAAA("::1", ttl=0)),
}


class Selective:
    def query(self, query: Any, timeout: Any = None) -> Deferred[Any]:
        name = query.name.name.decode("ascii").lower()
        if query.type not in RECORDS:
            return succeed(([], [], []))
        kind, record = RECORDS[query.type]
        asked.append((name, kind))
        answer = dict(zip(("A", "AAAA"), name.partition(".")[0].split("-"), strict=False))[kind]
        if answer == "silent":
            return Deferred()
        if answer == "broken":
            return fail(ResolverError(name))
        if answer == "late":
            late: Deferred[Any] = Deferred()
            reactor.callLater(0.2, late.errback, ResolverError(name))
            return late
        header = dns.RRHeader(query.name.name, query.type, payload=record, ttl=0)
        return succeed(([header], [], []))


class Questions(LineReceiver):
    delimiter = b"\n"

    def lineReceived(self, line: bytes) -> None:
        print(json.dumps({"asked": asked}), flush=True)


factory = DNSServerFactory(clients=[Selective()])
factory.noisy = False
reactor.listenUDP(dns.PORT, dns.DNSDatagramProtocol(factory), interface="127.0.0.1")
StandardIO(Questions())
print(json.dumps({"serves": True}), flush=True)
reactor.run()
