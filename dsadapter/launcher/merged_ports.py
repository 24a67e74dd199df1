"""Two of Twisted's ports on one port number with one factory, as two faces of one socket.

The IPv6 port has the dual-stack socket, and reads it for both.
"""

from __future__ import annotations

import os
import socket
from typing import Any, cast
from weakref import WeakValueDictionary

from twisted.internet import tcp
from twisted.internet.error import CannotListenError, ConnectionDone
from twisted.internet.interfaces import IReadDescriptor
from twisted.python.failure import Failure
from zope.interface import implementer

from dsadapter.frameworks.twisted import DualStackServerEndpoint, private
from dsadapter.frameworks.twisted.server.stream_port import StreamPort
from dsadapter.handover.parking import pass_over
from dsadapter.launcher import merging
from dsadapter.launcher.listing import Entry, end, forget, list_entry
from dsadapter.launcher.methods import listeners
from dsadapter.launcher.report import say
from dsadapter.listener import announced_elsewhere
from dsadapter.policy import Family
from dsadapter.sockets.canonical import CanonicalSocket
from dsadapter.sockets.listening import Listening

_ports: WeakValueDictionary[tuple[int, Family], Any] = WeakValueDictionary()
"""The ports on wildcard addresses that may become faces, by number and family."""

_ALL = 4096
"""More than any queue has."""

_leftovers: dict[int, list[_Leftover]] = {}


class IPv4Port(tcp.Port):
    """A port on ``0.0.0.0``, which the IPv6 port reads for while they are faces."""

    _pair: _Pair | None = None

    def startReading(self) -> None:
        """Accept connections."""
        if self._pair is None:
            super().startReading()  # type: ignore[no-untyped-call]
        else:
            self._pair.read("ipv4", True)

    def stopReading(self) -> None:
        """Leave connections in the backlog; of two faces, once both do."""
        if self._pair is None:
            super().stopReading()  # type: ignore[no-untyped-call]
        else:
            self._pair.read("ipv4", False)

    def connectionLost(self, reason: Failure) -> None:
        """Close the socket; the other face goes on without IPv4."""
        number = self._realPortNumber
        super().connectionLost(reason)  # type: ignore[no-untyped-call]
        pair, self._pair = self._pair, None
        if pair is not None:
            pair.ipv4_closed()
        elif number:
            _drop(number)


class IPv6Port(StreamPort):
    """A port on ``::``, which has the socket of both while they are faces."""

    launched: Entry | None = None
    """What the launcher has listed it as."""
    _pair: _Pair | None = None
    _joined: _Joining | None = None
    _refuses: merging.Refusing | None = None

    def _open(self) -> Any:
        if self._joined is None:
            return super()._open()
        return self._life.open(self._joined.open)

    def startReading(self) -> None:
        """Accept connections."""
        if self._pair is None:
            super().startReading()
        else:
            self._pair.read("ipv6", True)

    def stopReading(self) -> None:
        """Leave connections in the backlog; of two faces, once both do."""
        if self._pair is None:
            super().stopReading()
        else:
            self._pair.read("ipv6", False)

    def connectionLost(self, reason: Failure) -> None:
        """Close the socket; the other face goes on by its own."""
        pair = self._pair
        number = self._realPortNumber
        if pair is None or not self.connected:
            super().connectionLost(reason)
            if number and not self.connected:
                _drop(number)
            return
        if self.disconnecting and pair.goes_on():
            self._pair = None
            pair.ipv6_closes()
            super().connectionLost(reason)
            return
        super().connectionLost(reason)
        if not self.connected:
            self._pair = None
            pair.ends(reason)
            if number:
                _drop(number)

    def doRead(self, listening: Any = None) -> None:
        """Accept connections."""
        super().doRead(listening or cast(Any, self._refuses))

    def take(self, sock: CanonicalSocket) -> Any:
        """Have another socket from now on; the one so far is the caller's."""
        old, self._refuses = self.socket, None
        StreamPort.stopReading(self)
        self.socket = sock
        self.fileno = sock.fileno  # type: ignore[method-assign]
        return old


_KINDS: dict[Family, type] = {"ipv4": IPv4Port, "ipv6": IPv6Port}


class IPv6Endpoint(DualStackServerEndpoint):
    """Opens an :class:`IPv6Port`."""

    @staticmethod
    def _port_class(way: Any) -> Any:
        known = DualStackServerEndpoint._port_class(way)
        return IPv6Port if known is StreamPort else known


