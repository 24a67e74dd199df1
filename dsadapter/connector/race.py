"""One connect: the attempts at the addresses of its target, until one has won or none can."""

from __future__ import annotations

import contextlib
import errno
import logging
import socket
from collections import deque
from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING

from dsadapter.addressing.hosts import is_literal
from dsadapter.addressing.sockaddr import SocketAddress
from dsadapter.connector.beginning import Begun, begin
from dsadapter.connector.candidates import Candidates
from dsadapter.connector.memory import Memory
from dsadapter.connector.story import (
    FailedAttempt,
    Unconnected,
    all_failed,
    broken,
    timed_out,
    unresolved,
)
from dsadapter.connector.waiting import Cancellable
from dsadapter.happy_eyeballs.schedule import (
    Action,
    CloseAttempt,
    Fail,
    OnlyAttempt,
    Schedule,
    StartAttempt,
    StartTimer,
    StopTimer,
    Succeed,
)
from dsadapter.messages import Message, spelled
from dsadapter.policy import ConnectPolicy, Family, socket_name
from dsadapter.records import Attempt
from dsadapter.sockets.canonical import CanonicalSocket
from dsadapter.sockets.connecting import has_connected
from dsadapter.sockets.ifaddrs import scoped_sockaddr

if TYPE_CHECKING:
    from dsadapter.connector.shared import Connector

logger = logging.getLogger("dsadapter")

STARTS_A_TURN = 8
"""How many attempts one turn of the event loop may start: those that fail at once take it whole."""

_JOINT: tuple[tuple[Family, ...], ...] = (("ipv6", "ipv4"),)
_EACH: tuple[tuple[Family, ...], ...] = (("ipv6",), ("ipv4",))
_ONLY = OnlyAttempt()
_NO_DESCRIPTOR = {errno.EMFILE, errno.ENFILE}

Connected = Callable[[CanonicalSocket, SocketAddress], object]
Failed = Callable[[Unconnected], object]


class _Running:
    """An attempt that is under way."""

    __slots__ = ("sock", "watch")

    def __init__(self, sock: CanonicalSocket, watch: Cancellable | None) -> None:
        self.sock = sock
        self.watch = watch

    def stop(self) -> CanonicalSocket:
        """The socket, which is no longer watched."""
        if self.watch is not None:
            try:
                self.watch.cancel()
            except Exception as error:
                logger.warning("an event loop failed to let go of a socket", exc_info=error)
        return self.sock


