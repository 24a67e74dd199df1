"""Waiting for datagrams on Windows' Proactor loop: by a thread that selects, or by overlapped
receives.

An echo on one dual-stack socket with packet information; only what waits differs. The first
datagram of an overlapped receive comes with it, the others are taken as the thread's are, until
there is none.

- ``thread``: ``dsadapter.watcher``, by public calls alone.
- ``handle``: ``WSARecvMsg`` with an event, and the loop's wait for a handle.
- ``port``: ``WSARecvMsg`` on the loop's own completion port.

``PROGRAM=benchmarks/proactor_datagrams.py tests/platforms/in-wine 3.13`` runs it under Wine, whose
figures are Wine's.
"""

from __future__ import annotations

import asyncio
import ctypes
import importlib
import json
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

from dsadapter.frameworks.blocking import TranslatingSocket
from dsadapter.frameworks.selecting import watching_of
from dsadapter.sockets import winsock
from dsadapter.sockets.binding import DatagramSocket

ROUNDS = 3
TRIPS = {1: 400, 32: 1600}
"""Datagrams in flight: how many are sent in all."""
PAYLOAD = bytes(64)
CONTROL = 256
PENDING = 997
WINDOWS: Any = ctypes


class Overlapped(ctypes.Structure):
    _fields_ = (
        ("internal", ctypes.c_void_p),
        ("internal_high", ctypes.c_void_p),
        ("offset", ctypes.c_uint64),
        ("event", ctypes.c_void_p),
    )


class Echo:
    """Answers what waits; how it is woken is the subclass's."""

    def __init__(self, sock: Any) -> None:
        self.sock = sock

    def drain(self) -> None:
        while True:
            try:
                data, _, _, peer = self.sock.recvmsg(2048, CONTROL)
            except BlockingIOError:
                return
            self.answer(data, peer)

    def answer(self, data: bytes, peer: Any) -> None:
        self.sock.sendmsg([data], (), 0, peer)

    def begin(self) -> None:
        raise NotImplementedError

    def end(self) -> None:
        raise NotImplementedError


class ByThread(Echo):
    def begin(self) -> None:
        self.watching = watching_of(asyncio.get_running_loop())
        self.watching.add_reader(self.sock.fileno(), self.drain)

    def end(self) -> None:
        self.watching.remove_reader(self.sock.fileno())


class ByOverlapped(Echo):
    """One receive is under way."""

    def begin(self) -> None:
        self.loop: Any = asyncio.get_running_loop()
        self.ended = False
        buffer_kind, message_kind = winsock.structures()
        library = winsock._library()
        self.call = library._receiver(self.sock)
        self.data = ctypes.create_string_buffer(2048)
        self.control = ctypes.create_string_buffer(CONTROL)
        self.name = ctypes.create_string_buffer(28)
        self.one = buffer_kind(2048, ctypes.addressof(self.data))
        self.message = message_kind()
        self.message.name = ctypes.addressof(self.name)
        self.message.lpBuffers = ctypes.pointer(self.one)
        self.message.dwBufferCount = 1
        self.message.Control = buffer_kind(CONTROL, ctypes.addressof(self.control))
        self.received = ctypes.c_uint32()
        self.prepare()
        self.post()

    def prepare(self) -> None:
        raise NotImplementedError

    def post(self) -> None:
        raise NotImplementedError

    def receive(self, overlapped: Any) -> None:
        self.message.namelen = 28
        self.message.Control.len = CONTROL
        self.message.dwFlags = 0
        failed = self.call(
            self.sock.fileno(),
            ctypes.byref(self.message),
            ctypes.byref(self.received),
            overlapped,
            None,
        )
        error = WINDOWS.get_last_error() if failed else PENDING
        if error != PENDING:
            raise OSError(0, "WSARecvMsg", None, error)

    def completed(self, size: int) -> None:
        if self.ended:
            return
        raw = self.name.raw
        host = socket.inet_ntop(socket.AF_INET6, raw[8:24])
        self.answer(self.data.raw[:size], (host, int.from_bytes(raw[2:4], "big"), 0, 0))
        self.drain()
        self.post()

    def end(self) -> None:
        self.ended = True


