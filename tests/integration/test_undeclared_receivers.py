"""Protocols for packet information that don't say so."""

from __future__ import annotations

from typing import Any

import pytest
from support.datagrams import Informed, Recorder
from support.reactors import Reactor
from twisted.logger import formatEvent, globalLogPublisher

from dsadapter.frameworks import get_framework
from dsadapter.frameworks.twisted import DualStackDatagramEndpoint
from dsadapter.policy import DatagramPolicy


class Undeclared(Recorder):
    """Its ``packetReceived`` is never called: the class does not declare the interface."""

    def packetReceived(self, data: bytes, addr: Any, info: Any) -> None:
        """For nobody."""


def words(reactor: Reactor, endpoint: Any, protocol: Any) -> str:
    """Everything that is said while a port is opened, with the error if it is refused."""
    lines: list[str] = []

    def observe(event: Any) -> None:
        lines.append(formatEvent(event))

    globalLogPublisher.addObserver(observe)
    try:
        port = reactor.result_of(endpoint.listen(protocol))
        reactor.result_of(port.stopListening())
    except Exception as error:
        lines.append(str(error))
    finally:
        globalLogPublisher.removeObserver(observe)
    return "\n".join(lines)


@pytest.mark.parametrize("interface", ["::", "127.0.0.1"])
def test_the_interface_to_declare_is_named(reactor: Reactor, interface: str) -> None:
    endpoint = DualStackDatagramEndpoint(reactor, 0, interface=interface)
    text = words(reactor, endpoint, Undeclared())
    assert "IPacketInfoReceiver" in text
    assert "Undeclared" in text


@pytest.mark.parametrize("protocol", [Informed, Recorder])
def test_nothing_is_said_of_the_others(reactor: Reactor, protocol: type[Recorder]) -> None:
    policy = DatagramPolicy("::", 0)
    endpoint = get_framework("twisted").datagram(reactor, policy)
    assert "IPacketInfoReceiver" not in words(reactor, endpoint, protocol())
