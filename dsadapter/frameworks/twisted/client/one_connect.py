"""One connect: a race, and the protocol on the socket that has won."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn
from weakref import WeakKeyDictionary

from twisted.internet.address import HostnameAddress
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectingCancelledError, NoProtocol
from twisted.internet.interfaces import IProtocol, IProtocolFactory
from twisted.python import log
from twisted.python.failure import Failure

from dsadapter.addressing.hosts import is_literal
from dsadapter.addressing.sockaddr import SocketAddress
from dsadapter.connector import Answer, Connector, Lookups, Race, Unconnected
from dsadapter.frameworks.twisted.addresses import stream_address
from dsadapter.frameworks.twisted.client.client_transport import ClientConnection
from dsadapter.frameworks.twisted.client.connecting_errors import error_of
from dsadapter.frameworks.twisted.client.resolvers import look_up, lookups_of
from dsadapter.frameworks.twisted.reactor_waiting import waiting_of
from dsadapter.frameworks.twisted.reactors import completes
from dsadapter.frameworks.twisted.spelling import CONNECTING
from dsadapter.happy_eyeballs.outcomes import Outcomes
from dsadapter.hooks.dispatch import Hooks
from dsadapter.policy import ConnectPolicy, Family
from dsadapter.sockets.canonical import CanonicalSocket
from dsadapter.sockets.ifaddrs import scoped_sockaddr

if TYPE_CHECKING:
    from dsadapter.frameworks.twisted.client.resolvers import AnyResolver

# By reactor, because their clocks differ.
_outcomes: WeakKeyDictionary[Any, Outcomes] = WeakKeyDictionary()
_NO_LOOKUPS, _NONE = Lookups(), Outcomes()


def connector_of(reactor: Any, hooks: Hooks, resolver: AnyResolver | None) -> Connector:
    """What the connects of a reactor by one resolver have in common.

    :param resolver: None where there is no name to resolve.
    """
    waiting = waiting_of(reactor)
    if resolver is None:
        return Connector("twisted", waiting, hooks, _no_lookup, _NO_LOOKUPS, _NONE, CONNECTING)
    asking, lookups = partial(look_up, resolver), lookups_of(resolver)
    return Connector("twisted", waiting, hooks, asking, lookups, _outcomes_of(reactor), CONNECTING)


def _no_lookup(host: str, families: Sequence[Family], answer: Answer) -> NoReturn:
    raise AssertionError(f"{host} is an address, which is not looked up")


def _outcomes_of(reactor: Any) -> Outcomes:
    try:
        return _outcomes[reactor]
    except KeyError:
        return _outcomes.setdefault(reactor, Outcomes())
    except TypeError:
        # What stands in for a reactor may allow no weak references, or have no hash.
        return Outcomes()


class OneConnect:
    """One call of an endpoint's ``connect``.

    :param target: host and port, canonical.
    """

    __slots__ = ("_connector", "_deferred", "_factory", "_race", "_reactor", "_target")

    def __init__(
        self,
        reactor: Any,
        connector: Connector,
        target: tuple[str, int],
        policy: ConnectPolicy,
        factory: IProtocolFactory,
    ) -> None:
        self._reactor = reactor
        self._connector = connector
        self._target = target
        self._factory = factory
        self._deferred: Deferred[IProtocol] = Deferred(self._cancelled)
        self._race: Race | None = Race(connector, target, policy, self._connected, self._failed)

    def run(self) -> Deferred[IProtocol]:
        """Begin; the Deferred may have failed already, but has never succeeded yet."""
        race = self._race
        assert race is not None
        try:
            self._factory.doStart()
        except BaseException:
            self._race = None
            self._deferred.errback(Failure())
        else:
            race.run()
        return self._deferred

    def _failed(self, end: Unconnected) -> None:
        self._race = None
        self._end(Failure(error_of(end)))

    def _cancelled(self, deferred: Deferred[IProtocol]) -> None:
        race, self._race = self._race, None
        reason = Failure(ConnectingCancelledError(self._address()))
        if race is None:
            # By the factory or the protocol, while it is told: what is connected ends with that.
            deferred.errback(reason)
            return
        race.cancel()
        self._end(reason)

    def _connected(self, sock: CanonicalSocket, address: SocketAddress) -> None:
        self._race = None
        deferred, factory = self._deferred, self._factory
        try:
            protocol = factory.buildProtocol(stream_address(address))
            if protocol is None:
                raise NoProtocol
            if not deferred.called:
                transport = self._transport_class()(sock, address, factory, self._reactor)
        except BaseException:
            sock.close()
            self._end(Failure())
            return
        if deferred.called:
            sock.close()
            self._end(None)
            return
        try:
            if self._connector.hooks.connections is not None:
                lost = self._connector.connected(sock, address)
                if lost is not None:
                    transport.tellLost(lost)
            if not deferred.called:
                transport.makeConnection(protocol)
        except BaseException:
            transport.abortConnection()
            if not deferred.called:
                deferred.errback(Failure())
            return
        if deferred.called:
            transport.abortConnection()
        else:
            deferred.callback(protocol)

    def _transport_class(self) -> Any:
        if completes(self._reactor):
            from dsadapter.frameworks.twisted.completing import CompletingClient

            return CompletingClient
        return ClientConnection

    def _end(self, reason: Failure | None) -> None:
        """The connect is over without a connection.

        :param reason: None if the Deferred has it already.
        """
        try:
            self._factory.doStop()
        except BaseException:
            log.err(None, "a factory has failed to stop")
        if reason is not None and not self._deferred.called:
            self._deferred.errback(reason)

    def _address(self) -> Any:
        host, port = self._target
        if is_literal(host):
            try:
                return stream_address(scoped_sockaddr(host, port))
            except OSError:
                # The interface of its zone has gone.
                return stream_address((host, port, 0, 0))
        return HostnameAddress(host.encode("ascii"), port)
