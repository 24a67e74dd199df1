"""Serve sockets that somebody else has opened.

    python inherited.py ENDPOINT
    python inherited.py datagrams INDEX

Prints a JSON object about the port, one about what a child of this process finds, and one for each
connection or datagram, which it echoes.
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

from twisted.internet import reactor
from twisted.internet.endpoints import serverFromString
from twisted.internet.protocol import DatagramProtocol, Factory, Protocol

from dsadapter.frameworks.twisted import DualStackDatagramEndpoint

CHILD = """
import json, os, stat
sockets = [fd for fd in os.listdir("/proc/self/fd") if os.path.exists(f"/proc/self/fd/{fd}")
           and stat.S_ISSOCK(os.stat(f"/proc/self/fd/{fd}").st_mode)]
print(json.dumps([[name for name in os.environ if name.startswith("LISTEN_")], sockets]))
"""


def say(**event: Any) -> None:
    print(json.dumps(event), flush=True)


class Echo(Protocol):
    def connectionMade(self) -> None:
        handle = self.transport.getHandle()
        say(
            peer=self.transport.getPeer().host,
            host=self.transport.getHost().host,
            raw=handle.getpeername()[0],
        )

    def dataReceived(self, data: bytes) -> None:
        self.transport.write(data)


class EchoDatagrams(DatagramProtocol):
    def datagramReceived(self, data: bytes, addr: Any) -> None:
        say(peer=addr[0], data=data.decode())
        self.transport.write(data, addr)


def listening(port: Any) -> None:
    if hasattr(port, "mode"):
        say(mode=port.mode, addresses=[list(address[:2]) for address in port.addresses()])
    else:
        say(host=port.getHost().host)
    found = subprocess.run(
        [sys.executable, "-c", CHILD],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        close_fds=False,
        check=True,
    )
    say(child=json.loads(found.stdout))


if sys.argv[1] == "datagrams":
    endpoint: Any = DualStackDatagramEndpoint.inherited(reactor, systemd=int(sys.argv[2]))
    listened = endpoint.listen(EchoDatagrams())
else:
    endpoint = serverFromString(reactor, sys.argv[1])
    listened = endpoint.listen(Factory.forProtocol(Echo))


def failed(failure: Any) -> None:
    say(failed=failure.getErrorMessage())
    reactor.stop()


listened.addCallbacks(listening, failed)
reactor.run()
