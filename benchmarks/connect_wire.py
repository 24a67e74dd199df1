"""The long wire of the connect benchmark: ``python -I connect_wire.py DEVICE SECONDS HOST...``.

Carries packets for these hosts through a TUN device, each way in so many seconds, to this very
machine: a packet to a host comes back as one from it, which a server here answers. Ends with its
standard input.
"""

from __future__ import annotations

import fcntl
import os
import socket
import struct
import sys
from collections import deque
from select import select
from time import monotonic

_TUNSETIFF = 0x400454CA
_TUN_WITHOUT_HEADER = 0x1001
_LARGEST = 65536
# By the version in the first byte: where the source address begins, and how long it is.
_PLACES = {4: (12, 4), 6: (8, 16)}


def turned(packet: bytes, hosts: set[bytes]) -> bytes | None:
    """With source and destination exchanged, which changes no checksum; None for other hosts."""
    start, length = _PLACES[packet[0] >> 4]
    middle, end = start + length, start + 2 * length
    source, destination = packet[start:middle], packet[middle:end]
    if destination not in hosts:
        return None
    return packet[:start] + destination + source + packet[end:]


def main() -> None:
    device, seconds, *names = sys.argv[1:]
    hosts = {
        socket.inet_pton(socket.AF_INET6 if ":" in name else socket.AF_INET, name) for name in names
    }
    tun = os.open("/dev/net/tun", os.O_RDWR)
    fcntl.ioctl(tun, _TUNSETIFF, struct.pack("16sH", device.encode(), _TUN_WITHOUT_HEADER))
    print("ready", flush=True)
    under_way: deque[tuple[float, bytes]] = deque()
    while True:
        timeout = max(0, under_way[0][0] - monotonic()) if under_way else None
        ready = select([tun, sys.stdin], [], [], timeout)[0]
        if sys.stdin in ready:
            return
        if tun in ready:
            packet = turned(os.read(tun, _LARGEST), hosts)
            if packet is not None:
                under_way.append((monotonic() + float(seconds), packet))
        while under_way and under_way[0][0] <= monotonic():
            os.write(tun, under_way.popleft()[1])


if __name__ == "__main__":
    main()
