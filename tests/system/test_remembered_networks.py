"""What is remembered of a name holds for the state that the network was in."""

from __future__ import annotations

from typing import Any

from support.listeners import RecordingFactory
from support.namespaces import connect_namespaces, namespace, needs_root
from support.reactors import Reactor
from support.resolvers import Scripted, Tried
from twisted.internet.address import IPv4Address, IPv6Address

from dsadapter.frameworks.twisted import DualStackClientEndpoint, DualStackServerEndpoint
from dsadapter.testing import registered

pytestmark = needs_root

PORT = 8080
IPV4, IPV6 = "10.1.0.2", "fd00:1::2"


def test_another_source_address_is_another_network(reactor: Reactor) -> None:
    reactor.installNameResolver(
        Scripted(IPv6Address("TCP", IPV6, PORT), IPv4Address("TCP", IPV4, PORT))
    )
    tried = Tried()

    def attempts() -> list[str]:
        endpoint = DualStackClientEndpoint(reactor, "name.example", PORT)
        protocol = reactor.result_of(endpoint.connect(RecordingFactory()))
        protocol.transport.abortConnection()
        reactor.until(lambda: protocol.factory.lost)
        return tried.since()

    with namespace() as near, namespace() as far, registered(tried, "tried"):
        connect_namespaces(near, far)
        far.add_addresses("wire", IPV4, IPV6)
        near.add_addresses("wire", "10.1.0.1", "fd00:1::1")
        with far.entered():
            listening = DualStackServerEndpoint(reactor, PORT, interface=IPV4).listen(
                RecordingFactory()
            )
            listener: Any = reactor.result_of(listening)
        with near.entered():
            assert attempts() == [IPV6, IPV4]
            assert attempts() == [IPV4]
            for removed, added in (
                ("fd00:1::1/64", "fd00:1::11"),
                ("10.1.0.1/24", "10.1.0.11"),
            ):
                near.run("ip", "address", "delete", removed, "dev", "wire")
                near.add_addresses("wire", added)
                assert attempts() == [IPV6, IPV4]
                assert attempts() == [IPV4]
            # Without a way there it fails at once, and that is a state as well.
            near.run("ip", "-6", "address", "flush", "dev", "wire", "scope", "global")
            assert attempts() == [IPV6, IPV4]
            assert attempts() == [IPV4]
            # Back where it has been before.
            near.add_addresses("wire", "fd00:1::11")
            assert attempts() == [IPV4]
        reactor.result_of(listener.stopListening())
