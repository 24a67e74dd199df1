"""The errors that connecting ends with: Twisted's own classes, with the whole story in them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from twisted.internet import error as twisted_error

from dsadapter.addressing.sockaddr import SocketAddress
from dsadapter.errors import BindAddressError
from dsadapter.frameworks.twisted.spelling import CONNECTING
from dsadapter.messages import spelled
from dsadapter.policy import socket_name


class FailedAttempt(NamedTuple):
    """How one attempt ended."""

    address: SocketAddress
    """Canonical; as it was given if it is no address."""
    seconds: float
    """How long it was tried."""
    error: Exception | None
    """None if it was still under way when the time was over."""

    def __str__(self) -> str:
        reason = "no answer" if self.error is None else _text(self.error)
        return f"{socket_name(*self.address[:2])}: {reason} after {self.seconds:.3f} s"


class ConnectingError(twisted_error.ConnectError):
    """No attempt has succeeded.

    Where all attempts failed in the same way it is also an instance of Twisted's class for that,
    such as ``ConnectionRefusedError``; where the time was over, of ``TimeoutError``.
    """

    attempts: tuple[FailedAttempt, ...] = ()
    """Every attempt, in the order in which they were started."""


def all_failed(target: str, attempts: Sequence[FailedAttempt]) -> ConnectingError:
    """The error when every attempt has failed.

    :param target: host and port as text.
    """
    errors = [_in_twisted(attempt.error) for attempt in attempts]
    kinds = {type(error) for error in errors}
    numbers = {error.osError for error in errors}
    failed = _kind(kinds.pop() if len(kinds) == 1 else twisted_error.ConnectError)(
        numbers.pop() if len(numbers) == 1 else None, _story(target, attempts)
    )
    failed.attempts = tuple(attempts)
    failed.__cause__ = attempts[-1].error if attempts else None
    return failed


def timed_out(target: str, seconds: float, attempts: Sequence[FailedAttempt]) -> ConnectingError:
    """The error when the time for the whole is over.

    :param seconds: how long that was.
    """
    tried = _story(target, attempts) if attempts else f"{target}: the name was still being resolved"
    failed = _kind(twisted_error.TimeoutError)(None, f"after {seconds:g} s: {tried}")
    failed.attempts = tuple(attempts)
    return failed


_KINDS: dict[type[twisted_error.ConnectError], type[ConnectingError]] = {
    twisted_error.ConnectError: ConnectingError
}


def _kind(twisted: type[twisted_error.ConnectError]) -> type[ConnectingError]:
    if twisted not in _KINDS:
        both = (ConnectingError, twisted)
        _KINDS[twisted] = type(twisted.__name__, both, {"MESSAGE": twisted.MESSAGE})
    return _KINDS[twisted]


def _in_twisted(error: Exception | None) -> twisted_error.ConnectError:
    if isinstance(error, BindAddressError):
        error = spelled(error, CONNECTING)
        return twisted_error.ConnectBindError(error.errno, error.strerror)
    if isinstance(error, OSError) and error.errno is not None:
        found: twisted_error.ConnectError = twisted_error.getConnectError(
            (error.errno, error.strerror)
        )
        return found
    return twisted_error.ConnectError(string=str(error))


def _story(target: str, attempts: Sequence[FailedAttempt]) -> str:
    if len(attempts) == 1 and str(attempts[0]).startswith(target):
        return str(attempts[0])
    return f"{target}: {'; '.join(map(str, attempts))}"


def _text(error: Exception) -> str:
    error = spelled(error, CONNECTING)
    return (error.strerror if isinstance(error, OSError) else None) or str(error)
