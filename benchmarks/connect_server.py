"""The server of the connect benchmark: ``python -I connect_server.py PORT GREETING HOST...``.

Listens on every address, prints the ports, sends each client the greeting, which may be empty, and
waits for its end. Ends with its standard input.
"""

from __future__ import annotations

import resource
import socket
import struct
import sys
from selectors import EVENT_READ, DefaultSelector

_RESET = struct.pack("ii", 1, 0)
_BACKLOG = 2048


def listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.create_server((host, port), family=family, backlog=_BACKLOG)
    listening.setblocking(False)
    return listening


def main() -> None:
    port, greeting, *hosts = sys.argv[1:]
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
    selector = DefaultSelector()
    listening = [listen(host, int(port)) for host in hosts]
    for each in listening:
        selector.register(each, EVENT_READ)
    selector.register(sys.stdin, EVENT_READ)
    print(*(each.getsockname()[1] for each in listening), flush=True)
    while True:
        for key, _ in selector.select():
            if key.fileobj is sys.stdin:
                return
            ready = key.fileobj
            assert isinstance(ready, socket.socket)
            if ready in listening:
                try:
                    connected = ready.accept()[0]
                except OSError:
                    # A client that has gone already.
                    continue
                if greeting:
                    connected.send(greeting.encode())
                selector.register(connected, EVENT_READ)
            else:
                selector.unregister(ready)
                # A reset leaves no TIME_WAIT behind for the next round.
                ready.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                ready.close()


if __name__ == "__main__":
    main()