class Race:
    """Carries out what a :class:`~dsadapter.happy_eyeballs.schedule.Schedule` says, once.

    One of the two functions is called, once, in the thread of the event loop. Whatever the race
    meets, it leaves nothing behind.

    :param target: host and port, as :func:`~dsadapter.policy.canonical_target` gives them.
    :param connected: takes over the socket, which is non-blocking, and the canonical address that
        it is connected to; no other socket of the race is open. If it raises, the socket is closed,
        and ``failed`` is called.
    :param failed: takes the story. Nothing is open, and nothing is waited for.
    """

    __slots__ = (
        "_acting",
        "_actions",
        "_candidates",
        "_connector",
        "_delay",
        "_failed",
        "_has_connected",
        "_host",
        "_lost",
        "_memory",
        "_over",
        "_policy",
        "_port",
        "_report_connected",
        "_report_failed",
        "_running",
        "_schedule",
        "_started_at",
        "_time_limit",
        "_timer",
        "_turn",
        "_waiting",
        "_winner",
    )

    _schedule: Schedule | OnlyAttempt

    def __init__(
        self,
        connector: Connector,
        target: tuple[str, int],
        policy: ConnectPolicy,
        connected: Connected,
        failed: Failed,
    ) -> None:
        self._connector = connector
        self._waiting = connector.waiting
        self._host, self._port = target
        self._policy = policy
        self._report_connected = connected
        self._report_failed = failed
        self._actions: deque[Action] = deque()
        self._acting = False
        self._over = False
        self._started_at: dict[SocketAddress, float] = {}
        self._running: dict[SocketAddress, _Running] = {}
        self._failed: dict[SocketAddress, FailedAttempt] = {}
        self._lost: list[CanonicalSocket] = []
        self._winner: tuple[CanonicalSocket, SocketAddress] | None = None
        self._candidates: Candidates | None = None
        self._memory: Memory | None = None
        # What the timer is to be set to, once all that is to be done now has been done.
        self._delay: float | None = None
        # An attempt that the next turn will report.
        self._has_connected = False
        self._timer: Cancellable | None = None
        self._turn: Cancellable | None = None
        self._time_limit: Cancellable | None = None

    def run(self, begun: Begun | None = None) -> None:
        """Begin; it may have failed when this returns, but has never connected yet.

        :param begun: the only attempt, which :func:`~dsadapter.connector.beginning.begin_only` has
            begun.
        """
        policy = self._policy
        try:
            if policy.timeout is not None:
                self._time_limit = self._waiting.call_later(
                    policy.timeout, partial(self._guarded, self._timed_out)
                )
            if begun is not None:
                self._schedule = _ONLY
                self._begun(begun)
            elif is_literal(self._host):
                self._connect_to_literal()
            else:
                self._connect_to_name()
        except BaseException as error:
            self._unexpected(error)

    def cancel(self) -> None:
        """Give up: neither function is called any more. What has just connected or failed is closed
        in the next turn, everything else at once."""
        self._let_go()
        if self._lost:
            self._soon(self._close_lost)

    def _connect_to_literal(self) -> None:
        try:
            address = scoped_sockaddr(self._host, self._port)
        except OSError as error:
            attempt = FailedAttempt((self._host, self._port), 0, self._spelled(error))
            self._fail(all_failed(self._target, [attempt]))
        else:
            self._schedule = _ONLY
            self._start(address)

    def _connect_to_name(self) -> None:
        policy, target = self._policy, (self._host, self._port)
        connector = self._connector
        if policy.remember_outcomes:
            key = (target, policy.bind_address)
            self._memory = Memory(connector.outcomes, key, self._waiting.now)
        self._schedule = Schedule(
            policy.attempt_delay,
            first_family_count=policy.first_address_family_count,
            preferred=self._memory.preferred if self._memory is not None else None,
        )
        ask = partial(connector.lookups.ask, connector.look_up, self._host)
        candidates = self._candidates = Candidates(
            self._waiting, target, policy, ask, self._resolved, self._guarded
        )
        candidates.start(_EACH if policy.lookup == "families" else _JOINT)
        if not self._over and candidates.expected:
            self._check_descriptors()

    def _check_descriptors(self) -> None:
        # A resolver that gets none may wait for ever.
        try:
            socket.socket().close()
        except OSError as error:
            if error.errno in _NO_DESCRIPTOR:
                text = Message("the name can't be resolved: {why}", why=error.strerror)
                raise OSError(error.errno, text) from error

    def _resolved(self) -> None:
        candidates, schedule = self._candidates, self._schedule
        if candidates is not None and isinstance(schedule, Schedule) and not self._over:
            expected = candidates.expected
            self._act(
                schedule.resolved(candidates.addresses, "ipv4" in expected, "ipv6" in expected)
            )

    def _guarded(self, step: Callable[..., None], *args: object) -> None:
        """Do something; the unexpected ends the race."""
        try:
            step(*args)
        except BaseException as error:
            self._unexpected(error)

    def _unexpected(self, error: BaseException) -> None:
        if self._over:
            logger.error("after its end a connect has met an error", exc_info=error)
        else:
            self._fail(broken(self._target, self._attempts(), self._spelled(error)))

    def _act(self, actions: Iterable[Action]) -> None:
        self._actions.extend(actions)
        if self._acting or self._turn is not None:
            return
        self._acting = True
        starts = 0
        try:
            while self._actions and not self._over:
                action = self._actions.popleft()
                if not isinstance(action, StartAttempt):
                    self._do(action)
                    continue
                if starts == STARTS_A_TURN:
                    self._actions.appendleft(action)
                    self._turn = self._waiting.call_later(0, lambda: self._guarded(self._next_turn))
                    return
                starts += 1
                self._start(action.address)
        finally:
            self._acting = False
        if self._delay is not None:
            # Only now: many attempts fail, and so set it anew, before the event loop could look.
            self._start_timer(self._delay)

    def _next_turn(self) -> None:
        self._turn = None
        self._act(())

    def _do(self, action: Action) -> None:
        match action:
            case Succeed(address):
                self._succeed(address)
            case CloseAttempt(address):
                self._give_up(self._running.pop(address).stop())
            case StartTimer(seconds):
                self._stop_timer()
                self._delay = seconds
            case StopTimer():
                self._stop_timer()
            case Fail():
                self._forget()
                self._fail(self._story())

    def _start(self, address: SocketAddress) -> None:
        # Whatever ends it while it begins finds it in the story.
        self._started_at[address] = self._waiting.now()
        connector = self._connector
        bound = self._policy.bind_address
        self._begun(begin(connector, Attempt(connector.framework, self._host, address, bound)))

    def _begun(self, begun: Begun) -> None:
        address, at, sock, connected, _, error = begun
        self._started_at[address] = at
        if sock is None:
            assert error is not None
            self._attempt_failed(address, error)
            return
        if self._over:
            # A plugin has cancelled it.
            sock.close()
            return
        try:
            if connected:
                self._has_connected = True
                # It costs the event loop no more than a turn.
                watch = self._waiting.call_later(0, partial(self._is_connected, address))
            else:
                watch = self._waiting.when_writable(
                    sock, partial(self._guarded, self._ready, address)
                )
        except BaseException as error:
            sock.close()
            self._attempt_failed(address, error)
        else:
            self._running[address] = _Running(sock, watch)

    def _is_connected(self, address: SocketAddress) -> None:
        try:
            self._running[address].watch = None
            self._act(self._schedule.attempt_connected(address))
        except BaseException as error:
            self._unexpected(error)

    def _ready(self, address: SocketAddress, lost: BaseException | None = None) -> None:
        running = self._running.get(address)
        if running is None:
            return
        try:
            connected = has_connected(running.sock)
        except OSError as error:
            del self._running[address]
            running.stop().close()
            self._attempt_failed(address, error)
            return
        if connected:
            self._act(self._schedule.attempt_connected(address))
        elif lost is not None:
            # There may be no further turn.
            self._fail(broken(self._target, self._attempts(), lost), now=True)

    def _attempt_failed(self, address: SocketAddress, error: BaseException) -> None:
        if not self._over:
            self._failed[address] = self._ended(address, self._spelled(error))
            self._act(self._schedule.attempt_failed(address))

    def _ended(self, address: SocketAddress, error: BaseException | None) -> FailedAttempt:
        started = self._started_at[address]
        try:
            now = self._waiting.now()
        except BaseException:
            # The story is told all the same.
            now = started
        return FailedAttempt(address, now - started, error)

    def _timer_fired(self) -> None:
        self._timer = None
        self._act(self._schedule.timer_fired())

    def _timed_out(self) -> None:
        self._time_limit = None
        self._forget()
        assert self._policy.timeout is not None
        self._fail(timed_out(self._target, self._policy.timeout, self._attempts()))

    def _succeed(self, address: SocketAddress) -> None:
        self._winner = self._running.pop(address).stop(), address
        self._stop_waiting()
        if self._memory is not None:
            self._memory.connected(tuple(self._started_at), address)
        if self._lost:
            self._turn = self._waiting.call_later(0, lambda: self._guarded(self._hand_over))
        else:
            self._hand_over()

    def _hand_over(self) -> None:
        self._turn = None
        if self._lost:
            self._close_lost()
        assert self._winner is not None
        winner, self._winner = self._winner, None
        self._over = True
        try:
            self._report_connected(*winner)
        except BaseException as error:
            winner[0].close()
            story = broken(self._target, self._attempts(), self._spelled(error))
            self._report_failed(story)

    def _fail(self, end: Unconnected, *, now: bool = False) -> None:
        self._let_go()
        if self._lost and not now:
            self._turn = self._soon(partial(self._report, end))
        else:
            self._report(end)

    def _soon(self, function: Callable[[], object]) -> Cancellable | None:
        """Call a function in a later turn; at once if the event loop has none."""
        try:
            return self._waiting.call_later(0, function)
        except BaseException:
            function()
            return None

    def _report(self, end: Unconnected) -> None:
        self._turn = None
        self._close_lost()
        self._report_failed(end)

    def _let_go(self) -> None:
        """Of everything but the descriptors."""
        self._over = True
        self._stop_waiting()
        self._actions.clear()
        for running in self._running.values():
            self._give_up(running.stop())
        self._running.clear()
        if self._winner is not None:
            self._give_up(self._winner[0])
            self._winner = None

    def _give_up(self, sock: CanonicalSocket) -> None:
        """End an attempt. If it has just connected or failed, its descriptor is closed in a later
        turn: the event loop may have its event in hand, and would give it to the next owner of the
        number."""
        try:
            has_event = has_connected(sock)
        except OSError:
            has_event = True
        if not has_event:
            sock.close()
            return
        with contextlib.suppress(OSError):
            # It may have failed.
            sock.shutdown(socket.SHUT_RDWR)
        self._lost.append(sock)

    def _close_lost(self) -> None:
        lost, self._lost = self._lost, []
        for sock in lost:
            sock.close()

    def _stop_waiting(self) -> None:
        self._stop_timer()
        for waiting in (self._time_limit, self._turn):
            if waiting is not None:
                waiting.cancel()
        self._time_limit = self._turn = None
        if self._candidates is not None:
            self._candidates.cancel()

    def _start_timer(self, seconds: float) -> None:
        self._delay = None
        if not self._has_connected:
            self._timer = self._waiting.call_later(
                seconds, partial(self._guarded, self._timer_fired)
            )

    def _stop_timer(self) -> None:
        self._delay = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _forget(self) -> None:
        if self._memory is not None:
            self._memory.failed()

    def _attempts(self) -> list[FailedAttempt]:
        """Every attempt so far, as it stands, in the order in which they were started."""
        return [self._failed.get(a) or self._ended(a, None) for a in self._started_at]

    def _story(self) -> Unconnected:
        attempts, candidates = self._attempts(), self._candidates
        if candidates is None:
            return all_failed(self._target, attempts)
        attempts += [
            failed._replace(error=failed.error and self._spelled(failed.error))
            for failed in candidates.left_out
        ]
        if attempts:
            return all_failed(self._target, attempts, candidates.more)
        return unresolved(self._host, candidates.failures)

    @property
    def _target(self) -> str:
        return socket_name(self._host, self._port)

    def _spelled(self, error: BaseException) -> BaseException:
        names = self._connector.names
        return error if names is None else spelled(error, names)
