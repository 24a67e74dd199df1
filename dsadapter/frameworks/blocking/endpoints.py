"""Endpoints as the framework registry makes them: a policy that opens when it is told to."""

from __future__ import annotations

from dataclasses import dataclass

from dsadapter.frameworks.blocking import client, datagram, server
from dsadapter.frameworks.blocking.translating import TranslatingSocket
from dsadapter.policy import ConnectPolicy, DatagramPolicy, ListenPolicy, canonical_target


@dataclass(frozen=True)
class ServerEndpoint:
    """Listens."""

    policy: ListenPolicy

    def listen(self) -> TranslatingSocket:
        """The socket; see :func:`~dsadapter.frameworks.blocking.server.create_server`."""
        return server.listen(self.policy)


@dataclass(frozen=True)
class ClientEndpoint:
    """Connects.

    :raises ValueError: naming what is wrong with the target.
    """

    target: tuple[str, int]
    policy: ConnectPolicy

    def __post_init__(self) -> None:
        object.__setattr__(self, "target", canonical_target(*self.target))

    def connect(self) -> TranslatingSocket:
        """The connection; see :func:`~dsadapter.frameworks.blocking.client.create_connection`."""
        return client.connect(self.target, self.policy)


@dataclass(frozen=True)
class DatagramEndpoint:
    """Exchanges datagrams."""

    policy: DatagramPolicy

    def bind(self) -> TranslatingSocket:
        """The socket; see :func:`~dsadapter.frameworks.blocking.datagram.bind`."""
        return datagram.bind(self.policy)
