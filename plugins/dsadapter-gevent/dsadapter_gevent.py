"""gevent as a framework of dsadapter, by its public interface alone."""

from __future__ import annotations

import errno
import os
import socket
import sys
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import gevent
import gevent.event
import gevent.socket
import gevent.ssl
from zope.interface import moduleProvides, provider

from dsadapter import hookimpl
from dsadapter.addressing import unmap
from dsadapter.connector import Answer, Connector, Lookups, Outcomes, Unconnected, error_of
from dsadapter.datagrams import DatagramPort
from dsadapter.interfaces import (
    IClientEndpointFactory,
    IDatagramEndpointFactory,
    IFrameworkAdapter,
    IServerEndpointFactory,
)
from dsadapter.listener import Listener
from dsadapter.packetinfo import PacketInfo
from dsadapter.plugin import active_hooks
from dsadapter.policy import ConnectPolicy, DatagramPolicy, ListenPolicy, canonical_target

if TYPE_CHECKING:
    from dsadapter.doctor import Check, Finding, Question

__all__ = ["DatagramSocket", "SSLSocket", "Server", "Socket", "bind", "create_connection", "serve"]

moduleProvides(IFrameworkAdapter)

name = "gevent"
requirement = "dsadapter-gevent"

Address = tuple[Any, ...]
Handle = Callable[["Socket", Address], object]

_READ_AT_ONCE = 1 << 18
_ACCEPT_AGAIN = 1.0
_ACCEPTED_AT_ONCE = 100
_FAMILIES: dict[tuple[str, ...], int] = {("ipv4",): socket.AF_INET, ("ipv6",): socket.AF_INET6}
# A connection that a firewall rejects, or whose client has gone (accept(2)).
_ONE_CONNECTION = {errno.EPERM, errno.ECONNABORTED, errno.EPROTO, errno.EINTR}


class _CanonicalNames:
    def getpeername(self) -> Address:
        """As gevent's, canonical."""
        return _canonical(super().getpeername())  # type: ignore[misc]

    def getsockname(self) -> Address:
        """As gevent's, canonical."""
        return _canonical(super().getsockname())  # type: ignore[misc]

    def __repr__(self) -> str:
        names = []
        for word, ask in (("local", self.getsockname), ("peer", self.getpeername)):
            try:
                names.append(f" {word}={ask()!r}")
            except OSError:
                continue
        return f"<{type(self).__name__}{''.join(names)}>"


class SSLSocket(_CanonicalNames, gevent.ssl.SSLSocket):
    """What ``SSLContext.sslsocket_class`` is to be for a :class:`Socket` that is wrapped."""


class Socket(_CanonicalNames, gevent.socket.socket):
    """A gevent socket of a connection, with canonical names.

    :param sock: connected; it is taken over.
    :param lost: called when it is closed; None if nobody wants to know.
    """

    def __init__(self, sock: socket.socket, lost: Callable[[], None] | None) -> None:
        # Of the family that the kernel says: a connection with IPv4 may have become one of IPv4.
        super().__init__(fileno=sock.detach())
        self._lost = [lost] if lost is not None else []

    def close(self) -> None:
        """As gevent's."""
        super().close()
        while self._lost:
            self._lost.pop()()


def _canonical(address: Any) -> Address:
    return unmap(address) if isinstance(address, tuple) and len(address) == 4 else address


class Server:
    """Accepts, and calls a function in a greenlet for each connection, which it closes then.

    :param policy: what to listen on.
    :raises OSError: as ``bind``.
    :raises PluginError: if a plugin refuses.
    """

    def __init__(self, policy: ListenPolicy) -> None:
        self.life = Listener(name, policy)
        self._sockets = self.life.open()
        self._greenlets: list[gevent.Greenlet[..., Any]] = []
        self._over = gevent.event.Event()

    def addresses(self) -> Sequence[Address]:
        """Where it listens."""
        return self.life.addresses()

    def start(self, handle: Handle) -> None:
        """Accept from now on."""
        for sock in self._sockets:
            sock.setblocking(False)
            self._greenlets.append(gevent.spawn(self._accept, sock, handle))
        self.life.opened()

    def serve_forever(self) -> None:
        """Wait for :meth:`stop`."""
        try:
            self._over.wait()
        finally:
            self.stop()

    def stop(self) -> None:
        """Accept no more; connections live on."""
        gevent.killall(self._greenlets)
        for sock in self._sockets:
            sock.close()
        self._sockets = ()
        self.life.closed()
        self._over.set()

    def _accept(self, sock: Any, handle: Handle) -> None:
        at_once = 0
        while True:
            try:
                accepted, peer = sock.accept()
            except BlockingIOError:
                at_once = 0
                gevent.socket.wait_read(sock.fileno())
            except OSError as error:
                if error.errno not in _ONE_CONNECTION:
                    # No descriptor is left, for one.
                    gevent.sleep(_ACCEPT_AGAIN)
            else:
                gevent.spawn(self._serve, accepted, peer, handle)
                at_once += 1
                if at_once >= _ACCEPTED_AT_ONCE:
                    # Clients that never stop coming keep nobody from being served.
                    at_once = 0
                    gevent.sleep(0)

    def _serve(self, accepted: Any, peer: Address, handle: Handle) -> None:
        lost = None
        if self.life.hooks.connections is not None:
            lost = self.life.accepted(peer, accepted.getsockname())
        connection = Socket(accepted, lost)
        try:
            handle(connection, peer)
        finally:
            connection.close()


