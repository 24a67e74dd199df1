"""Count numbered datagrams; a line on standard input asks for a report, ``end`` for the end.

Each sender numbers its own from 0 on; what does not come in order is counted, too.
"""

from __future__ import annotations

import json
import socket
import struct
import sys
from typing import Any

from twisted.internet import epollreactor

epollreactor.install()

from twisted.internet import reactor, stdio  # noqa: E402
from twisted.internet.protocol import DatagramProtocol  # noqa: E402
from twisted.protocols.basic import LineReceiver  # noqa: E402

from dsadapter.frameworks.twisted import DualStackDatagramEndpoint  # noqa: E402

SO_MEMINFO = 55
DROPS = 8
"""The place of the drops in the array that SO_MEMINFO gets (``linux/sock_diag.h``)."""


class Counter(DatagramProtocol):
    def __init__(self) -> None:
        self.received: dict[str, int] = {}
        self.next: dict[str, int] = {}
        self.disorder = 0

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        host = addr[0]
        number = int.from_bytes(datagram[:4], "big")
        if number < self.next.get(host, 0):
            self.disorder += 1
        self.next[host] = number + 1
        self.received[host] = self.received.get(host, 0) + 1


class Control(LineReceiver):
    delimiter = b"\n"

    def lineReceived(self, line: bytes) -> None:
        if line == b"end":
            reactor.stop()
            return
        information = port.getHandle().getsockopt(socket.SOL_SOCKET, SO_MEMINFO, 36)
        names = ("received", "forged", "truncated", "without_packet_info", "unanswerable")
        report = {
            "by_host": counter.received,
            "disorder": counter.disorder,
            "dropped_by_kernel": struct.unpack("@9I", information)[DROPS],
            **{name: getattr(port.counters, name) for name in names},
        }
        print(json.dumps(report), flush=True)


counter = Counter()
ports: list[Any] = []
DualStackDatagramEndpoint(reactor, 0).listen(counter).addCallback(ports.append)
[port] = ports
stdio.StandardIO(Control())
print(json.dumps({"port": port.getHost().port}), flush=True)
sys.stdout.flush()
reactor.run()