class _Pair:
    """Two ports that are faces.

    :param spare: the IPv6 face's own socket.
    """

    def __init__(self, ipv4: IPv4Port, ipv6: IPv6Port, spare: CanonicalSocket, port: int) -> None:
        self._ipv4 = ipv4
        self._ipv6 = ipv6
        self._spare = spare
        self._port = port
        self._listed: dict[Family, Entry] = {}
        self._reading: set[Family] = {"ipv4", "ipv6"}
        # Another one has the same sockets.
        self._process = os.getpid()

    def merged(self, listed: dict[Family, Entry]) -> None:
        """Say so.

        :param listed: the entries of ports that have one.
        """
        merging.says_merged(self._port, "one factory", listed)
        self._listed = listed

    def read(self, family: Family, reads: bool) -> None:
        """One face reads, or leaves connections in the backlog."""
        before = bool(self._reading)
        (self._reading.add if reads else self._reading.discard)(family)
        if self._reading and not before:
            StreamPort.startReading(self._ipv6)
        elif self._reading and (self._ipv4 if family == "ipv4" else self._ipv6).disconnecting:
            self._ipv6._refuses = merging.Refusing(self._ipv6.socket, family)
        elif before and not self._reading:
            StreamPort.stopReading(self._ipv6)

    def goes_on(self) -> bool:
        """Whether the IPv4 face does without the other."""
        ipv4 = self._ipv4
        alive = bool(ipv4.connected) and not ipv4.disconnecting
        return alive and self._process == os.getpid()

    def ipv4_closed(self) -> None:
        """The IPv6 face takes the socket of its own."""
        ipv6, spare = self._ipv6, self._spare
        if ipv6._pair is not self:
            return
        if ipv6.disconnecting or not ipv6.connected or self._process != os.getpid():
            return
        try:
            with merging.sharing(ipv6.socket, spare):
                spare.listen(ipv6.backlog)
        except OSError as error:
            say(f"{merging.name('ipv4', self._port)} resets its connections: {error.strerror}")
            ipv6._refuses = merging.Refusing(ipv6.socket, "ipv4")
            return
        ipv6._pair = None
        old = ipv6.take(spare)
        ipv6._life.mode = "ipv6"
        end(self._listed["ipv4"])
        entry = self._listed["ipv6"]
        entry.serves, entry.done, entry.why = "ipv6", "left", merging.alone("ipv4", self._port)
        list_entry(entry)
        if "ipv6" in self._reading:
            ipv6.startReading()
        _Leftover(ipv6, old, "ipv4", self._port).look()

    def ipv6_closes(self) -> None:
        """The IPv4 face takes the socket of its own, and the other one's is the last it closes."""
        ipv4, ipv6 = self._ipv4, self._ipv6
        ipv4._pair = None
        forget(self._listed["ipv4"])
        merging.settle(ipv4.socket, "left", merging.alone("ipv6", self._port))
        try:
            with merging.sharing(ipv6.socket, ipv4.socket):
                ipv4.socket.listen(ipv4.backlog)
        except OSError as error:
            say(f"{merging.name('ipv4', self._port)} is closed, too: {error.strerror}")
        else:
            if "ipv4" in self._reading:
                ipv4.startReading()
        _Leftover(ipv6, ipv6.take(self._spare), "ipv6", self._port).look()

    def ends(self, reason: Failure) -> None:
        """The reactor ends, or the socket has failed."""
        self._spare.close()
        for entry in self._listed.values():
            end(entry)
        if self._ipv4.connected and not self._ipv4.disconnecting:
            self._ipv4.connectionLost(reason)


class _Joining:
    """What an IPv6 port opens beside an IPv4 port that listens."""

    spare: CanonicalSocket
    face: Any

    def __init__(self, ipv4: IPv4Port, ipv6: IPv6Port, port: int) -> None:
        self._ipv4 = ipv4
        self._ipv6 = ipv6
        self._port = port

    def open(self, hooks: Any) -> Listening:
        policy, check = self._ipv6.policy, hooks.before_bind
        sockets: list[Any] = []
        try:
            new = merging.dual(
                CanonicalSocket,
                self._port,
                self._ipv4.socket,
                None if check is None else lambda sock: check(sock, policy),
            )
            sockets.append(new)
            with merging.sharing(new):
                self.spare = merging.face(CanonicalSocket, "ipv6", self._port)
                sockets.append(self.spare)
                self.face = merging.face(socket.socket, "ipv4", self._port)
                sockets.append(self.face)
                new.listen(policy.backlog + self._ipv4.backlog)
        except BaseException:
            for sock in sockets:
                sock.close()
            raise
        return Listening("dual-stack", (new,), None)


def listen_ipv4(reactor: Any, port: int, factory: Any, backlog: int, interface: str) -> IPv4Port:
    """As ``listenTCP``, of a port that may become a face."""
    made = IPv4Port(port, factory, backlog, interface, reactor)
    made.startListening()
    return made


