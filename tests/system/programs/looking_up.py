"""Connect to names, all at once, and say what came of each as JSON.

``looking_up.py RESOLVER TIMEOUT PORT NAME...``: RESOLVER is ``default``, or ``by-family`` for
``resolver=reactor.nameResolver``; TIMEOUT is in seconds; ``N*NAME`` connects N times.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

from twisted.internet import reactor as _reactor
from twisted.internet.defer import DeferredList
from twisted.internet.protocol import Factory, Protocol

from dsadapter.frameworks.twisted import DualStackClientEndpoint

reactor: Any = _reactor
resolver, timeout, port, *names = sys.argv[1:]
outcomes: dict[str, list[str]] = {}


def connect(name: str) -> Any:
    options = {"resolver": reactor.nameResolver} if resolver == "by-family" else {}
    endpoint = DualStackClientEndpoint(reactor, name, int(port), timeout=float(timeout), **options)
    told = outcomes.setdefault(name, [])

    def connected(protocol: Any) -> None:
        told.append(protocol.transport.getPeer().host)
        protocol.transport.abortConnection()

    factory = Factory.forProtocol(Protocol)
    factory.noisy = False
    return endpoint.connect(factory).addCallbacks(
        connected, lambda failure: told.append(type(failure.value).__name__)
    )


def start() -> None:
    connecting = []
    for name in names:
        times, _, name = name.rpartition("*")
        connecting += [connect(name) for _ in range(int(times or 1))]
    DeferredList(connecting).addCallback(done)


def done(_: Any) -> None:
    print(json.dumps({"outcomes": outcomes}), flush=True)
    # A thread may still wait for an answer.
    os._exit(0)


reactor.callWhenRunning(start)
reactor.run()
