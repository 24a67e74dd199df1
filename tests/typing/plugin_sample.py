"""A plugin as its author types it, under ``mypy --strict``; what is ignored has to be wrong."""

from __future__ import annotations

import socket
from collections.abc import Callable

from zope.interface import implementer, provider

from dsadapter import hookimpl
from dsadapter.doctor import Check, Finding, Question
from dsadapter.errors import PluginError, RefusedError
from dsadapter.frameworks import get_framework
from dsadapter.interfaces import IFrameworkAdapter, IListener, IServerEndpointFactory
from dsadapter.plugin import active_hooks, get_plugin_manager
from dsadapter.policy import DatagramPolicy, ListenMode, ListenPolicy
from dsadapter.records import Attempt, Connection, Direction, Family, Refusal
from dsadapter.sockets.listening import open_listening_sockets
from dsadapter.testing import RecordingPlugin, registered


class Watcher:
    """Implements every hook that is called while a program runs."""

    def __init__(self) -> None:
        self.listening: dict[IListener, ListenMode] = {}
        self.open: set[Connection] = set()

    @hookimpl
    def dsadapter_register_checks(self) -> Check:
        return Check("ports", "ports", self.look, limit=2.0)

    def look(self, question: Question) -> list[Finding]:
        return [Finding("ok", "asked for", subject=f"{port.number}") for port in question.ports]

    @hookimpl
    def dsadapter_before_bind(
        self, sock: socket.socket, policy: ListenPolicy | DatagramPolicy
    ) -> None:
        if policy.host == "0.0.0.0":
            raise PermissionError(f"{policy} is open to everybody")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)

    @hookimpl(tryfirst=True)
    def dsadapter_before_connect(self, attempt: Attempt) -> None:
        family: Family = attempt.family
        if family == "ipv4" and attempt.bind_address is None:
            raise PermissionError(f"{attempt.host} is not to be connected to")

    @hookimpl
    def dsadapter_listener_opened(self, listener: IListener) -> None:
        self.listening[listener] = listener.mode
        for address in listener.addresses():
            print(listener.framework, listener.policy.port, address[0])

    @hookimpl
    def dsadapter_listener_closed(self, listener: IListener) -> None:
        del self.listening[listener]

    @hookimpl
    def dsadapter_connection_made(self, connection: Connection) -> None:
        direction: Direction = connection.direction
        self.open.add(connection)
        print(direction, connection.translated, of(connection))
        print(connection.listener.policy)  # type: ignore[union-attr]
        connection.peer = ("192.0.2.1", 80)  # type: ignore[misc]

    @hookimpl
    def dsadapter_connection_lost(self, connection: Connection) -> None:
        self.open.remove(connection)

    @hookimpl
    def dsadapter_operation_refused(self, refusal: Refusal) -> None:
        name: str = refusal.plugin  # type: ignore[assignment]
        print(refusal.operation, refusal.address, name, refusal.reason)


def of(connection: Connection) -> str:
    """Who accepted it."""
    return "" if connection.listener is None else str(connection.listener.policy)


@provider(IServerEndpointFactory)
def blocking_server(runtime: object, policy: ListenPolicy) -> list[socket.socket]:
    """Listens at once, and tells plugins."""
    return [*open_listening_sockets(policy, active_hooks().before_bind).sockets]


@implementer(IFrameworkAdapter)
class Blocking:
    """A framework of its own."""

    name = "threads"
    requirement = "python"
    server = staticmethod(blocking_server)
    client = None
    datagram = None

    def is_available(self) -> bool:
        return True


@hookimpl
def dsadapter_register_frameworks() -> IFrameworkAdapter:
    return IFrameworkAdapter(Blocking())


def use() -> None:
    """What a program does with plugins."""
    manager = get_plugin_manager(block=["egress"])
    name: str = manager.register(Watcher())
    manager.unregister(name)
    with registered(RecordingPlugin(), "recording") as recording:
        refusals: list[Refusal] = recording.of("operation_refused")
    adapter = get_framework("threads")
    available: bool = adapter.is_available()
    requirement: int = adapter.requirement  # type: ignore[assignment]
    try:
        adapter.server(None, ListenPolicy("::", 0))  # type: ignore[misc]
        assert adapter.server is not None
        adapter.server(None, ListenPolicy("::", 0))
        adapter.server(None)  # type: ignore[call-arg]
    except RefusedError as error:
        print(error.plugin, error.reason, error.address)
    except PluginError as error:
        print(error.plugin)
    observer: Callable[[Connection], None] | None = active_hooks().connection_made
    print(refusals, available, requirement, observer)
