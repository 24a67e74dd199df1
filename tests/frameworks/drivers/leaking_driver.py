"""An adapter that translates nothing, in either direction: what an application would do by itself
with a dual-stack socket."""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
import struct
import subprocess
import sys
from functools import partial
from pathlib import Path
from threading import Thread
from typing import Any

from dsadapter.testing import Driver, Report

V6ONLY = socket.IPPROTO_IPV6, socket.IPV6_V6ONLY
RECVPKTINFO = socket.IPPROTO_IPV6, getattr(socket, "IPV6_RECVPKTINFO", 49)


def names(connection: Any) -> dict[str, Any]:
    return {
        "peer": connection.getpeername,
        "local": connection.getsockname,
        "handle_peer": connection.getpeername,
        "handle_local": connection.getsockname,
        "texts": repr(connection),
    }


def dual_stack(kind: int) -> Any:
    sock = socket.socket(socket.AF_INET6, kind)
    sock.setsockopt(*V6ONLY, 0)
    return sock


class LeakingDriver(Driver):
    """A thread for each socket."""

    def __init__(self) -> None:
        self.sockets: list[Any] = []
        self.threads: list[Thread] = []
        self.closing = False

    def listen(
        self,
        host: str,
        port: int,
        report: Report,
        *,
        tls: str | None = None,
        descriptor: int | None = None,
        proxy: bool = False,
    ) -> list[Any]:
        if descriptor is None:
            server = dual_stack(socket.SOCK_STREAM)
            server.bind((host, port))
            server.listen()
        else:
            server = socket.socket(fileno=descriptor)
        if tls is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(tls)
            server = context.wrap_socket(server, server_side=True)
        self.run(partial(self.accept, server, report, proxy), server)
        return [server.getsockname()]

    def connect(self, host: str, port: int, report: Report, *, source: str | None = None) -> None:
        with dual_stack(socket.SOCK_STREAM) as connection:
            if source is not None:
                connection.bind((source, 0))
            connection.connect((host, port))
            report(**names(connection))
            connection.sendall(b"request")
            connection.recv(7, socket.MSG_WAITALL)

    def bind(
        self, host: str, port: int, report: Report, *, peer: tuple[str, int] | None = None
    ) -> Any:
        sock = dual_stack(socket.SOCK_DGRAM)
        sock.setsockopt(*RECVPKTINFO, 1)
        sock.bind((host, port))
        if peer is not None:
            sock.connect(peer)
            report(peer=sock.getpeername)
        sock.settimeout(0.05)
        self.run(partial(self.answer, sock, report), sock)
        return sock.getsockname()

    def send(
        self, data: bytes, address: tuple[str, int] | None, *, source: str | None = None
    ) -> None:
        if address is None:
            self.sockets[-1].send(data)
            return
        information = []
        if source is not None:
            packed = socket.inet_pton(socket.AF_INET6, source) + bytes(4)
            information = [(socket.IPPROTO_IPV6, socket.IPV6_PKTINFO, packed)]
        self.sockets[-1].sendmsg([data], information, 0, address)

    def join(self, group: str, interface: str) -> None:
        packed = socket.inet_pton(socket.AF_INET6, group)
        index = struct.pack("=I", socket.if_nametoindex(interface))
        self.sockets[-1].setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, packed + index)

    def close(self) -> None:
        self.closing = True
        for sock in self.sockets:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        for thread in self.threads:
            thread.join()
        for sock in self.sockets:
            sock.close()
        self.sockets, self.threads, self.closing = [], [], False

    def run(self, function: Any, sock: Any) -> None:
        self.sockets.append(sock)
        self.threads.append(Thread(target=function))
        self.threads[-1].start()

    def accept(self, server: Any, report: Report, proxy: bool) -> None:
        while True:
            try:
                connection, peer = server.accept()
            except OSError:
                return
            self.run(partial(self.echo, connection, peer, report, proxy), connection)

    def echo(self, connection: Any, peer: Any, report: Report, proxy: bool) -> None:
        connection, peer = self.prepared(connection, peer)
        shown = {"accepted": peer, **names(connection)}
        with connection, contextlib.suppress(OSError):
            if proxy:
                shown |= self.said(connection)
            report(**shown)
            while data := connection.recv(1000):
                connection.sendall(data)

    def prepared(self, connection: Any, peer: Any) -> tuple[Any, Any]:
        return connection, peer

    def said(self, connection: Any) -> dict[str, Any]:
        """What a PROXY header says, as it says it."""
        start = connection.recv(6)
        if start == b"PROXY ":
            line = b""
            while not line.endswith(b"\r\n"):
                line += connection.recv(1)
            _, *hosts, source, destination = line.decode().split()
        else:
            rest = connection.recv(10 + 36, socket.MSG_WAITALL)
            hosts = [socket.inet_ntop(socket.AF_INET6, rest[at : at + 16]) for at in (10, 26)]
            source, destination = struct.unpack("!HH", rest[42:])
        return {"peer": (hosts[0], int(source)), "local": (hosts[1], int(destination))}

    def answer(self, sock: Any, report: Report) -> None:
        while not self.closing:
            with contextlib.suppress(TimeoutError):
                data, messages, _, sender = sock.recvmsg(1000, 100)
                [(_, _, information)] = messages
                report(
                    source=sender,
                    destination=socket.inet_ntop(socket.AF_INET6, information[:16]),
                    interface=socket.if_indextoname(*struct.unpack("=I", information[16:])),
                )
                sock.sendto(data, sender)


class KernelsFormDriver(LeakingDriver):
    """Relies on ``IPV6_ADDRFORM`` alone."""

    def prepared(self, connection: Any, peer: Any) -> tuple[Any, Any]:
        with contextlib.suppress(OSError):
            connection.setsockopt(socket.IPPROTO_IPV6, 1, socket.AF_INET)
            # Another object of the family that the kernel says.
            connection = socket.socket(fileno=connection.detach())
            peer = connection.getpeername()
        return connection, peer


class LeavingDriver(LeakingDriver):
    """Leaves a worker that outlives it and has its standard error."""

    def __init__(self) -> None:
        super().__init__()
        worker = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        Path(os.environ["LEFT"]).write_text(str(worker.pid))
