"""A listener's sockets: the one that was asked for, or what serves both families in its place."""

from __future__ import annotations

import errno
from collections.abc import Callable, Sequence
from dataclasses import replace
from socket import SOMAXCONN
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from dsadapter.errors import AddressFamilyError
from dsadapter.messages import Message, quoted
from dsadapter.policy import DatagramPolicy, Fallback, Family, ListenMode, ListenPolicy
from dsadapter.sockets.adopting import Which, adopt, inherited_streams
from dsadapter.sockets.binding import (
    BeforeBind,
    BeforeDatagramBind,
    open_datagram_socket,
    open_listening_socket,
)
from dsadapter.sockets.canonical import CanonicalSocket

if TYPE_CHECKING:
    from dsadapter.ready.ready_socket import ReadySocket

__all__ = ["Listening", "inherited_sockets", "listening_socket", "open_listening_sockets"]

P = TypeVar("P", ListenPolicy, DatagramPolicy)

_ATTEMPTS = 64
"""How often to let the system choose a port that is free in both families."""

_FALLBACK_MODES: dict[Fallback, tuple[ListenMode, ...]] = {
    "auto": ("pair", "ipv4", "ipv6"),
    "pair": ("pair",),
    "ipv4": ("ipv4",),
    "ipv6": ("ipv6",),
    "fail": (),
}


class Listening(NamedTuple):
    """The open sockets of a listener."""

    mode: ListenMode
    """What they serve, which may be less than was asked for."""
    sockets: tuple[CanonicalSocket, ...]
    """One, or several with one port number: those of a pair IPv4 first, others as they were
    named."""
    lack: AddressFamilyError | None
    """Why they are not what was asked for; None if they are."""


def listening_socket(
    host: str,
    port: int,
    *,
    family: Family | None = None,
    backlog: int = SOMAXCONN,
    fallback: Fallback = "auto",
    reuse_port: bool = False,
    device: str | None = None,
) -> ReadySocket:
    """The ready socket: one that listens, for any server that takes a listening socket.

    Give it to the server in the process: ``accept``, the sockets that it gives, their names and
    what they are wrapped in with ``sslsocket_class`` are canonical. Plugins may refuse it, and are
    told of it and of its connections. The parameters are those of
    :class:`~dsadapter.policy.ListenPolicy`, but that one socket never serves ``localhost``.

    :param fallback: where one socket can't serve both: ``"ipv4"`` or ``"ipv6"``, that one alone;
        ``"auto"``, whichever there is; ``"fail"``, neither.
    :returns: a blocking, close-on-exec socket. For ``"::"`` it is AF_INET6 with ``IPV6_V6ONLY``
        cleared before bind.
    :raises ValueError: naming the offending value and the form to use.
    :raises PluginError: if a required plugin is missing, or a plugin refuses.
    :raises AddressFamilyError: if a family is missing and the fallback does not allow for that.
    :raises OSError: with the errno of the call that failed.
    """
    policy = ListenPolicy(
        host,
        port,
        family=family,
        backlog=backlog,
        fallback=fallback,
        reuse_port=reuse_port,
        device=device,
    )
    check_one_socket(policy)
    # The one way up: what a user opens here is checked and watched by plugins, too.
    from dsadapter.ready.ready_socket import FRAMEWORK, ReadySocket, open_ready_socket

    return open_ready_socket(policy, FRAMEWORK, ReadySocket)


def inherited_sockets(
    *, fd: int | Sequence[int] | None = None, systemd: Which | None = None
) -> list[ReadySocket]:
    """Ready sockets, as :func:`listening_socket` has them, that take the place of listening ones
    which this process has inherited.

    :param fd: the number of a descriptor, or of two: an IPv4 and a v6-only socket of one port.
    :param systemd: the index, from 0, or the name of what systemd has passed, or several of these.
    :returns: close-on-exec sockets: one, or the two of a pair, IPv4 first. They are blocking,
        unless what was passed is not: whoever else has it may be serving by an event loop.
    :raises ValueError: unless one of ``fd`` and ``systemd`` is given.
    :raises PluginError: as :func:`listening_socket`.
    :raises OSError: as :func:`~dsadapter.sockets.adopting.inherited_streams`.
    """
    policy = inherited_streams(fd=fd, systemd=systemd)
    from dsadapter.ready.ready_socket import FRAMEWORK, open_ready_sockets

    return open_ready_sockets(policy, FRAMEWORK)


def check_one_socket(policy: ListenPolicy | DatagramPolicy) -> None:
    """Check that one socket can do what a policy asks for.

    :raises ValueError: for two, naming the value and the form to use.
    """
    if len(policy.inherited) > 1:
        raise ValueError(
            f"{len(policy.inherited)} inherited sockets are more than one; take over one alone"
        )
    if len(policy.parts) > 1:
        raise ValueError(
            Message(
                "{host} {given} is {number} addresses, and this is one socket; give '127.0.0.1' or "
                "'::1', or '::' for IPv4 and IPv6",
                given=quoted(policy.host),
                number="several" if "," in policy.host else "two",
            )
        )
    if policy.fallback == "pair":
        raise ValueError(
            Message(
                "{fallback} 'pair' is two sockets, and this is one; give 'auto', 'ipv4', 'ipv6' or "
                "'fail'"
            )
        )


