"""Connecting with the standard library's signature."""

from __future__ import annotations

import errno
import selectors
import socket
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, Self

from dsadapter.addressing.sockaddr import SocketAddress
from dsadapter.connector import Answer, Connector, Lookups, Unconnected
from dsadapter.connector.timers import Timers
from dsadapter.connector.waiting import Cancellable, Ready
from dsadapter.frameworks.blocking.translating import TranslatingSocket, host_and_port
from dsadapter.happy_eyeballs.outcomes import Outcomes
from dsadapter.messages import spelled
from dsadapter.plugin import active_hooks
from dsadapter.policy import (
    DEFAULT_ATTEMPT_DELAY,
    ConnectPolicy,
    Family,
    MappedAddresses,
    canonical_target,
)
from dsadapter.ready.ready_socket import watched_connection
from dsadapter.sockets.canonical import CanonicalSocket
from dsadapter.sockets.families import number_of
from dsadapter.sockets.port_numbers import port_number

FRAMEWORK = "blocking"
NAMES = {"bind_address": "source_address"}
"""The parameters as users of this module spell them."""

# What http.client and others pass on.
_DEFAULT: Any = getattr(socket, "_GLOBAL_DEFAULT_TIMEOUT", object())


class _Remembered(threading.local):
    """Each thread's own: the outcomes lock nothing."""

    def __init__(self) -> None:
        self.outcomes = Outcomes()


_remembered = _Remembered()


def create_connection(
    address: tuple[str | None, int | str],
    timeout: float | None = _DEFAULT,
    source_address: tuple[str, int] | None = None,
    *,
    all_errors: bool = False,
    attempt_delay: float = DEFAULT_ATTEMPT_DELAY,
    first_address_family_count: int = 1,
    remember_outcomes: bool = True,
    mapped_addresses: MappedAddresses = "unmap",
) -> TranslatingSocket:
    """As ``socket.create_connection``, but the addresses of a name race (RFC 8305).

    :param address: ``(host, port)``: a name or an address literal of either family; None for this
        machine.
    :param timeout: seconds for all attempts together, and of the socket from then on; None waits
        for ever, and the default is ``socket.getdefaulttimeout()``. Looking a name up takes as long
        as the system's resolver takes.
    :param source_address: where to connect from.
    :param all_errors: raise an ``ExceptionGroup`` of all attempts' errors.
    :param attempt_delay: seconds between the starts of two attempts of which the first has not
        failed.
    :param first_address_family_count: as for :class:`~dsadapter.policy.ConnectPolicy`, as are the
        two that follow.
    :raises ValueError: naming the offending value and the form to use.
    :raises socket.gaierror: if the name has no address, or the port is no service.
    :raises TimeoutError: when the time is over; its text tells of every attempt.
    :raises OSError: if all attempts fail: with the errno of the last one, and with a text that
        tells of all.
    :raises PluginError: if a required plugin is missing, or plugins refuse all attempts.
    """
    if timeout is _DEFAULT:
        timeout = socket.getdefaulttimeout()
    host, port = host_and_port(address)
    try:
        policy = ConnectPolicy(
            timeout=timeout,
            bind_address=source_address,
            attempt_delay=attempt_delay,
            first_address_family_count=first_address_family_count,
            remember_outcomes=remember_outcomes,
            mapped_addresses=mapped_addresses,
        )
        if isinstance(port, str) and port:
            port = port_number(port, "tcp")
        target = canonical_target(host or "localhost", port)
    except ValueError as error:
        raise spelled(error, NAMES) from None
    return connect(target, policy, all_errors=all_errors)


def connect(
    target: tuple[str, int], policy: ConnectPolicy, *, all_errors: bool = False
) -> TranslatingSocket:
    """The connection for a policy that has been made elsewhere; see :func:`create_connection`."""
    with _Loop() as loop:
        connector = Connector(
            FRAMEWORK,
            loop,
            active_hooks(),
            loop.look_up,
            Lookups(),
            _remembered.outcomes,
            NAMES,
        )
        ends: list[Any] = []

        def connected(sock: CanonicalSocket, peer: SocketAddress) -> None:
            lost = connector.connected(sock, peer)
            connection = watched_connection(sock, lost, TranslatingSocket)
            connection.settimeout(policy.timeout)
            ends.append(connection)

        race = connector.race(target, policy, connected, ends.append)
        race.run()
        try:
            loop.run_until(lambda: bool(ends))
        except BaseException:
            race.cancel()
            loop.run_due()
            raise
    [end] = ends
    if isinstance(end, Unconnected):
        raise _error(end, loop.failure, all_errors)
    connection: TranslatingSocket = end
    return connection


def _error(end: Unconnected, failure: OSError | None, all_errors: bool) -> Exception:
    errors = [a.error for a in end.attempts if isinstance(a.error, Exception)]
    if all_errors and errors:
        return ExceptionGroup(end.text, errors)
    cause = end.cause
    made: Exception
    if end.kind == "timeout":
        made = TimeoutError(errno.ETIMEDOUT, end.text)
    elif end.kind == "unresolved":
        number = failure.errno if isinstance(failure, socket.gaierror) else socket.EAI_NONAME
        made = socket.gaierror(number, end.text)
    elif isinstance(cause, OSError):
        made = OSError(cause.errno or errno.EIO, end.text)
    elif isinstance(cause, Exception):
        return cause
    else:
        made = OSError(errno.EIO, end.text)
    made.__cause__ = failure if end.kind == "unresolved" else cause
    return made


class _Loop:
    """An event loop for the time of one connect, in the thread that waits for it."""

    def __init__(self) -> None:
        # One that needs no descriptor, where there is one.
        self._selector = getattr(selectors, "PollSelector", selectors.SelectSelector)()
        self._timers = Timers(time.monotonic)
        self.call_later, self.run_due = self._timers.call_later, self._timers.run_due
        self.failure: OSError | None = None
        """What the resolver has raised last."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self._selector.close()

    now = staticmethod(time.monotonic)

    def when_writable(self, sock: socket.socket, ready: Ready) -> Cancellable:
        self._selector.register(sock, selectors.EVENT_WRITE, ready)
        return _Watch(self._selector, sock)

    def look_up(self, host: str, families: Sequence[Family], answer: Answer) -> None:
        """Ask the system's resolver, and wait for it."""
        family = number_of(families)
        try:
            for *_, found in socket.getaddrinfo(host, None, family, socket.SOCK_STREAM):
                answer.found(str(found[0]), found[3] if len(found) == 4 else 0)
        except OSError as error:
            self.failure = error
            answer.done(error.strerror or str(error))
        else:
            answer.done()

    def run_until(self, over: Callable[[], bool]) -> None:
        while True:
            self.run_due()
            if over():
                return
            due = self._timers.next_due
            seconds = None if due is None else max(0.0, due - self.now())
            for key, _ in self._selector.select(seconds):
                key.data()


class _Watch:
    def __init__(self, selector: selectors.BaseSelector, sock: socket.socket) -> None:
        self._selector = selector
        self._sock: socket.socket | None = sock

    def cancel(self) -> None:
        sock, self._sock = self._sock, None
        if sock is not None:
            self._selector.unregister(sock)
