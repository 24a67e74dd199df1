"""Opens a datagram socket and says what became of it, and of what it was decided by."""

from __future__ import annotations

import gc
import json
import socket
import sys
from collections.abc import Callable
from typing import Any

from dsadapter.datagrams import DatagramPort
from dsadapter.listener import Listener
from dsadapter.policy import DatagramPolicy

assert "asyncio" not in sys.modules


def outcome(attempt: Callable[[], Any]) -> int:
    """Winsock's number of the error; 0 where there is none."""
    try:
        attempt()
    except OSError as error:
        return error.winerror or 0
    return 0


def set_option() -> None:
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_PKTINFO, 1)


said = {
    "probe": outcome(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).close()),
    "option": outcome(set_option),
}
policy = DatagramPolicy("::", 0)
port = DatagramPort(policy, Listener("none", policy))
got: list[Any] = []
try:
    port.open(got.extend, lambda: None, details=True)
except OSError as error:
    said |= {"refused": str(error), "winerror": getattr(error, "winerror", None)}
    sockets = (each for each in gc.get_objects() if isinstance(each, socket.socket))
    left_open = [repr(each) for each in sockets if each.fileno() != -1]
    print(json.dumps(said | {"left_open": left_open}), flush=True)
    sys.exit()
print(json.dumps(said | {"port": port.sock.getsockname()[1]}), flush=True)
port.sock.settimeout(60)
while True:
    while not got:
        port.read(1)
    data, address, info = got.pop()
    port.send(data, address)
    print(json.dumps({"peer": address[0], "destination": info.destination}), flush=True)
