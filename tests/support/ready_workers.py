"""What the worker processes of tests do with sockets that they are handed."""

from __future__ import annotations

import socket
from multiprocessing.connection import Connection
from typing import Any

from dsadapter.testing import RecordingPlugin, registered


def accept_one(listening: socket.socket, report: Connection) -> None:
    """Accept a connection and report what it looks like."""
    accepted, address = listening.accept()
    with listening, accepted:
        report.send((type(accepted).__name__, address, *names(accepted)))
        accepted.sendall(b"served")


def accept_and_record(listening: socket.socket, report: Connection) -> None:
    """The same, and what plugins of this process were told."""
    with registered(RecordingPlugin()) as recording:
        accepted, _ = listening.accept()
        with accepted:
            seen = names(accepted)
        listening.close()
        report.send(([event.hook for event in recording.events], seen))


def serve_one(accepted: socket.socket, report: Connection) -> None:
    """Answer on a connection that another process has accepted."""
    with accepted:
        report.send((type(accepted).__name__, accepted.gettimeout(), *names(accepted)))
        accepted.sendall(b"served")


def serve_what_comes(handed: Connection, report: Connection) -> None:
    """Answer on a connection that comes by a pipe."""
    serve_one(handed.recv(), report)


def names(sock: socket.socket) -> tuple[Any, Any]:
    """The peer's and its own."""
    return sock.getpeername(), sock.getsockname()
