"""The suite for adapters on dsadapter-gevent, as its author would have it."""

from __future__ import annotations

import queue
import socket
import struct
import threading
from collections.abc import Callable
from typing import Any

import dsadapter_gevent as dual_stack
import gevent
import gevent.ssl

from dsadapter.testing import Driver, Report
from dsadapter.testing.conformance import ConformanceSuite


def names(sock: Any) -> dict[str, Any]:
    return {
        "peer": sock.getpeername,
        "local": sock.getsockname,
        "handle_peer": sock.getpeername,
        "handle_local": sock.getsockname,
        "texts": [repr(sock)],
    }


class GeventDriver(Driver):
    """A hub in a thread, which is told what to do by a queue."""

    def __init__(self) -> None:
        self.servers: list[Any] = []
        self.datagrams: list[Any] = []
        self.greenlets: list[Any] = []
        self.wanted: queue.SimpleQueue[tuple[Callable[[], Any], queue.SimpleQueue[Any]]]
        self.wanted = queue.SimpleQueue()
        started = threading.Event()
        threading.Thread(target=self._main, args=(started,), daemon=True).start()
        started.wait()

    def _main(self, started: threading.Event) -> None:
        self.watcher = gevent.get_hub().loop.async_()
        self.watcher.start(lambda: gevent.spawn(self._work))
        started.set()
        while True:
            gevent.sleep(3600)

    def _work(self) -> None:
        while not self.wanted.empty():
            function, answer = self.wanted.get()
            try:
                answer.put((function(), None))
            except BaseException as error:
                answer.put((None, error))

    def run(self, function: Callable[[], Any]) -> Any:
        answer: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self.wanted.put((function, answer))
        self.watcher.send()
        result, error = answer.get()
        if error is not None:
            raise error
        return result

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
        def echo(sock: Any, peer: Any) -> None:
            if tls is not None:
                context = gevent.ssl.SSLContext(gevent.ssl.PROTOCOL_TLS_SERVER)
                context.load_cert_chain(tls)
                context.sslsocket_class = dual_stack.SSLSocket
                sock = context.wrap_socket(sock, server_side=True)
            report(accepted=peer, **names(sock))
            try:
                while data := sock.recv(1000):
                    sock.sendall(data)
            except OSError:
                pass
            sock.close()

        server = self.run(lambda: dual_stack.serve(echo, host, port))
        self.servers.append(server)
        return list(server.addresses())

    def connect(self, host: str, port: int, report: Report, *, source: str | None = None) -> None:
        def request() -> None:
            local = None if source is None else (source, 0)
            sock = dual_stack.create_connection((host, port), source_address=local)
            report(**names(sock))
            sock.sendall(b"request")
            got = b""
            while len(got) < 7:
                got += sock.recv(100)
            sock.close()

        self.run(request)

    def bind(
        self, host: str, port: int, report: Report, *, peer: tuple[str, int] | None = None
    ) -> Any:
        def echo() -> None:
            while True:
                data, sender, info = sock.receive_datagram()
                report(source=sender, destination=info.destination, interface=info.interface_name)
                sock.sendto(data, sender)

        sock = self.run(lambda: dual_stack.bind(host, port))
        if peer is not None:
            self.run(lambda: sock.connect(peer))
            report(peer=sock.getpeername())
        self.datagrams.append(sock)
        self.greenlets.append(self.run(lambda: gevent.spawn(echo)))
        return sock.getsockname()

    def send(
        self, data: bytes, address: tuple[str, int] | None, *, source: str | None = None
    ) -> None:
        self.run(lambda: self.datagrams[-1].sendto(data, address, source=source))

    def join(self, group: str, interface: str) -> None:
        index = struct.pack("=I", socket.if_nametoindex(interface))
        sock = self.datagrams[-1].port.sock
        if ":" in group and "." not in group:
            packed = socket.inet_pton(socket.AF_INET6, group)
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, packed + index)
        else:
            packed = socket.inet_aton(group.rpartition(":")[2])
            option = socket.IP_ADD_MEMBERSHIP
            sock.setsockopt(socket.IPPROTO_IP, option, packed + bytes(4) + index)

    def close(self) -> None:
        def close() -> None:
            gevent.killall(self.greenlets)
            for server in self.servers:
                server.stop()
            for sock in self.datagrams:
                sock.close()
            self.servers, self.datagrams, self.greenlets = [], [], []

        self.run(close)


class TestGevent(ConformanceSuite):
    driver = GeventDriver
    declines = ("adopted_descriptor", "proxy_header")
