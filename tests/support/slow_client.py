"""A client whose packets a test sends one by one: a handshake takes as long as it likes (root)."""

from __future__ import annotations

import contextlib
import socket
import struct
from collections.abc import Iterator

from support.namespaces import Namespace, connect_namespaces, namespace

SERVER, CLIENT = "10.0.0.1", "10.0.0.2"
SYN, RST, PSH, ACK = 0x02, 0x04, 0x08, 0x10
_TCP = struct.Struct("!HHIIBBHHH")
_PATIENCE = 20.0


class SlowClient:
    """One TCP connection, of frames on a wire: no kernel answers for it."""

    def __init__(self, wire: socket.socket, macs: bytes, port: int, own_port: int) -> None:
        self._wire = wire
        self._macs = macs
        self._ports = own_port, port
        self._sequence, self._next = 1000, 0

    def send(self, flags: int, data: bytes = b"") -> None:
        """Send one segment."""
        segment = _TCP.pack(*self._ports, self._sequence, self._next, 5 << 4, flags, 65535, 0, 0)
        ends = socket.inet_aton(CLIENT) + socket.inet_aton(SERVER)
        pseudo = ends + struct.pack("!BBH", 0, socket.IPPROTO_TCP, len(segment) + len(data))
        total = _checksum(pseudo + segment + data)
        segment = segment[:16] + struct.pack("!H", total) + segment[18:] + data
        header = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(segment), 0, 0, 64, 6, 0) + ends
        header = header[:10] + struct.pack("!H", _checksum(header)) + header[12:]
        self._wire.send(self._macs + b"\x08\x00" + header + segment)
        self._sequence += len(data) + bool(flags & SYN)

    def receive(self) -> tuple[int, bytes]:
        """The flags and the data of the next segment for this connection."""
        while True:
            frame = self._wire.recv(2000)
            if frame[12:14] != b"\x08\x00" or frame[23] != socket.IPPROTO_TCP:
                continue
            packet = frame[14 : 14 + int.from_bytes(frame[16:18], "big")]
            source, target, sequence, _, offset, flags, *_ = _TCP.unpack(packet[20:40])
            if (target, source) == self._ports:
                data = packet[20 + (offset >> 4) * 4 :]
                self._next = sequence + len(data) + bool(flags & SYN)
                return flags, data


@contextlib.contextmanager
def far_away() -> Iterator[tuple[Namespace, socket.socket, bytes]]:
    """Where a server is to listen, and what a client there takes: its wire and its addresses."""
    with namespace() as near, namespace() as far:
        connect_namespaces(near, far)
        near.add_addresses("wire", SERVER)
        macs = b""
        for place in (near, far):
            text = place.run("cat", "/sys/class/net/wire/address").strip()
            macs += bytes.fromhex(text.replace(":", ""))
        near.run("ip", "neigh", "add", CLIENT, "lladdr", text, "dev", "wire")
        # What the far kernel would answer itself.
        far.run("sysctl", "-qw", "net.ipv6.conf.all.disable_ipv6=1")
        with far.entered():
            wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0800))
            wire.bind(("wire", 0))
            wire.settimeout(_PATIENCE)
        with wire:
            yield near, wire, macs


def _checksum(data: bytes) -> int:
    """RFC 1071."""
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF
