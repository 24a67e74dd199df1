"""Twisted's tests of UDP and multicast on the global reactor, whose methods are the endpoint's."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

from datagram_listening import RoutedDatagrams
from twisted.internet.epollreactor import EPollReactor
from twisted.internet.main import installReactor


class _Reactor(RoutedDatagrams, EPollReactor):
    pass


def cases(reactor: str, listened: Callable[[str], None]) -> list[type[Any]]:
    RoutedDatagrams.listened = staticmethod(listened)
    installReactor(_Reactor())
    module = importlib.import_module("twisted.test.test_udp")
    names = ("UDPTests", "ReactorShutdownInteractionTests", "MulticastTests", "MulticastTestsIPv6")
    # IPv6 multicast came with Twisted 25.
    found = [getattr(module, name) for name in names if hasattr(module, name)]
    # Some names are of before the underscore.
    return [
        type(
            case.__name__,
            (case,),
            {
                f"test_{name.removeprefix('test')}": getattr(case, name)
                for name in dir(case)
                if name.startswith("test") and name[4].isupper()
            },
        )
        for case in found
    ]
