"""A driver for the conformance suite as its author types it, under mypy strict; what is ignored has
to be wrong."""

from __future__ import annotations

import socket
from collections.abc import Iterable
from typing import Any

from dsadapter.testing import Driver, Report
from dsadapter.testing.conformance import MAY_DECLINE, ConformanceSuite


class ServingDriver(Driver):
    """Serves one connection."""

    def __init__(self) -> None:
        self.server = socket.socket()

    def listen(
        self,
        host: str,
        port: int,
        report: Report,
        *,
        tls: str | None = None,
        descriptor: int | None = None,
        proxy: bool = False,
    ) -> Iterable[Any]:
        connection, peer = self.server.accept()
        report(accepted=peer, peer=connection.getpeername, texts=[repr(connection)])
        report(peer)  # type: ignore[call-arg]
        return [self.server.getsockname()]

    def connect(self, host: str, port: int, report: Report, *, source: str | None = None) -> None:
        raise NotImplementedError

    def bind(
        self, host: str, port: int, report: Report, *, peer: tuple[str, int] | None = None
    ) -> Any:
        raise NotImplementedError

    def send(
        self, data: bytes, address: tuple[str, int] | None, *, source: str | None = None
    ) -> None:
        raise NotImplementedError

    def join(self, group: int, interface: str) -> None:  # type: ignore[override]
        raise NotImplementedError

    def close(self) -> None:
        self.server.close()


class Serving(ConformanceSuite):
    driver = ServingDriver
    framework = "threads"
    declines = ("tls",)


class Wrong(ConformanceSuite):
    driver = ServingDriver()  # type: ignore[assignment]
    declines = 5  # type: ignore[assignment]


reason: str = MAY_DECLINE["tls"]
Driver()  # type: ignore[abstract]
