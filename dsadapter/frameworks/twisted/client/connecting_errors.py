"""The errors that connecting ends with: Twisted's own classes, with the whole story in them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from twisted.internet import error as twisted_error

from dsadapter.connector.story import FailedAttempt, Unconnected
from dsadapter.errors import BindAddressError


class ConnectingError(twisted_error.ConnectError):
    """No attempt has succeeded.

    Where all attempts failed in the same way it is also an instance of Twisted's class for that,
    such as ``ConnectionRefusedError``; where the time was over, of ``TimeoutError``.
    """

    attempts: tuple[FailedAttempt, ...] = ()
    """Every attempt, in the order in which they were started, then addresses that were left out."""

    def __reduce__(self) -> tuple[Any, ...]:
        # The classes below are made when they are needed, so that no name leads to them.
        [twisted] = (base for base in _KINDS if _KINDS[base] is type(self))
        return _restored, (twisted, self.args), self.__dict__


def error_of(end: Unconnected) -> Exception:
    """Twisted's error for a connect that has failed."""
    if end.kind == "unresolved":
        return twisted_error.DNSLookupError(end.text)
    if end.kind == "timeout":
        failed = _kind(twisted_error.TimeoutError)(None, end.text)
    elif end.kind == "failed":
        failed = _all_failed(end.text, end.attempts)
    else:
        number = end.cause.errno if isinstance(end.cause, OSError) else None
        failed = _kind(twisted_error.ConnectError)(number, end.text)
    failed.attempts = end.attempts
    failed.__cause__ = end.cause
    return failed


def _all_failed(text: str, attempts: Sequence[FailedAttempt]) -> ConnectingError:
    errors = [_in_twisted(attempt.error) for attempt in attempts]
    kinds = {type(error) for error in errors}
    numbers = {error.osError for error in errors}
    kind = kinds.pop() if len(kinds) == 1 else twisted_error.ConnectError
    return _kind(kind)(numbers.pop() if len(numbers) == 1 else None, text)


_KINDS: dict[type[twisted_error.ConnectError], type[ConnectingError]] = {
    twisted_error.ConnectError: ConnectingError
}


def _kind(twisted: type[twisted_error.ConnectError]) -> type[ConnectingError]:
    if twisted not in _KINDS:
        both = (ConnectingError, twisted)
        _KINDS[twisted] = type(twisted.__name__, both, {"MESSAGE": twisted.MESSAGE})
    return _KINDS[twisted]


def _restored(twisted: type[twisted_error.ConnectError], args: tuple[Any, ...]) -> ConnectingError:
    kind = _kind(twisted)
    error = kind.__new__(kind, *args)
    # Past Twisted's constructor, which makes the arguments.
    Exception.__init__(error, *args)
    return error


def _in_twisted(error: BaseException | None) -> twisted_error.ConnectError:
    if isinstance(error, BindAddressError):
        return twisted_error.ConnectBindError(error.errno, error.strerror)
    if isinstance(error, OSError) and error.errno is not None:
        found: twisted_error.ConnectError = twisted_error.getConnectError(
            (error.errno, error.strerror)
        )
        return found
    return twisted_error.ConnectError(string=str(error))
