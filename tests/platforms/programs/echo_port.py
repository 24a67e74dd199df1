"""A datagram port that answers everybody, and tells what it gets: ``echo_port.py REACTOR``.

REACTOR is ``select``, ``asyncio`` or ``iocp``. It ends with its standard input.
"""

from __future__ import annotations

import asyncio
import dataclasses
import importlib
import json
import sys
import threading
from typing import Any

from twisted.internet.protocol import DatagramProtocol
from twisted.python import log
from zope.interface import implementer

from dsadapter.frameworks.twisted import DualStackDatagramEndpoint
from dsadapter.interfaces import IPacketInfoReceiver


def tell(**what: Any) -> None:
    print(json.dumps(what), flush=True)


@implementer(IPacketInfoReceiver)
class Echo(DatagramProtocol):
    def packetReceived(self, data: bytes, addr: Any, info: Any) -> None:
        if data == b"counters":
            tell(counters=dataclasses.asdict(self.transport.counters))
            return
        arrived = info and {"destination": info.destination, "interface": info.interface_index}
        tell(data=data.decode(), peer=list(addr), info=arrived)
        self.transport.write(data, addr)


def install(name: str) -> Any:
    if name == "asyncio":
        from twisted.internet import asyncioreactor

        asyncioreactor.install(asyncio.SelectorEventLoop())
    else:
        kind = {"iocp": "iocpreactor"}.get(name, f"{name}reactor")
        importlib.import_module(f"twisted.internet.{kind}").install()
    from twisted.internet import reactor

    return reactor


def end_with_input(reactor: Any) -> None:
    sys.stdin.read()
    reactor.callFromThread(reactor.stop)


def main() -> None:
    log.startLogging(sys.stdout, setStdout=False)
    reactor = install(sys.argv[1])

    def listening(port: Any) -> None:
        tell(port=port.getHost().port, mode=port.mode)

    def failed(reason: Any) -> None:
        tell(error=str(reason.value))
        reactor.callLater(0, reactor.stop)

    DualStackDatagramEndpoint(reactor, 0).listen(Echo()).addCallbacks(listening, failed)
    threading.Thread(target=end_with_input, args=(reactor,), daemon=True).start()
    reactor.run()


main()
