"""The end of a race as the operating system's errors, for frameworks that raise those."""

from __future__ import annotations

import errno
import socket

from dsadapter.connector.story import FailedAttempt, Unconnected
from dsadapter.errors import PluginError


def attempt_errors(end: Unconnected) -> list[OSError]:
    """An error for each attempt; ``PermissionError`` for what a plugin has refused."""
    return [_error(attempt) for attempt in end.attempts]


def error_of(end: Unconnected) -> BaseException:
    """One error for the whole race: of the attempts' errno if they agree on one.

    :returns: ``socket.gaierror`` for a name without an address, ``TimeoutError`` if the time was
        over, and what has broken the race if that is no ``OSError``.
    """
    cause = end.cause
    if cause is not None and not isinstance(cause, Exception):
        # It ends the program, whichever attempt has met it.
        return cause
    if end.kind == "broken" and cause is not None and not isinstance(cause, OSError):
        return cause
    if end.kind == "unresolved":
        return socket.gaierror(socket.EAI_NONAME, end.text)
    numbers = (
        {errno.ETIMEDOUT}
        if end.kind == "timeout"
        else {error.errno for error in attempt_errors(end)}
    )
    # OSError makes the subclass of the number, such as ConnectionRefusedError.
    made = OSError(numbers.pop(), end.text) if len(numbers) == 1 else OSError(end.text)
    made.__cause__ = cause
    return made


def error_with_attempts(end: Unconnected, groups: bool) -> BaseException:
    """As :func:`error_of`, an ``OSError`` with the error of every attempt as its cause.

    :param groups: whether a single one comes in an ``ExceptionGroup``, too.
    """
    failure = error_of(end)
    errors = attempt_errors(end)
    if errors and isinstance(failure, OSError):
        single = len(errors) == 1 and not groups
        failure.__cause__ = errors[0] if single else ExceptionGroup(end.text, errors)
    return failure


def _error(attempt: FailedAttempt) -> OSError:
    error = attempt.error
    if isinstance(error, PluginError):
        return PermissionError(errno.EPERM, str(attempt))
    number = error.errno if isinstance(error, OSError) and error.errno else errno.EINVAL
    return OSError(number, str(attempt))
