"""Listen on an endpoint string and report every address that a stream connection shows.

Arguments: reactor, endpoint string, and how many descriptors the process may have (0: no limit).
A connection that sends ``tls`` is switched to TLS first.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import sys
from functools import partial
from pathlib import Path
from typing import Any

from twisted.internet import asyncioreactor, main

if sys.platform != "win32":
    import resource


def install_twisteds(name: str) -> None:
    importlib.import_module(f"twisted.internet.{name}reactor").install()


def install_on_uvloop() -> None:
    import uvloop

    asyncioreactor.install(uvloop.new_event_loop())


def install_foreign() -> None:
    """One with port and transport classes of its own."""
    sys.path.append(str(Path(__file__).parents[2]))
    from support.foreign_reactor import ForeignReactor

    class Running(ForeignReactor):
        def run(self) -> None:
            self.serving = True
            while self.serving:
                self.iterate(1)

        def stop(self) -> None:
            self.serving = False

    reactor = Running()
    main.installReactor(reactor)


INSTALLERS = {
    "asyncio": lambda: asyncioreactor.install(asyncio.SelectorEventLoop()),
    "foreign": install_foreign,
    "uvloop": install_on_uvloop,
}
INSTALLERS.get(sys.argv[1], partial(install_twisteds, sys.argv[1]))()

from twisted.internet import endpoints, error, protocol, reactor, ssl  # noqa: E402
from twisted.logger import formatEventAsClassicLogText, globalLogPublisher  # noqa: E402
from twisted.python import log  # noqa: E402


def say(**report: Any) -> None:
    print(json.dumps(report), flush=True)


def shown(address: Any) -> list[Any]:
    return [type(address).__name__, address.host]


class Witness(protocol.Protocol):
    def __init__(self, built_with: Any) -> None:
        self.built_with = built_with

    def dataReceived(self, data: bytes) -> None:
        if data == b"tls":
            self.transport.write(b"ready")
            self.transport.startTLS(self.factory.tls)
        else:
            log.msg("a line of the application")
            self.report()

    def report(self) -> None:
        transport = self.transport
        handle = transport.getHandle()
        # Twisted's own transports know theirs.
        listener = getattr(transport, "server", port)
        say(
            built_with=shown(self.built_with),
            client=list(transport.client),
            hostname=transport.hostname,
            logstr=transport.logstr,
            peer=shown(transport.getPeer()),
            host=shown(transport.getHost()),
            handle_names=[]
            if transport.TLS
            else [list(handle.getpeername()), list(handle.getsockname())],
            repr=repr(transport),
            tls=bool(transport.TLS),
            transport=[c.__module__ + "." + c.__qualname__ for c in type(transport).__mro__],
            listened=shown(listener.getHost()),
        )


class Factory(protocol.Factory):
    def buildProtocol(self, addr: Any) -> Witness:
        witness = Witness(addr)
        witness.factory = self
        return witness


def certificate() -> ssl.CertificateOptions:
    key = ssl.KeyPair.generate(size=2048)
    return key.selfSignedCert(1, CN="localhost").options()


def logged(event: dict[str, Any]) -> None:
    text = formatEventAsClassicLogText(event)
    if text is not None:
        say(log=text)


def listening(opened: Any) -> None:
    global port
    port = opened
    if limit := int(sys.argv[3]):
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
    say(
        port=port.getHost().port,
        host=shown(port.getHost()),
        interface=getattr(port, "interface", None),
        mode=getattr(port, "mode", None),
    )


def refused(failure: Any) -> None:
    failure.trap(error.CannotListenError)
    say(refused=str(failure.value), interface=failure.value.interface)
    reactor.stop()


port: Any = None
factory = Factory()
factory.noisy = False
factory.tls = certificate()
globalLogPublisher.addObserver(logged)
endpoints.serverFromString(reactor, sys.argv[2]).listen(factory).addCallbacks(listening, refused)
reactor.run()