class _Waiting:
    """gevent's hub, as the connector knows it."""

    def __init__(self) -> None:
        self._loop = gevent.get_hub().loop

    def now(self) -> float:
        """Seconds on the hub's clock."""
        return float(self._loop.now())

    def call_later(self, seconds: float, function: Callable[[], object]) -> _Watch:
        """Call a function in a later turn of the hub."""
        return _Watch(self._loop.timer(seconds), function)

    def when_writable(self, sock: socket.socket, ready: Callable[[], object]) -> _Watch:
        """Call a function whenever a socket is writable."""
        return _Watch(self._loop.io(sock.fileno(), 2), ready)

    def look_up(self, host: str, families: Sequence[str], answer: Answer) -> _Asking:
        """Ask gevent's resolver."""
        return _Asking(gevent.spawn(self._ask, host, families, answer))

    def _ask(self, host: str, families: Sequence[str], answer: Answer) -> None:
        family = _FAMILIES.get(tuple(families), 0)
        failure: str | None = None
        try:
            for *_, address in gevent.socket.getaddrinfo(host, None, family, socket.SOCK_STREAM):
                answer.found(str(address[0]), address[3] if len(address) == 4 else 0)
        except Exception as error:
            failure = str(error) or type(error).__name__
        answer.done(failure)


class _Watch:
    def __init__(self, watcher: Any, function: Callable[[], object]) -> None:
        self._watcher = watcher
        watcher.start(function)

    def cancel(self) -> None:
        watcher, self._watcher = self._watcher, None
        if watcher is not None:
            watcher.stop()
            watcher.close()


class _Asking:
    def __init__(self, greenlet: gevent.Greenlet[..., Any]) -> None:
        self._greenlet = greenlet

    def cancel(self) -> None:
        self._greenlet.kill(block=False)


_remembered = Outcomes()


class DatagramSocket:
    """Exchanges datagrams with peers of both families.

    :param policy: what to bind.
    :raises OSError: as ``bind``.
    :raises PluginError: if a plugin refuses.
    """

    def __init__(self, policy: DatagramPolicy) -> None:
        self.port = DatagramPort(policy, Listener(name, policy))
        self._arrived: deque[tuple[bytes, Any, PacketInfo | None]] = deque()
        self._refused = False
        self.port.open(self._deliver, self._refuse, details=True)
        loop, fd = gevent.get_hub().loop, self.port.sock.fileno()
        self._readable, self._writable = loop.io(fd, 1), loop.io(fd, 2)
        self.port.life.opened()

    def _deliver(self, arrived: Iterator[Any]) -> None:
        self._arrived.extend(arrived)

    def _refuse(self) -> None:
        self._refused = True

    def getsockname(self) -> Address:
        """The canonical local address."""
        return self.port.local_address()

    def getpeername(self) -> Address:
        """The canonical address of the only peer.

        :raises OSError: if there is none.
        """
        return _canonical(self.port.sock.getpeername())

    def connect(self, address: tuple[str, int]) -> None:
        """Exchange datagrams with one peer only."""
        self.port.connect(*address)

    def receive_datagram(self) -> tuple[bytes, Any, PacketInfo | None]:
        """Payload, sender, and where it arrived.

        :raises ConnectionRefusedError: once, where the only peer has refused a datagram.
        :raises OSError: if it is closed, in this greenlet or in another one meanwhile.
        """
        while True:
            if self._refused:
                self._refused = False
                raise ConnectionRefusedError(errno.ECONNREFUSED, os.strerror(errno.ECONNREFUSED))
            if self._arrived:
                return self._arrived.popleft()
            if not self.port.is_open:
                raise _closed()
            rest = self.port.read(_READ_AT_ONCE)
            if self._arrived or self._refused:
                continue
            if rest:
                gevent.sleep(rest)
            else:
                gevent.socket.wait(self._readable)

    def recvfrom(self, size: int) -> tuple[bytes, Any]:
        """As ``socket.socket.recvfrom``."""
        data, sender, _ = self.receive_datagram()
        return data[:size], sender

    def sendto(
        self, data: bytes, address: tuple[str, int] | None = None, *, source: str | None = None
    ) -> int:
        """Send a datagram; to an address that came with one, from where that one arrived."""
        while True:
            try:
                sent = self.port.send(data, address, source)
                # What an earlier datagram met takes the place of this one's sending, once.
                return len(data) if sent is None else sent
            except BlockingIOError:
                gevent.socket.wait(self._writable)

    def close(self) -> None:
        """Close the socket; greenlets that wait for it get the ``OSError`` of a closed one."""
        if self.port.is_open:
            for watcher in (self._readable, self._writable):
                gevent.get_hub().cancel_wait(watcher, _closed(), True)
        self.port.close()


