"""What an error of a datagram socket means, and the errors that a port raises."""

from __future__ import annotations

import errno
from typing import Literal

from dsadapter.addressing.literal import require_literal
from dsadapter.messages import Message
from dsadapter.packetinfo.sending import BROADCAST_NAME, parse_destination
from dsadapter.policy import socket_name
from dsadapter.sockets.remedies import is_broadcast, remedy

_REFUSED = {errno.ECONNREFUSED, getattr(errno, "WSAECONNREFUSED", errno.ECONNREFUSED)}
_TOO_LONG = {errno.EMSGSIZE, getattr(errno, "WSAEMSGSIZE", errno.EMSGSIZE)}
# What an address, or the way to it, is to blame for.
_EXPLAINED = {
    *(errno.EINVAL, errno.EADDRNOTAVAIL, errno.ENODEV, errno.EACCES, errno.EPERM),
    *(errno.ENETUNREACH, errno.EHOSTUNREACH),
}
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
        self.host = _canonical(host)
        """The destination's: canonical if it is an address, else as it was given; None for no
        address at all."""

    def __str__(self) -> str:
        return str(self.args[1])


def _canonical(host: object) -> object:
    try:
        return str(require_literal(host))
    except ValueError:
        return host


class PacketTooLongError(OSError):
    """A datagram is too long for UDP, or for the path to its destination."""


def unaddressed() -> OSError:
    """The error of answering a sender without an address: a stranger's doing, not the caller's."""
    return OSError(
        errno.EDESTADDRREQ,
        "the sender has no address yet; send the answer to a group or to broadcast",
    )


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
    error: OSError,
    destination: tuple[str, int],
    source: str | None = None,
    *,
    answers: bool = False,
    broadcast_allowed: bool = False,
) -> OSError:
    """The error to raise in place of one of sending or connecting: it names the addresses and the
    remedy.

    :param destination: as the application gave it.
    :param source: the address that was chosen to send from, likewise.
    :param answers: whether it was to leave from where the destination's datagram arrived.
    :param broadcast_allowed: whether the socket may send to broadcast addresses.
    """
    number, said = error.errno, str(error.strerror)
    if number in _TOO_LONG:
        return PacketTooLongError(number, said)
    if number not in _EXPLAINED:
        return error
    host, port = destination
    shown = socket_name(str(parse_destination(host)), port)
    text = f"{said}: can't send to {shown}" + (f" from {source}" if source else "")
    if answers:
        # Nothing is looked up: whoever sends datagrams chooses how often this comes.
        text += ", from where its datagram arrived; the address may be gone from this machine"
        return OSError(number, text)
    if number == errno.EACCES and not broadcast_allowed and _is_broadcast(host, port):
        return OSError(
            number,
            Message("{text}, a broadcast address; call {allow_broadcast}(True) first", text=text),
        )
    local = None if source is None else (source, 0)
    advice = remedy(error, local=local, remote=(host, port))
    return OSError(number, f"{text}; {advice}" if advice else text)


def _is_broadcast(host: str, port: int) -> bool:
    return host == BROADCAST_NAME or is_broadcast(host, port)
