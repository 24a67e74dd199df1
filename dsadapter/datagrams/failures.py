"""What an error of a datagram socket means, and the errors that a port raises."""

from __future__ import annotations

import errno
from typing import Literal

from dsadapter.messages import Message, quoted

_REFUSED = {errno.ECONNREFUSED, getattr(errno, "WSAECONNREFUSED", errno.ECONNREFUSED)}
_TOO_LONG = {errno.EMSGSIZE, getattr(errno, "WSAEMSGSIZE", errno.EMSGSIZE)}
_NOT_OURS = {errno.ENETUNREACH, errno.EINVAL, errno.EADDRNOTAVAIL, errno.ENODEV}
# What ICMP can say about the peer of a connected socket beside that it refuses.
_UNREACHABLE_NAMES = (
    *("EHOSTUNREACH", "ENETUNREACH", "EHOSTDOWN", "ENETDOWN", "ENONET"),
    *("ENOPROTOOPT", "EPROTO", "EOPNOTSUPP", "EACCES", "EMSGSIZE"),
)
_UNREACHABLE = {getattr(errno, name) for name in _UNREACHABLE_NAMES if hasattr(errno, name)}

# The socket is not there any more.
_GONE = {errno.EBADF, errno.ENOTSOCK, errno.ESHUTDOWN}

Meaning = Literal["refused", "unreachable", "passing", "end"]
"""``refused``: the peer has no such port; ``unreachable``: the peer of a connected socket can't be
reached now; ``passing``: the system has failed, perhaps only this once; ``end``: the socket is of
no more use."""


class DestinationError(ValueError):
    """A datagram can't be sent to an address, or not from the source that was chosen.

    The message names the offending value and the remedy.
    """

    def __init__(self, host: object, message: str) -> None:
        super().__init__(host, message)
        self.host = host
        """The destination's, as it was given; None for no address at all."""

    def __str__(self) -> str:
        return str(self.args[1])


class PacketTooLongError(OSError):
    """A datagram is too long for UDP, or for the path to its destination."""


def meaning_of(error: OSError, *, connected: bool) -> Meaning:
    """What an error of receiving or sending says about the socket and its peer.

    :param connected: whether the socket has one peer, which ICMP can have said something about.
    """
    number = error.errno
    if number in _REFUSED:
        return "refused"
    if number in _GONE:
        return "end"
    return "unreachable" if connected and number in _UNREACHABLE else "passing"


def explained(
    error: OSError, destination: object, *, chosen: bool, broadcast_allowed: bool
) -> OSError:
    """The error to raise in place of one of sending: it names the destination and the remedy.

    :param destination: ``(host, port)``, as the application gave it.
    :param chosen: whether a control message chose where to leave from.
    :param broadcast_allowed: whether the socket may send to broadcast addresses.
    """
    number, text = error.errno, error.strerror
    if number in _TOO_LONG:
        return PacketTooLongError(number, text)
    if number == errno.EACCES and not broadcast_allowed:
        return OSError(
            number,
            Message(
                "{text}: {destination} may be a broadcast address; call {allow_broadcast}(True) "
                "first",
                text=text,
                destination=quoted(destination),
            ),
        )
    if chosen and number in _NOT_OURS:
        return OSError(
            number,
            f"{text}: can't write to {quoted(destination)} from the source that was chosen, or "
            f"that its datagram was sent to; is it an address of this machine, of that interface?",
        )
    return error