def _closed() -> OSError:
    return OSError(errno.EBADF, os.strerror(errno.EBADF))


def serve(handle: Handle, host: str, port: int, **options: Any) -> Server:
    """Listen on both families, and start to accept.

    :param host: as :class:`~dsadapter.policy.ListenPolicy` has it, and the options.
    """
    server = Server(ListenPolicy(host, port, **options))
    server.start(handle)
    return server


def create_connection(
    address: tuple[str, int],
    timeout: float | None = None,
    source_address: tuple[str, int] | None = None,
) -> Socket:
    """As ``gevent.socket.create_connection``, but the addresses of a name race (RFC 8305).

    :param timeout: seconds for the connect, and then for each operation of the socket.
    :raises OSError: whose text tells of every attempt.
    """
    policy = ConnectPolicy(timeout=timeout, bind_address=source_address)
    connection = _connect(canonical_target(*address), policy)
    if timeout is not None:
        connection.settimeout(timeout)
    return connection


def _connect(target: tuple[str, int], policy: ConnectPolicy) -> Socket:
    waiting = _Waiting()
    connector = Connector(name, waiting, active_hooks(), waiting.look_up, Lookups(), _remembered)
    ended: gevent.event.AsyncResult[Any] = gevent.event.AsyncResult()
    race = connector.race(target, policy, lambda *made: ended.set(made), ended.set)
    race.run()
    try:
        end: Any = ended.get()
    except BaseException:
        race.cancel()
        made: Any = ended.value
        if ended.ready() and not isinstance(made, Unconnected):
            made[0].close()
        raise
    if isinstance(end, Unconnected):
        raise error_of(end)
    sock, peer = end
    return Socket(sock, connector.connected(sock, peer))


def bind(host: str, port: int, **options: Any) -> DatagramSocket:
    """A UDP socket for both families.

    :param host: as :class:`~dsadapter.policy.DatagramPolicy` has it, and the options.
    """
    return DatagramSocket(DatagramPolicy(host, port, **options))


def is_available() -> bool:
    """Always: it is imported."""
    return True


@provider(IServerEndpointFactory)
def server(runtime: None, policy: ListenPolicy) -> Server:
    """A :class:`Server`, which listens already."""
    return Server(policy)


@provider(IClientEndpointFactory)
def client(runtime: None, target: tuple[str, int], policy: ConnectPolicy) -> Callable[[], Socket]:
    """A function that connects."""
    return lambda: _connect(target, policy)


@provider(IDatagramEndpointFactory)
def datagram(runtime: None, policy: DatagramPolicy) -> DatagramSocket:
    """A :class:`DatagramSocket`, which is bound already."""
    return DatagramSocket(policy)


@hookimpl
def dsadapter_register_frameworks() -> Any:
    """Contribute gevent."""
    return sys.modules[__name__]


@hookimpl
def dsadapter_register_checks() -> Check:
    """Tell ``dsadapter doctor`` how gevent waits."""
    from dsadapter.doctor import Check

    return Check("hub", "hub", _waits)


def _waits(question: Question) -> Finding:
    """Wait for a socket on a hub, as servers do."""
    from dsadapter.doctor import Finding

    loop = type(gevent.get_hub().loop)
    near, far = socket.socketpair()
    with near, far:
        far.sendall(b"?")
        try:
            gevent.socket.wait_read(near.fileno(), timeout=1.0)
        except OSError as error:
            fact = f"{loop.__module__} of gevent {gevent.__version__} does not wait: {error}"
            return Finding("problem", fact, f"{sys.executable} -m pip install -U gevent")
    return Finding("ok", f"gevent {gevent.__version__} waits by {loop.__module__}")
