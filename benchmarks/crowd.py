"""Idle connections to one server: ``python -I crowd.py HOST PORT NUMBER``.

Prints a line when all are there, and ends with its standard input.
"""

from __future__ import annotations

import resource
import socket
import struct
import sys

_TIMEOUT = 30
_RESET = struct.pack("ii", 1, 0)


def connect(host: str, port: int) -> socket.socket:
    connected = socket.create_connection((host, port), _TIMEOUT)
    # A reset leaves no TIME_WAIT behind for the next round.
    connected.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    return connected


def main() -> None:
    host, port, number = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    crowd = [connect(host, port) for _ in range(number)]
    print("connected", flush=True)
    sys.stdin.read()
    for connected in crowd:
        connected.close()


if __name__ == "__main__":
    main()
