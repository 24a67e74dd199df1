"""One client of the connect benchmark: ``python -I connect_cost.py NAME``.

Answers each line of its standard input, ``HOST PORT N``, with the CPU seconds that it takes to
connect so many times to an address literal, one connection after the other, and to close each.
"""

from __future__ import annotations

import gc
import sys
from time import process_time
from typing import Any

from twisted.internet import endpoints
from twisted.internet import reactor as _reactor
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory, Protocol
from twisted.python.failure import Failure

from dsadapter.frameworks.twisted import DualStackClientEndpoint

reactor: Any = _reactor
ENDPOINTS: dict[str, Any] = {
    "dualstack": DualStackClientEndpoint,
    "tcp4": endpoints.TCP4ClientEndpoint,
    "tcp6": endpoints.TCP6ClientEndpoint,
}


class Connection(Protocol):
    factory: Connections

    def connectionMade(self) -> None:
        self.transport.loseConnection()  # type: ignore[union-attr]

    def connectionLost(self, reason: Failure | None = None) -> None:
        self.factory.connect()


class Connections(Factory):
    protocol = Connection
    noisy = False

    def __init__(self, endpoint: Any, host: str, port: int, number: int) -> None:
        self._endpoint = endpoint
        self._target = host, port
        self._left = number
        self.finished: Deferred[None] = Deferred()

    def connect(self) -> None:
        if not self._left:
            self.finished.callback(None)
            return
        self._left -= 1
        # A new endpoint each time, as a client that is told where to connect to makes one.
        self._endpoint(reactor, *self._target).connect(self).addErrback(self.finished.errback)


async def answer(endpoint: Any) -> None:
    for line in sys.stdin:
        host, *numbers = line.split()
        connections = Connections(endpoint, host, *map(int, numbers))
        gc.collect()
        start = process_time()
        connections.connect()
        await connections.finished
        print(process_time() - start, flush=True)


def begin() -> None:
    done = Deferred.fromCoroutine(answer(ENDPOINTS[sys.argv[1]]))
    done.addErrback(lambda failure: failure.printTraceback(sys.stderr))
    done.addBoth(lambda _: reactor.stop())


if __name__ == "__main__":
    reactor.callWhenRunning(begin)
    reactor.run()
