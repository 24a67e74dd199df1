"""How the conformance suite uses an adapter; imports nothing of pytest's."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Any, Protocol


class Report(Protocol):
    """Tells the suite what an application sees, from whatever thread or forked process.

    Each keyword is a place where an address shows. A value is an address as the framework has it (a
    tuple, or an object with ``host`` and ``port``), a text, several texts in a list, None, or a
    function that gives one of these; its ``OSError`` counts as None.
    """

    def __call__(self, **places: Any) -> None:
        """Tell what some places show."""


class Driver(ABC):
    """Uses one adapter as an application would.

    The suite makes the driver, without arguments, in a process of its own and calls it from that
    process's main thread; an event loop runs in a thread that the driver starts. A method returns
    when what it is to do is done, and raises what the adapter raises. Hosts are given as text, in
    any spelling; port 0 leaves the choice to the system.
    """

    @abstractmethod
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
        """Serve connections: report each when it is made, and send back whatever comes until the
        peer ends.

        Places: ``accepted``, the address that comes with the connection; ``peer`` and ``local``,
        what the transport says; ``handle_peer`` and ``handle_local``, what the socket in it says;
        ``texts``, whatever shows an address, such as log prefixes and ``repr``.

        :param tls: a PEM file with key and certificate, to serve TLS.
        :param descriptor: a listening socket to adopt, in place of host and port.
        :param proxy: whether a PROXY header from 127.0.0.1 comes first.
        :returns: the addresses that the listening port shows.
        """

    @abstractmethod
    def connect(self, host: str, port: int, report: Report, *, source: str | None = None) -> None:
        """Connect, report the connection, send ``b"request"``, wait for 7 bytes, close.

        Places: as for :meth:`listen`, without ``accepted``.

        :param host: a name or an address.
        :param source: the local address to connect from.
        """

    @abstractmethod
    def bind(
        self, host: str, port: int, report: Report, *, peer: tuple[str, int] | None = None
    ) -> Any:
        """Exchange datagrams: report each, then send it back to where it came from.

        Places: ``source``, the sender; ``destination`` and ``interface``, texts of its packet
        information.

        :param peer: the only one to exchange datagrams with; report it when connected, as ``peer``.
        :returns: the local address.
        """

    @abstractmethod
    def send(
        self, data: bytes, address: tuple[str, int] | None, *, source: str | None = None
    ) -> None:
        """Send a datagram by what :meth:`bind` has opened last.

        :param address: None for the peer that it is connected to.
        :param source: the local address to send from.
        """

    @abstractmethod
    def join(self, group: str, interface: str) -> None:
        """Have what :meth:`bind` has opened last receive what is sent to a group.

        :param interface: an interface's name.
        """

    @abstractmethod
    def close(self) -> None:
        """Close everything that is open, and wait for it. The driver is used again."""
