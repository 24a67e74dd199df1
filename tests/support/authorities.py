"""A name server that answers as a test tells it to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from twisted.internet import udp
from twisted.internet.defer import Deferred, fail, succeed
from twisted.names import client, dns, error, server

from support.reactors import Reactor

SILENCE = "silence"
SERVFAIL = "SERVFAIL"
NXDOMAIN = "NXDOMAIN"

Answer = Sequence[str] | str
"""Addresses, of which there may be none, or one of the words above."""


class Zone:
    """Names and their answers, A and AAAA; a mapped address is one for AAAA."""

    def __init__(self, names: Mapping[str, Mapping[int, Answer]]) -> None:
        self.names = names
        self.asked: list[tuple[str, int]] = []

    def query(self, query: dns.Query, timeout: Any = None) -> Deferred[Any]:
        name = query.name.name.decode("ascii")
        self.asked.append((name, query.type))
        answer = self.names.get(name, {}).get(query.type, ())
        if answer == SILENCE:
            return Deferred()
        if answer == SERVFAIL:
            return fail(error.DNSServerError())
        if answer == NXDOMAIN or name not in self.names:
            return fail(error.DNSNameError())
        record = dns.Record_A if query.type == dns.A else dns.Record_AAAA
        headers = [
            dns.RRHeader(name, query.type, payload=record(address, ttl=1)) for address in answer
        ]
        return succeed((headers, [], []))


class QuietServerFactory(server.DNSServerFactory):
    """Does not log the SERVFAIL that it was told to give."""

    def gotResolverError(self, failure: Any, protocol: Any, message: Any, address: Any) -> None:
        is_unknown = failure.check(error.DNSNameError)
        code = dns.ENAME if is_unknown else dns.ESERVER
        self.sendReply(protocol, self._responseFromMessage(message=message, rCode=code), address)


@contextmanager
def authority(reactor: Reactor, zone: Zone) -> Iterator[client.Resolver]:
    """A resolver that asks a server on loopback, which answers from a zone."""
    factory = QuietServerFactory(clients=[zone])
    port = reactor.listenUDP(0, dns.DNSDatagramProtocol(factory, reactor), "127.0.0.1")
    yield client.Resolver(servers=[("127.0.0.1", port.getHost().port)], reactor=reactor)
    # The resolver's own as well: it keeps one for a question that has been withdrawn.
    for reader in reactor.getReaders():
        if isinstance(reader, udp.Port):
            stopping = reader.stopListening()
            if stopping is not None:
                reactor.result_of(stopping)
