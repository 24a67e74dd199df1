"""A datagram port without its waiting: whoever owns it says when its socket is readable."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack

from dsadapter.addressing.sockaddr import SocketAddress
from dsadapter.datagrams.complaints import Complaints
from dsadapter.datagrams.failures import DestinationError, explained, meaning_of, unaddressed
from dsadapter.datagrams.served import ServedSocket, sender_for
from dsadapter.hooks.dispatch import Hooks
from dsadapter.listener import Listener
from dsadapter.messages import quoted
from dsadapter.packetinfo import require_packet_info
from dsadapter.packetinfo.local_answers import free_bind, refuses_local_route
from dsadapter.packetinfo.peers import Route, way_back
from dsadapter.packetinfo.receiving import Counters, Datagram, Receiver
from dsadapter.packetinfo.sending import (
    BROADCAST_NAME,
    choose_route,
    parse_destination,
    wire_address,
)
from dsadapter.policy import DatagramPolicy, ListenMode, whole_number
from dsadapter.sockets.ifaddrs import zoned
from dsadapter.sockets.listening import Listening, check_one_socket, open_datagram_sockets

Opening = Callable[[Hooks, bool], Listening]
"""Opens the sockets, with the details of each datagram or without."""
Deliver = Callable[[Iterator[Datagram]], object]
"""Takes every datagram from an iterator and gives it to the application. What it leaves there by
raising an error is delivered first by the next turn."""


_NOTHING: Iterator[Datagram] = iter(())
_PATIENCE = 100
"""After so many errors of receiving, one after the other, it pauses after each of them."""
_PAUSE = 0.1


class DatagramPort:
    """Exchanges datagrams with peers of both families through one socket, or one for each of
    several addresses.

    Call :meth:`open`, begin to wait, call ``life.opened()``; then :meth:`read` whenever a socket is
    readable.

    :param policy: what to bind.
    :param life: the port's, with the same policy.
    """

    served: tuple[ServedSocket, ...]
    """Since :meth:`open`; with one port number, those of a pair IPv4 first, others
    as they were named."""
    full: socket.socket
    """What had no room when :meth:`send` raised ``BlockingIOError`` last."""

    def __init__(self, policy: DatagramPolicy, life: Listener) -> None:
        self.policy = policy
        self.life = life
        """What plugins are told; it knows which address families are served."""
        self.is_open = False
        self.counters = Counters()
        """What has been received, and what was dropped for which reason; they survive closing."""
        self.peer: tuple[str, int] | None = None
        """The one that the port is connected to, as the application spelled it."""
        self._complaints = Complaints(policy.max_packet_size)
        # The same port opened again knows the addresses of before.
        self._owners = [object() for _ in range(max(len(policy.parts), len(policy.inherited)))]
        self._arrived: Iterator[Datagram] = _NOTHING

    def open(
        self,
        deliver: Deliver,
        refused: Callable[[], object],
        *,
        unreachable: Callable[[OSError], object] | None = None,
        details: bool = False,
        opening: Opening | None = None,
        several: bool = False,
    ) -> socket.socket:
        """Bind, with the plugins of now; what comes waits in the kernel. A closed port can be
        opened again.

        :param deliver: gets what has been received.
        :param refused: called when the peer of a connected port has refused a datagram.
        :param unreachable: called with what else ICMP says of that peer, such as that a firewall
            keeps datagrams from it (EHOSTUNREACH, EACCES); None for nothing.
        :param details: whether hop limit and traffic class of each datagram are wanted, too.
        :param opening: opens the sockets; None for what the policy asks for.
        :param several: whether the caller waits for each of :attr:`served`.
        :returns: the first socket.
        :raises ValueError: for a policy of several addresses, unless ``several`` is given.
        :raises PluginError: as :meth:`dsadapter.listener.Listener.open`.
        :raises NotDualStackError: where this platform gives no packet information.
        :raises OSError: as :func:`~dsadapter.sockets.listening.open_datagram_sockets`.
        """
        if not several:
            check_one_socket(self.policy)
        require_packet_info("one port a family of the framework's own")
        sockets = self.life.open(
            lambda hooks: (
                open_datagram_sockets(self.policy, hooks.before_bind, details=details)
                if opening is None
                else opening(hooks, details)
            )
        )
        self.is_open = True
        self.peer = None
        self._name = str(sockets[0].getsockname()[1])
        self._deliver = deliver
        self._refused = refused
        self._unreachable = unreachable
        self.served = tuple(
            ServedSocket(sock, self.life.mode, owner, self._receiver)
            for sock, owner in zip(sockets, self._owners, strict=False)
        )
        return self.sock

    @property
    def sock(self) -> socket.socket:
        """The first socket; non-blocking, from :meth:`open` to :meth:`close`."""
        return self.served[0].sock

    def _receiver(self, sock: socket.socket, mode: ListenMode, owner: object) -> Receiver:
        size = self.policy.max_packet_size
        return Receiver(sock, mode, size, self.counters, self._dropped, owner)

    def close(self) -> None:
        """Close the sockets, deliver nothing more, and tell observers, once."""
        self.end()
        with ExitStack() as stack:
            # All of it, even where somebody has closed a descriptor already.
            stack.callback(self.life.closed)
            for each in self.served:
                stack.callback(each.sock.close)

    def end(self) -> None:
        """Deliver nothing more: what was received and not yet delivered is gone. The sockets stay
        open, for a framework that takes them out of its loop first."""
        self.is_open = False
        for _ in self._arrived:
            pass

    def local_address(self) -> SocketAddress:
        """The canonical address of the first socket, a link-local one with its zone."""
        return zoned(self.sock.getsockname())

    def read(self, limit: int, served: ServedSocket | None = None) -> float | None:
        """Deliver some of the datagrams that wait, those of an interrupted turn first.

        :param limit: how many bytes to receive; one datagram more may exceed it.
        :param served: which of the sockets is readable; None for the first.
        :returns: None to go on waiting. After an error the seconds, 0 in most cases, to leave the
            socket alone for and then to watch it anew: libuv stops watching at an error.
        :raises OSError: if the socket is of no more use.
        """
        if self._arrived is not _NOTHING:
            self._deliver(self._arrived)
            self._arrived = _NOTHING
        if served is None:
            served = self.served[0]
        receiver = served.receiver
        read = 0
        # The application may close the port in between.
        while read < limit and self.is_open:
            try:
                received, size, drained = receiver.receive(limit - read)
                if drained and not read + size:
                    receiver.find_why_nothing_came()
                    served.met_error = True
            except OSError as error:
                return self._failed(error, served)
            if served.failures:
                served.failures = 0
            read += size
            if received:
                self._arrived = iter(received)
                self._deliver(self._arrived)
                self._arrived = _NOTHING
            if drained:
                break
        if served.met_error:
            # It is gone by now, but libuv may have seen it.
            served.met_error = False
            return 0.0
        return None

    def _failed(self, error: OSError, served: ServedSocket) -> float:
        meaning = meaning_of(error, connected=self.peer is not None)
        if meaning == "end":
            raise error
        # Left alone they would never let the framework rest.
        served.receiver.discard_errors()
        if meaning == "refused":
            if self.peer is not None:
                self._refused()
        elif meaning == "unreachable":
            self._tell_unreachable(error)
        elif meaning == "passing":
            self._complaints.complain(self._name, "failed", str(error.strerror))
            served.failures += 1
            if served.failures >= _PATIENCE:
                return _PAUSE
        return 0.0

    def discard_errors(self) -> None:
        """Take note of what ICMP has said, so that no socket is ready for that any more."""
        for each in self.served:
            each.receiver.discard_errors()

    def send(
        self,
        data: bytes,
        address: tuple[str, int] | None = None,
        source: str | None = None,
        interface: str | int | None = None,
    ) -> int | None:
        """Send a datagram.

        :param address: ``(host, port)``, the host an address literal of either family; None where
            the port is connected. An address that came with a datagram of this port is answered
            from where that datagram arrived, by the same socket; for any other one the system
            chooses, and of several sockets the first that is bound to ``source``, or that serves
            its family, sends.
        :param source: the local address to send from, whatever ``address`` remembers.
        :param interface: the name or the index of the interface to send by, likewise.
        :returns: how many bytes were sent; None if they were not because an earlier datagram was
            refused.
        :raises DestinationError: for what is no address, or none that fits: a family that the port
            does not serve, a source of another family than the destination's.
        :raises PacketTooLongError: if it is too long for UDP, or for the path.
        :raises OSError: as ``sendmsg``; ``EDESTADDRREQ`` for a sender that has no address yet.
        """
        route = None
        if self.peer is None:
            for served in self.served:
                route = way_back(address, served.owner)
                if route is not None:
                    if route.address is None:
                        raise unaddressed()
                    break
        if route is None or source is not None or interface is not None:
            served, route = self._way(address, source, interface)
        sock = served.sock
        answers = bool(route.messages) and source is None and interface is None
        try:
            return self._put(sock, data, route, answers)
        except OSError as error:
            failure = error
        connected = self.peer is not None
        if meaning_of(failure, connected=connected) == "unreachable":
            earlier = failure
            try:
                sent = self._put(sock, data, route, answers)
            except OSError as error:
                failure = error
            else:
                # ICMP has said it of an earlier datagram, and the system says it once.
                served.met_error = True
                self._tell_unreachable(earlier)
                return sent
        if meaning_of(failure, connected=connected) == "refused":
            served.met_error = True
            # Not connected, this says nothing about the datagram at hand.
            if connected:
                self._refused()
            return None
        if isinstance(failure, BlockingIOError):
            self.full = sock
        to = address or self.peer
        assert to is not None
        raise explained(
            failure,
            to,
            source,
            answers=answers,
            broadcast_allowed=self.broadcast_allowed(),
        ) from failure

    @staticmethod
    def _put(sock: socket.socket, data: bytes, route: Route, answers: bool) -> int:
        """Have the system send; ``answers`` as for ``explained``."""
        wire, messages = route
        if messages:
            try:
                return sock.sendmsg((data,), messages, 0, wire)
            except OSError as error:
                if not (answers and refuses_local_route(error, messages)):
                    raise
            with free_bind(sock):
                return sock.sendmsg((data,), messages, 0, wire)
        if wire is None:
            return sock.send(data)
        return sock.sendto(data, wire)

    def _tell_unreachable(self, error: OSError) -> None:
        if self._unreachable is not None:
            self._unreachable(error)

    def _way(
        self, address: tuple[str, int] | None, source: str | None, interface: str | int | None
    ) -> tuple[ServedSocket, Route]:
        """By which socket, and how, what answers no datagram."""
        if self.peer is not None:
            return self.served[0], self._connected_route(self.peer, address, source, interface)
        served = sender_for(self.served, address, source)
        return served, self._route(served.mode, address, source, interface)

    def connect(self, host: str, port: int) -> None:
        """Exchange datagrams with one peer only, of either family.

        :raises DestinationError: for what is no address literal of a family that is served, and
            where the port is connected already or has several sockets.
        :raises OSError: as ``connect``; the port is then not connected.
        """
        if len(self.served) > 1:
            raise DestinationError(
                host, f"a port of several addresses ({self.life}) has no one peer; bind one address"
            )
        if self.peer is not None:
            raise DestinationError(
                host, f"the port is connected to {self.peer!r} already; open another one"
            )
        try:
            if host == BROADCAST_NAME:
                raise ValueError(f"{host!r} is nobody to be connected to")
            whole_number("port", port)
            wire = wire_address(self.served[0].mode, parse_destination(host), port)
        except ValueError as error:
            raise DestinationError(host, str(error)) from error
        try:
            self.sock.connect(wire)
        except OSError as error:
            raise explained(error, (host, port)) from error
        self.peer = (host, port)

    def connect_to_one_of(self, peers: Iterable[tuple[str, int]]) -> None:
        """Connect to the first of some addresses that can be connected to; to none if there are
        none.

        :raises OSError: why the first can't be, if none can; as :meth:`connect`.
        """
        errors: list[Exception] = []
        for peer in peers:
            try:
                self.connect(*peer)
            except (OSError, ValueError) as error:
                errors.append(error)
            else:
                return
        if errors:
            raise errors[0]

    def allow_broadcast(self, allowed: bool) -> None:
        """Whether datagrams may go to broadcast addresses; at first they may not."""
        for each in self.served:
            each.sock.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, allowed)

    def broadcast_allowed(self) -> bool:
        """Whether datagrams may go to broadcast addresses."""
        return bool(self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST))

    def _route(
        self,
        mode: ListenMode,
        address: tuple[str, int] | None,
        source: str | None,
        interface: str | int | None,
    ) -> Route:
        if address is None:
            raise DestinationError(None, "a port that is not connected needs an address to send to")
        try:
            host, port = address
        except (TypeError, ValueError):
            raise DestinationError(
                None, f"{quoted(address)} is not an address; give (host, port)"
            ) from None
        try:
            return choose_route(mode, host, port, source, interface)
        except ValueError as error:
            raise DestinationError(host, str(error)) from error

    def _connected_route(
        self,
        peer: tuple[str, int],
        address: tuple[str, int] | None,
        source: str | None,
        interface: str | int | None,
    ) -> Route:
        if address is not None and address != peer and not _same(address, peer):
            raise DestinationError(
                address[0],
                f"the port is connected to {peer!r} and can't send to {quoted(address)}",
            )
        if source is None and interface is None:
            return Route(None, [])
        return Route(None, self._route(self.served[0].mode, peer, source, interface).messages)

    def _dropped(self, reason: str, about: str) -> None:
        self._complaints.complain(self._name, reason, about)


def _same(address: tuple[str, int], peer: tuple[str, int]) -> bool:
    """Whether two addresses are spellings of one."""
    try:
        ours, theirs = parse_destination(address[0]), parse_destination(peer[0])
    except ValueError:
        return False
    return ours == theirs and address[1] == peer[1]
