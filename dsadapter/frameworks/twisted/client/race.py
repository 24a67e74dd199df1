"""One connect: resolving, racing attempts, and the protocol on the one that wins."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from twisted.internet.address import HostnameAddress, IPv4Address, IPv6Address
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectingCancelledError, DNSLookupError, NoProtocol
from twisted.internet.interfaces import IProtocol, IProtocolFactory
from twisted.python.failure import Failure

from dsadapter.addressing.hosts import is_literal
from dsadapter.addressing.sockaddr import SocketAddress
from dsadapter.errors import RefusedError
from dsadapter.frameworks.twisted.addresses import stream_address
from dsadapter.frameworks.twisted.client.client_transport import (
    ClientConnection,
    ConnectingDescriptor,
)
from dsadapter.frameworks.twisted.client.connecting_errors import (
    FailedAttempt,
    all_failed,
    timed_out,
)
from dsadapter.frameworks.twisted.client.name_resolution import Lookup
from dsadapter.frameworks.twisted.client.remembering import Memory
from dsadapter.happy_eyeballs.schedule import (
    Action,
    CloseAttempt,
    Fail,
    Schedule,
    StartAttempt,
    StartTimer,
    StopTimer,
    Succeed,
)
from dsadapter.hooks.dispatch import Hooks
from dsadapter.policy import ConnectPolicy, socket_name
from dsadapter.records import Attempt, Refusal
from dsadapter.sockets.canonical import CanonicalSocket
from dsadapter.sockets.connecting import start_connecting
from dsadapter.sockets.ifaddrs import scoped_sockaddr

if TYPE_CHECKING:
    from dsadapter.frameworks.twisted.client.name_resolution import AnyResolver


class Race:
    """Carries out what a :class:`~dsadapter.happy_eyeballs.schedule.Schedule` says, once.

    :param target: host and port, canonical.
    """

    def __init__(
        self,
        reactor: Any,
        target: tuple[str, int],
        policy: ConnectPolicy,
        resolver: AnyResolver | None,
        factory: IProtocolFactory,
        hooks: Hooks,
    ) -> None:
        self._reactor = reactor
        self._host, self._port = target
        self._policy = policy
        self._resolver = resolver
        self._factory = factory
        self._hooks = hooks
        self._actions: deque[Action] = deque()
        self._acting = False
        self._started_at: dict[SocketAddress, float] = {}
        self._running: dict[SocketAddress, ConnectingDescriptor] = {}
        self._failed: dict[SocketAddress, FailedAttempt] = {}
        self._lookup: Lookup | None = None
        self._memory: Memory | None = None
        self._timer: Any = None
        self._time_limit: Any = None
        self._connected = False
        self._deferred: Deferred[IProtocol] = Deferred(self._cancelled)

    def run(self) -> Deferred[IProtocol]:
        """Begin; the Deferred may have failed already, but has never succeeded yet."""
        self._factory.doStart()
        policy = self._policy
        if policy.timeout is not None:
            self._time_limit = self._reactor.callLater(policy.timeout, self._timed_out)
        if is_literal(self._host):
            self._connect_to_literal()
        else:
            self._connect_to_name()
        return self._deferred

    def _connect_to_literal(self) -> None:
        self._schedule = Schedule(self._policy.attempt_delay)
        try:
            address = scoped_sockaddr(self._host, self._port)
        except OSError as error:
            self._fail(
                all_failed(self._target(), [FailedAttempt((self._host, self._port), 0, error)])
            )
        else:
            self._act(self._schedule.resolved([address]))

    def _connect_to_name(self) -> None:
        policy, target = self._policy, (self._host, self._port)
        if policy.remember_outcomes:
            self._memory = Memory(self._reactor, target, policy)
        self._schedule = Schedule(
            policy.attempt_delay,
            first_family_count=policy.first_address_family_count,
            preferred=self._memory.preferred if self._memory is not None else None,
        )
        self._lookup = Lookup(self._reactor, target, policy, self._resolved)
        self._lookup.start(self._resolver)

    def _resolved(self) -> None:
        lookup = self._lookup
        assert lookup is not None
        self._act(
            self._schedule.resolved(
                lookup.addresses, lookup.expects(IPv4Address), lookup.expects(IPv6Address)
            )
        )

    def _act(self, actions: Iterable[Action]) -> None:
        self._actions.extend(actions)
        if self._acting:
            return
        self._acting = True
        try:
            while self._actions:
                self._do(self._actions.popleft())
        finally:
            self._acting = False

    def _do(self, action: Action) -> None:
        match action:
            case StartAttempt(address):
                self._start(address)
            case CloseAttempt(address):
                self._running.pop(address).close()
            case StartTimer(seconds):
                self._stop_timer()
                self._timer = self._reactor.callLater(seconds, self._timer_fired)
            case StopTimer():
                self._stop_timer()
            case Succeed(address):
                self._succeed(self._running.pop(address))
            case Fail():
                self._forget()
                self._fail(self._story())

    def _start(self, address: SocketAddress) -> None:
        self._started_at[address] = self._reactor.seconds()
        attempt = Attempt("twisted", self._host, address, self._policy.bind_address)
        try:
            sock = start_connecting(attempt, self._hooks.before_connect)
        except Exception as error:
            if isinstance(error, RefusedError) and self._hooks.operation_refused is not None:
                self._hooks.operation_refused(
                    Refusal("twisted", "connect", error.address, error.plugin, error.reason)
                )
            self._attempt_failed(address, error)
        else:
            self._running[address] = ConnectingDescriptor(
                sock, address, self._reactor, self._attempt_finished, self._abandoned
            )

    def _attempt_finished(self, descriptor: ConnectingDescriptor, error: OSError | None) -> None:
        if error is None:
            self._act(self._schedule.attempt_connected(descriptor.address))
        else:
            self._running.pop(descriptor.address).close()
            self._attempt_failed(descriptor.address, error)

    def _attempt_failed(self, address: SocketAddress, error: Exception | None) -> None:
        self._failed[address] = self._ended(address, error)
        self._act(self._schedule.attempt_failed(address))

    def _ended(self, address: SocketAddress, error: Exception | None) -> FailedAttempt:
        return FailedAttempt(address, self._reactor.seconds() - self._started_at[address], error)

    def _timer_fired(self) -> None:
        self._timer = None
        self._act(self._schedule.timer_fired())

    def _timed_out(self) -> None:
        self._time_limit = None
        attempts = self._attempts()
        self._act(self._schedule.cancelled())
        self._forget()
        assert self._policy.timeout is not None
        self._fail(timed_out(self._target(), self._policy.timeout, attempts))

    def _abandoned(self, reason: Failure) -> None:
        attempts = self._attempts()
        self._act(self._schedule.cancelled())
        failed = all_failed(self._target(), attempts)
        failed.__cause__ = reason.value
        self._fail(failed)

    def _cancelled(self, deferred: Deferred[IProtocol]) -> None:
        error = ConnectingCancelledError(self._address())
        if self._connected:
            # By the factory or the protocol, while it is told: what is connected ends with that.
            deferred.errback(error)
            return
        self._act(self._schedule.cancelled())
        self._fail(error)

    def _succeed(self, descriptor: ConnectingDescriptor) -> None:
        self._finish()
        if self._memory is not None:
            self._memory.connected(tuple(self._started_at), descriptor.address)
        sock = descriptor.release()
        self._connected = True
        deferred, factory = self._deferred, self._factory
        try:
            protocol = factory.buildProtocol(stream_address(descriptor.address))
            if protocol is None:
                raise NoProtocol
        except Exception:
            self._give_up(sock, Failure())
            return
        if deferred.called:
            self._give_up(sock)
            return
        transport = ClientConnection(sock, descriptor.address, factory, self._reactor)
        try:
            transport.makeConnection(protocol)
        except Exception:
            transport.abortConnection()  # type: ignore[no-untyped-call]
            if not deferred.called:
                deferred.errback(Failure())
            return
        if deferred.called:
            transport.abortConnection()
        else:
            deferred.callback(protocol)

    def _give_up(self, sock: CanonicalSocket, reason: Failure | None = None) -> None:
        sock.close()
        self._factory.doStop()
        if reason is not None and not self._deferred.called:
            self._deferred.errback(reason)

    def _fail(self, error: Exception) -> None:
        self._finish()
        self._factory.doStop()
        self._deferred.errback(error)

    def _finish(self) -> None:
        self._stop_timer()
        if self._time_limit is not None:
            self._time_limit.cancel()
            self._time_limit = None
        if self._lookup is not None:
            self._lookup.cancel()

    def _forget(self) -> None:
        if self._memory is not None:
            self._memory.failed()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _attempts(self) -> list[FailedAttempt]:
        """Every attempt so far, as it stands, in the order in which they were started."""
        return [self._failed.get(a) or self._ended(a, None) for a in self._started_at]

    def _story(self) -> Exception:
        attempts = self._attempts()
        if self._lookup is not None:
            attempts += self._lookup.left_out
        if attempts:
            return all_failed(self._target(), attempts)
        reasons = self._lookup.failures if self._lookup is not None else []
        why = f" ({'; '.join(reasons)})" if reasons else ""
        return DNSLookupError(f"no address for the name {self._host!r}{why}")

    def _target(self) -> str:
        return socket_name(self._host, self._port)

    def _address(self) -> Any:
        if is_literal(self._host):
            return stream_address(scoped_sockaddr(self._host, self._port))
        return HostnameAddress(self._host.encode("ascii"), self._port)