def open_listening_sockets(
    policy: ListenPolicy, before_bind: BeforeBind | None = None, *, pair: bool = True
) -> Listening:
    """Open what a policy asks for, or what its fallback allows where a family is missing; or take
    over what it has inherited.

    A port that is held or may not be had is an error whatever the fallback, in either family.

    :param before_bind: as for :func:`~dsadapter.sockets.binding.open_listening_socket`, called
        for each socket.
    :param pair: whether two sockets will do in place of a dual-stack one.
    :raises AddressFamilyError: if a family is missing and the fallback does not allow for that.
    :raises OSError: as :func:`~dsadapter.sockets.binding.open_listening_socket`.
    """
    if policy.inherited:
        return Listening(*adopt(policy, before_bind), None)
    one = _stream_opener(before_bind)
    return _as_allowed(policy, lambda mode: _open(policy, mode, one), pair)


def open_datagram_sockets(
    policy: DatagramPolicy, before_bind: BeforeDatagramBind | None = None, *, details: bool = False
) -> Listening:
    """Open what a policy asks for, or what its fallback allows where a family is missing, which is
    never a pair; or take over what it has inherited.

    :param before_bind: as for :func:`~dsadapter.sockets.binding.open_datagram_socket`, called for
        each socket.
    :param details: ask for the hop limit and the traffic class of each datagram, too.
    :raises AddressFamilyError: if a family is missing and the fallback does not allow for that.
    :raises OSError: as :func:`~dsadapter.sockets.binding.open_datagram_socket`.
    """
    if policy.inherited:
        return Listening(*adopt(policy, before_bind, details=details), None)

    def one(part: DatagramPolicy) -> CanonicalSocket:
        return open_datagram_socket(part, before_bind, details=details)

    return _as_allowed(policy, lambda mode: _open(policy, mode, one), False)


def _stream_opener(before_bind: BeforeBind | None) -> Callable[[ListenPolicy], CanonicalSocket]:
    return lambda part: open_listening_socket(part, before_bind)


def _as_allowed(
    policy: ListenPolicy | DatagramPolicy,
    opened: Callable[[ListenMode], tuple[CanonicalSocket, ...]],
    pair: bool,
) -> Listening:
    """What can be opened of the modes that a policy allows."""
    try:
        return Listening(policy.mode, opened(policy.mode), None)
    except AddressFamilyError as error:
        lack = error
    for mode in _fallback_modes(policy):
        if mode == "pair" and not pair:
            continue
        try:
            return Listening(mode, opened(mode), lack)
        except AddressFamilyError as error:
            if mode == policy.fallback:
                text = f"{lack.strerror}; fallback={mode} fails, too: {error.strerror}"
                raise type(lack)(text, lack) from error
    raise lack


def _fallback_modes(policy: ListenPolicy | DatagramPolicy) -> list[ListenMode]:
    if policy.mode in ("ipv4", "ipv6") or "," in policy.host:
        return []
    return [mode for mode in _FALLBACK_MODES[policy.fallback] if mode != policy.mode]


def _open(
    policy: P, mode: ListenMode, one: Callable[[P], CanonicalSocket]
) -> tuple[CanonicalSocket, ...]:
    if "," in policy.host:
        return _open_together(policy.parts, one)
    if mode == "pair":
        return _open_pair(policy, one)
    return (one(_part(policy, mode)),)


def _part(policy: P, mode: ListenMode) -> P:
    """What is left of a policy in one mode."""
    if mode == policy.mode:
        return policy
    assert mode in ("ipv4", "ipv6")
    return policy.only(mode)


def open_pair(
    policy: ListenPolicy, before_bind: BeforeBind | None
) -> tuple[CanonicalSocket, CanonicalSocket]:
    """A socket for each family with one port number, IPv4 first.

    :param policy: of mode ``dual-stack`` or ``pair``.
    :raises OSError: as :func:`~dsadapter.sockets.binding.open_listening_socket`.
    """
    return _open_pair(policy, _stream_opener(before_bind))


def _open_pair(
    policy: P, one: Callable[[P], CanonicalSocket]
) -> tuple[CanonicalSocket, CanonicalSocket]:
    # The family that is missing more often comes first: nothing is opened in vain.
    ipv6, ipv4 = _open_together((policy.only("ipv6"), policy.only("ipv4")), one)
    return ipv4, ipv6


def _open_together(
    parts: Sequence[P], one: Callable[[P], CanonicalSocket]
) -> tuple[CanonicalSocket, ...]:
    """A socket for each of some policies, all with one port number."""
    tries = _ATTEMPTS if parts[0].port == 0 else 1
    while True:
        opened: list[CanonicalSocket] = []
        try:
            for part in parts:
                number = opened[0].getsockname()[1] if opened else part.port
                opened.append(one(replace(part, port=number)))
            return tuple(opened)
        except BaseException as error:
            for sock in opened:
                sock.close()
            tries -= 1
            if not (tries and opened) or getattr(error, "errno", None) != errno.EADDRINUSE:
                raise
