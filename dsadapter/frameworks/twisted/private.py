"""Every private name of Twisted's that the package uses, looked up once.

A release may lack one. Each user of this module then goes another way, slower and as correct: the
error of an accept is waited out, a reactor adopts the listening socket.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from twisted.internet import tcp, udp


class AcceptRecovery(NamedTuple):
    """What ``tcp.Port`` deals with the errors of accepting by."""

    accept: Any
    """The accept loop, with EMFILE recovery."""
    buffers_logs: Any
    """Keeps log events back: an observer might take the descriptor that recovery gives up."""
    reserved_descriptor: Any


def _accept_recovery() -> AcceptRecovery | None:
    try:
        return AcceptRecovery(tcp._accept, tcp._BuffersLogs, tcp._reservedFD)
    except AttributeError:
        return None


ACCEPT_RECOVERY = _accept_recovery()
"""None where Twisted has no such names."""

TCP_PORT_TAKES_SOCKETS = hasattr(tcp.Port, "_preexistingSocket")
"""Whether a ``tcp.Port`` can be made around a listening socket."""

UDP_PORT_TAKES_SOCKETS = hasattr(udp.Port, "_preexistingSocket")
"""The same of a ``udp.Port``."""


def makes_addresses_itself(port: Any) -> bool:
    """Whether a port is a ``tcp.Port`` whose socket and addresses can be another's: it accepts by
    ``socket`` and makes an address by ``_buildAddr``, and both are Twisted's own."""
    kind = type(port)
    return issubclass(kind, tcp.Port) and all(
        name in vars(tcp.Port) and getattr(kind, name) is getattr(tcp.Port, name)
        for name in ("doRead", "_buildAddr")
    )


def make_addresses(port: Any, make: Any) -> None:
    """Have such a port make addresses by a function of ours."""
    port._buildAddr = make


def forget_reader(reactor: Any, number: int) -> None:
    """Have a reactor forget a descriptor that its poller does not know any more.

    ``EPollReactor.removeReader`` fails half way for one that was closed, or taken over by another
    socket.
    """
    known = getattr(reactor, "_reads", None)
    if isinstance(known, set):
        known.discard(number)
