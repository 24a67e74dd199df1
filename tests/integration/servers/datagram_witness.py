"""Listen for datagrams, answer each, and say which came from whom.

Arguments: the interface, how the reactor is called, and how to fall back, if that is chosen.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

from twisted.internet import asyncioreactor, epollreactor, pollreactor, selectreactor

REACTORS = {
    "asyncio": asyncioreactor,
    "epoll": epollreactor,
    "poll": pollreactor,
    "select": selectreactor,
}
REACTORS[sys.argv[2]].install()

from twisted.internet import reactor  # noqa: E402
from twisted.internet.error import CannotListenError  # noqa: E402
from twisted.internet.protocol import DatagramProtocol  # noqa: E402
from twisted.logger import formatEventAsClassicLogText, globalLogPublisher  # noqa: E402
from zope.interface import implementer  # noqa: E402

from dsadapter.frameworks.twisted import DualStackDatagramEndpoint  # noqa: E402
from dsadapter.interfaces import IPacketInfoReceiver  # noqa: E402


def say(**report: Any) -> None:
    print(json.dumps(report), flush=True)


def descriptors() -> set[str]:
    return {fd for fd in os.listdir("/proc/self/fd") if os.path.exists(f"/proc/self/fd/{fd}")}


@implementer(IPacketInfoReceiver)
class Witness(DatagramProtocol):
    def packetReceived(self, data: bytes, addr: Any, info: Any) -> None:
        self.transport.write(data, addr)
        say(
            peer=addr,
            destination=info and info.destination,
            without_packet_info=self.transport.counters.without_packet_info,
        )

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        raise AssertionError("packetReceived is called instead")


def listening(port: Any) -> None:
    port.setLoopbackMode(0)
    port.setTTL(2)
    say(port=port.getHost().port, host=port.getHost().host, mode=port.mode)


def refused(failure: Any) -> None:
    failure.trap(CannotListenError)
    error = failure.value.socketError
    say(
        refused=str(failure.value),
        error=type(error).__name__,
        errno=error.errno,
        left_open=sorted(descriptors() - before),
    )
    reactor.stop()


def logged(event: dict[str, Any]) -> None:
    text = formatEventAsClassicLogText(event)
    if text is not None:
        say(log=text)


before = descriptors()
globalLogPublisher.addObserver(logged)
options = {"fallback": sys.argv[3]} if len(sys.argv) > 3 else {}
DualStackDatagramEndpoint(reactor, 0, interface=sys.argv[1], **options).listen(
    Witness()
).addCallbacks(listening, refused)
reactor.run()