class ByHandle(ByOverlapped):
    def prepare(self) -> None:
        self.kernel: Any = WINDOWS.WinDLL("kernel32", use_last_error=True)
        self.kernel.CreateEventW.restype = ctypes.c_void_p
        self.overlapped = Overlapped()
        self.overlapped.event = self.kernel.CreateEventW(None, 1, 0, None)

    def post(self) -> None:
        self.kernel.ResetEvent(ctypes.c_void_p(self.overlapped.event))
        self.receive(ctypes.byref(self.overlapped))
        waiting = self.loop._proactor.wait_for_handle(self.overlapped.event)
        waiting.add_done_callback(self.signalled)

    def signalled(self, waiting: Any) -> None:
        if not waiting.cancelled():
            self.completed(self.overlapped.internal_high or 0)


class ByPort(ByOverlapped):
    def prepare(self) -> None:
        self.loop._proactor._register_with_iocp(self.sock)

    def post(self) -> None:
        operation = importlib.import_module("_overlapped").Overlapped(0)
        self.receive(ctypes.c_void_p(operation.address))
        future = self.loop.create_future()
        kept = future, operation, self.sock, lambda size, key, overlapped: size
        self.loop._proactor._cache[operation.address] = kept
        future.add_done_callback(lambda done: done.cancelled() or self.completed(done.result()))


WAYS: dict[str, Callable[[Any], Echo]] = {
    "thread": ByThread,
    "handle": ByHandle,
    "port": ByPort,
}


def client(port: int, in_flight: int) -> None:
    """Keep so many datagrams in flight; print seconds a datagram."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(20)
        sock.connect(("127.0.0.1", port))
        sent = TRIPS[in_flight]
        begun = time.perf_counter()
        for _ in range(in_flight):
            sock.send(PAYLOAD)
        for index in range(sent):
            sock.recv(100)
            if index < sent - in_flight:
                sock.send(PAYLOAD)
        print(json.dumps((time.perf_counter() - begun) / sent))


async def measured(way: str, in_flight: int) -> tuple[float, float]:
    """Seconds, and this process's processor time, for one datagram."""
    with TranslatingSocket(type=socket.SOCK_DGRAM) as opened:
        opened.bind(("::", 0))
        port = opened.getsockname()[1]
        family, kind, proto, fd = opened.family, opened.type, opened.proto, opened.detach()
    sock = DatagramSocket(family, kind, proto, fd)
    sock.setblocking(False)
    echo = WAYS[way](sock)
    echo.begin()
    words = [sys.executable, __file__, "client", str(port), str(in_flight)]
    used = time.process_time()
    done = await asyncio.to_thread(subprocess.run, words, capture_output=True, text=True)
    used = time.process_time() - used
    echo.end()
    sock.close()
    await asyncio.sleep(0.1)
    if done.returncode:
        raise RuntimeError(done.stderr)
    return json.loads(done.stdout), used / TRIPS[in_flight]


def main() -> None:
    if sys.argv[1:2] == ["client"]:
        client(int(sys.argv[2]), int(sys.argv[3]))
        return
    found: dict[tuple[str, int], list[tuple[float, float]]] = {}
    for _ in range(ROUNDS):
        for in_flight in TRIPS:
            for way in WAYS:
                found.setdefault((way, in_flight), []).append(asyncio.run(measured(way, in_flight)))
    print("| waits by | in flight | µs a datagram | datagrams/s | CPU, µs a datagram |")
    print("| --- | --- | --- | --- | --- |")
    for (way, in_flight), figures in found.items():
        whole, used = (statistics.median(each) * 1e6 for each in zip(*figures, strict=True))
        print(f"| {way} | {in_flight} | {whole:.0f} | {1e6 / whole:.0f} | {used:.0f} |")


if __name__ == "__main__":
    main()