def remember(port: Any, family: Family) -> None:
    """A port on a wildcard address listens, and may become a face if it is one of those above."""
    kind: type = type(port)
    if private.TCP_PORT_TAKES_SOCKETS and kind is _KINDS[family]:
        _ports[port.getHost().port, family] = port


def join(reactor: Any, port: int, factory: Any, backlog: int, family: Family) -> Any:
    """A second port of a number and a factory, if there is a first one.

    :returns: the port; None for one that stays by itself.
    """
    first = _ports.get((port, merging.OTHER[family])) if port else None
    if first is None or not first.connected or first.disconnecting or first._pair is not None:
        return None
    if first.factory is not factory or first.reactor is not reactor:
        return None
    try:
        if family == "ipv4":
            return _join_ipv4(first, port, backlog)
        return _join_ipv6(first, port, backlog)
    except CannotListenError as error:
        merging.says_not_merged(port, error.socketError)
    except OSError as error:
        merging.says_not_merged(port, error)
    return None


def release(port: int) -> None:
    """The program wants to bind to a port: what is left on it ends."""
    for leftover in _leftovers.get(port, [])[:]:
        leftover.look()
    _drop(port)


def _drop(port: int) -> None:
    for leftover in _leftovers.pop(port, ()):
        leftover.close()


def _join_ipv4(ipv6: IPv6Port, port: int, backlog: int) -> IPv4Port | None:
    if ipv6.mode != "dual-stack":
        return None
    ipv4 = IPv4Port(port, cast(Any, ipv6.factory), backlog, "", ipv6.reactor)
    with merging.sharing(ipv6.socket):
        spare = merging.face(CanonicalSocket, "ipv6", port)
        try:
            face = merging.face(socket.socket, "ipv4", port)
        except BaseException:
            spare.close()
            raise
    pair = _Pair(ipv4, ipv6, spare, port)
    ipv4._pair = ipv6._pair = pair
    ipv4._preexistingSocket = face
    try:
        ipv4.startListening()
    except BaseException:
        ipv4._pair = ipv6._pair = None
        face.close()
        spare.close()
        raise
    ipv4._shouldShutdown = True
    # Two queues have become one.
    ipv6.socket.listen(ipv6.backlog + backlog)
    pair.merged({} if ipv6.launched is None else {"ipv6": ipv6.launched})
    return ipv4


def _join_ipv6(ipv4: IPv4Port, port: int, backlog: int) -> IPv6Port:
    endpoint = IPv6Endpoint(ipv4.reactor, port, backlog=backlog, fallback="fail")
    with announced_elsewhere():
        ipv6 = IPv6Port(endpoint._policy, ipv4.factory, ipv4.reactor)  # type: ignore[arg-type]
    joining = ipv6._joined = _Joining(ipv4, ipv6, port)
    with merging.sharing(ipv4.socket):
        ipv6.startListening()
    ipv6._joined = None
    known = listeners.get(ipv4.socket.fileno())
    old = ipv4.socket
    try:
        pass_over(old)
    except OSError:
        joining.spare.close()
        joining.face.close()
        ipv6.disconnecting = True
        ipv6.connectionLost(Failure(ConnectionDone()))
        raise
    # Its connections are the other port's to tell of.
    listeners.pop(old.fileno(), None)
    ipv4.stopReading()
    ipv4.socket = joining.face
    ipv4.fileno = joining.face.fileno  # type: ignore[method-assign]
    pair = ipv4._pair = ipv6._pair = _Pair(ipv4, ipv6, joining.spare, port)
    pair.merged({} if known is None else {"ipv4": known.entry})
    _Leftover(ipv6, old, None, port).look()
    return ipv6


@implementer(IReadDescriptor)
class _Leftover(merging.LeftoverReader):
    """A listening socket that closes when nothing waits for it."""

    def __init__(self, port: IPv6Port, sock: Any, refused: Family | None, number: int) -> None:
        self._reactor = cast(Any, port.reactor)
        super().__init__(merging.Leftover(sock, refused), self._reactor.callLater)
        self._port = port
        self._number = number
        self.fileno = sock.fileno
        self._reactor.addReader(self)
        _leftovers.setdefault(number, []).append(self)

    def read(self) -> None:
        self._port.numberAccepts = _ALL
        self.doRead()

    def stop(self) -> None:
        self._reactor.removeReader(self)
        others = _leftovers.get(self._number, [])
        if self in others:
            others.remove(self)

    def doRead(self) -> None:
        self._port.doRead(self.rest)

    def logPrefix(self) -> str:
        prefix: str = self._port.logPrefix()  # type: ignore[no-untyped-call]
        return prefix

    def connectionLost(self, reason: Failure) -> None:
        # The reactor ends.
        self.close()
