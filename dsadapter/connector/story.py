"""What has become of every attempt, in words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from dsadapter.addressing.sockaddr import SocketAddress
from dsadapter.errors import AddressFamilyError, BindAddressError
from dsadapter.messages import MAX_SAID, printable, said_by
from dsadapter.policy import socket_name
from dsadapter.sockets.remedies import remedy

_TOLD = 6
"""How many attempts a text tells of; the rest is counted."""


class FailedAttempt(NamedTuple):
    """How one attempt ended."""

    address: SocketAddress
    """Canonical; as the resolver gave it if it is no address."""
    seconds: float
    """How long it was tried; 0 for an address that was left out."""
    error: BaseException | None
    """None if it was still under way when the time was over."""

    def __str__(self) -> str:
        reason = "no answer" if self.error is None else reason_of(self.error)
        where = printable(socket_name(*self.address[:2]))
        return f"{where} after {self.seconds:.3f} s: {reason}"


@dataclass(frozen=True, slots=True)
class Unconnected:
    """Why a race has no winner."""

    kind: Literal["failed", "timeout", "unresolved", "broken"]
    """All attempts have failed; the time was over; the name has no address; or something else has
    ended it, which is the ``cause``."""
    text: str
    """The whole story for people. It has no control characters, and is short however many attempts
    there were."""
    attempts: tuple[FailedAttempt, ...] = ()
    """Every attempt in the order of starting, then what was left out."""
    cause: BaseException | None = None


def _advised(attempt: FailedAttempt) -> FailedAttempt:
    error = attempt.error
    # A subclass has said what there is to say.
    if not isinstance(error, OSError) or isinstance(error, (AddressFamilyError, BindAddressError)):
        return attempt
    host, port, *_ = attempt.address
    advice = remedy(error, remote=(host, port))
    if advice is None:
        return attempt
    explained = OSError(error.errno, f"{error.strerror}; {advice}")
    explained.__cause__ = error
    return attempt._replace(error=explained)


def all_failed(target: str, attempts: Sequence[FailedAttempt], more: int = 0) -> Unconnected:
    """The end when every attempt has failed.

    :param target: host and port as text.
    :param more: how many addresses were neither tried nor looked at.
    """
    attempts = [*map(_advised, attempts[:_TOLD]), *attempts[_TOLD:]]
    text = _told(target, attempts, more)
    return Unconnected("failed", text, tuple(attempts), attempts[-1].error)


def timed_out(target: str, seconds: float, attempts: Sequence[FailedAttempt]) -> Unconnected:
    """The end when the time for the whole is over.

    :param seconds: how long that was.
    """
    told = _told(target, attempts) if attempts else f"{target}: the name was still being resolved"
    return Unconnected("timeout", f"after {seconds:g} s: {told}", tuple(attempts))


def unresolved(host: str, reasons: Sequence[str]) -> Unconnected:
    """The end when a name has no address.

    :param reasons: what the resolver says.
    """
    why = f" ({'; '.join(map(printable, reasons))})" if reasons else ""
    return Unconnected("unresolved", f"no address for the name {host!r}{why}")


def broken(target: str, attempts: Sequence[FailedAttempt], cause: BaseException) -> Unconnected:
    """The end by something that is no attempt's failure."""
    text = f"{target}: {reason_of(cause)}"
    if attempts:
        text += f"; {_told(target, attempts)}"
    return Unconnected("broken", text, tuple(attempts), cause)


def reason_of(error: BaseException) -> str:
    """What an error says, for a line of text."""
    if isinstance(error, OSError) and error.strerror:
        return printable(str(error.strerror), MAX_SAID)
    return said_by(error) or type(error).__name__


def _told(target: str, attempts: Sequence[FailedAttempt], more: int = 0) -> str:
    untold = len(attempts) - _TOLD + more if len(attempts) > _TOLD else more
    if len(attempts) == 1 and not untold and str(attempts[0]).startswith(target):
        return str(attempts[0])
    told = [str(attempt) for attempt in attempts[:_TOLD]]
    if untold:
        told.append(f"and {untold} more")
    return f"{target}: {'; '.join(told)}"
