"""Serve with a Twisted that has other private names, through a shortage of descriptors.

    python renamed.py OLD NEW

Prints one JSON object: the peers of the connections, in their order; how many lines were logged
while there was no descriptor; what was open in the end.
"""

from __future__ import annotations

import importlib.util
import json
import resource
import socket
import sys
from pathlib import Path
from typing import Any

old, new = sys.argv[1:]
spec = importlib.util.find_spec("twisted.internet.tcp")
assert spec is not None
assert spec.origin is not None
source = Path(spec.origin).read_text()
assert old in source
renamed = importlib.util.module_from_spec(spec)
sys.modules[spec.name] = renamed
exec(compile(source.replace(old, new), spec.origin, "exec"), vars(renamed))

from support.listeners import RecordingFactory, stop  # noqa: E402
from support.reactors import Reactor, open_descriptors  # noqa: E402
from twisted.logger import globalLogPublisher  # noqa: E402

from dsadapter.frameworks.twisted import DualStackServerEndpoint  # noqa: E402

before = open_descriptors()
reactor = Reactor()
factory = RecordingFactory()
port: Any = reactor.result_of(DualStackServerEndpoint(reactor, 0).listen(factory))
number = port.getHost().port


def client(host: str) -> socket.socket:
    return socket.create_connection((host, number))


clients = [client("127.0.0.1"), client("::1")]
reactor.until(lambda: len(factory.made) == 2)

events: list[Any] = []
clients += [client("127.0.0.1"), client("::1"), client("127.0.0.1")]
soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (1 + max(map(int, open_descriptors())), hard))
held = []
try:
    while True:
        held.append(socket.socket())
except OSError:
    pass
globalLogPublisher.addObserver(events.append)
for _ in range(50):
    reactor.iterate(0.001)
globalLogPublisher.removeObserver(events.append)
shortage = len(events)
resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
for each in held:
    each.close()
clients.append(client("127.0.0.1"))
last = clients[-1].getsockname()[1]
reactor.until(lambda: any(made.transport.getPeer().port == last for made in factory.made))

peers = [made.transport.getPeer().host for made in factory.made]
stop(reactor, port)
for each in clients:
    each.close()
reactor.until(lambda: len(factory.lost) == len(factory.made))
reactor.close()
print(
    json.dumps({"peers": peers, "logged": shortage, "left": len(open_descriptors()) - len(before)})
)
