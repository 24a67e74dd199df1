"""Twisted's tests of UDP ports, unmodified, on reactors whose ``listenUDP`` is the endpoint's; and
its mixins over the endpoint itself, on ``::``."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

from datagram_listening import RoutedDatagrams, listen_datagrams
from routing import routed
from twisted.internet.interfaces import IListeningPort
from twisted.internet.test import reactormixins
from twisted.trial.unittest import SynchronousTestCase

globals().update(routed(RoutedDatagrams))


def cases(reactor: str, listened: Callable[[str], None]) -> list[type[Any]]:
    RoutedDatagrams.listened = staticmethod(listened)
    # The module makes its test cases when it is imported.
    reactormixins.ReactorBuilder._reactors = [f"{__name__}.{reactor}"]
    module = importlib.import_module("twisted.internet.test.test_udp")

    class EndpointBuilder(
        reactormixins.ReactorBuilder,
        module.UDPPortTestsMixin,
        module.DatagramTransportTestsMixin,
    ):
        def getListeningPort(
            self,
            reactor: Any,
            protocol: Any,
            port: int = 0,
            interface: str = "",
            maxPacketSize: int = 8192,
        ) -> IListeningPort:
            return listen_datagrams(reactor, port, protocol, interface, maxPacketSize)

    made = [
        case
        for case in vars(module).values()
        if isinstance(case, type)
        and case.__module__ == module.__name__
        and issubclass(case, reactormixins.ReactorBuilder)
        and issubclass(case, SynchronousTestCase)
    ]
    return [*made, *EndpointBuilder.makeTestCaseClasses().values()]
