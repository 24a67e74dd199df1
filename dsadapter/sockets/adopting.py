"""Sockets that this process has inherited: from systemd, inetd, a parent or another worker.

What a socket is, the kernel is asked; nothing about it is changed but what receiving from it needs.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeVar

from dsadapter.messages import quoted
from dsadapter.policy import (
    DEFAULT_PACKET_SIZE,
    DatagramPolicy,
    Family,
    Inherited,
    ListenMode,
    ListenPolicy,
    socket_name,
)
from dsadapter.sockets.accept_queue import accept_queue
from dsadapter.sockets.binding import DatagramSocket, ask_for_packet_info, is_listening
from dsadapter.sockets.canonical import CanonicalSocket, canonical_name
from dsadapter.sockets.ifaddrs import zoned
from dsadapter.sockets.options import read_v6only
from dsadapter.sockets.systemd import descriptors

__all__ = ["inherited_datagrams", "inherited_streams"]

Which = int | str | Sequence[int | str]

P = TypeVar("P", ListenPolicy, DatagramPolicy)

_STANDARD = 2
"""The last of the standard streams: their numbers must not go to whatever opens next."""


def inherited_streams(
    *,
    fd: int | Sequence[int] | None = None,
    systemd: Which | None = None,
) -> ListenPolicy:
    """The policy of listening sockets that this process has inherited.

    Nothing is taken over before something listens by the policy, which then owns the sockets.
    ``dataclasses.replace`` adds what else is wanted, such as ``proxy_from``.

    :param fd: the number of a descriptor, or of two: an IPv4 and a v6-only socket of one port.
    :param systemd: the index, from 0, or the name of what systemd has passed, or several of these;
        one name may stand for two sockets.
    :raises OSError: naming the descriptor and the remedy, for what is no listening TCP socket, and
        if systemd has passed no such socket to this process.
    :raises ValueError: unless one of ``fd`` and ``systemd`` is given.
    """
    states = [_streams(number) for number in _numbers(fd, systemd)]
    host, port = _shared_name(states)
    return ListenPolicy(
        host,
        port,
        family=_family(states),
        backlog=max(1, min(state.backlog for state in states)),
        inherited=tuple(state.inherited for state in states),
    )


def given_stream(sock: socket.socket, backlog: int) -> ListenPolicy:
    """The policy of a TCP socket that an application has bound, and may listen by already.

    :param sock: it stays the caller's.
    :param backlog: how many connections may wait, unless it listens already.
    """
    state = _state(sock, sock.fileno())
    return ListenPolicy(
        state.host,
        state.port,
        family=_family([state]),
        backlog=max(1, state.backlog if is_listening(sock) else backlog),
    )


def inherited_datagrams(
    *,
    fd: int | Sequence[int] | None = None,
    systemd: Which | None = None,
    max_packet_size: int = DEFAULT_PACKET_SIZE,
    connected: bool = False,
) -> DatagramPolicy:
    """The policy of datagram sockets that this process has inherited.

    Datagrams that came before it is taken over have no interface in their packet information, or,
    on other systems than Linux, no packet information at all: those of them that are IPv4 on a
    dual-stack socket are dropped and counted.

    :param fd: as for :func:`inherited_streams`.
    :param systemd: likewise.
    :param max_packet_size: how many bytes of payload a datagram may have.
    :param connected: whether it may be connected to a peer.
    :raises OSError: naming the descriptor and the remedy, for what is no bound UDP socket, and if
        systemd has passed no such socket to this process.
    :raises ValueError: unless one of ``fd`` and ``systemd`` is given.
    """
    states = [_datagrams(number, connected) for number in _numbers(fd, systemd)]
    host, port = _shared_name(states)
    return DatagramPolicy(
        host,
        port,
        family=_family(states),
        max_packet_size=max_packet_size,
        inherited=tuple(state.inherited for state in states),
    )


class Adopted(NamedTuple):
    """Sockets that have been taken over."""

    mode: ListenMode
    sockets: tuple[CanonicalSocket, ...]
    """One, or several of one port, IPv4 first."""


def adopt(
    policy: P,
    before_bind: Callable[[socket.socket, P], None] | None,
    *,
    details: bool = False,
) -> Adopted:
    """Take over the sockets of a policy: non-blocking, close-on-exec, and for datagrams with packet
    information; the descriptors that they had are closed.

    :param before_bind: called with each socket, which is bound already, and the policy.
    :param details: ask for the hop limit and the traffic class of each datagram, too.
    :raises OSError: if a descriptor is not what it was when the policy was made.
    """
    sockets: list[CanonicalSocket] = []
    kind = DatagramSocket if isinstance(policy, DatagramPolicy) else CanonicalSocket
    try:
        for inherited in policy.inherited:
            sock = _taken(inherited, kind)
            sockets.append(sock)
            sock.setblocking(False)
            if isinstance(policy, DatagramPolicy):
                mode = policy.mode
                if len(policy.inherited) > 1:
                    mode = "ipv4" if sock.family == socket.AF_INET else "ipv6"
                ask_for_packet_info(sock, mode, policy, details=details)
            if before_bind is not None:
                before_bind(sock, policy)
    except BaseException:
        for sock in sockets:
            sock.close()
        raise
    for inherited in policy.inherited:
        _give_up(inherited.descriptor)
    sockets.sort(key=lambda sock: sock.family != socket.AF_INET)
    pair = len({sock.family for sock in sockets}) > 1
    return Adopted("pair" if pair else policy.mode, tuple(sockets))


class _State(NamedTuple):
    """What the kernel says of a socket."""

    inherited: Inherited
    mode: ListenMode
    host: str
    port: int
    backlog: int


def _numbers(fd: int | Sequence[int] | None, systemd: Which | None) -> list[int]:
    if (fd is None) == (systemd is None):
        raise ValueError("give one of fd and systemd")
    if fd is not None:
        numbers = [fd] if isinstance(fd, int) else list(fd)
    else:
        assert systemd is not None
        which = [systemd] if isinstance(systemd, (int, str)) else systemd
        numbers = [number for each in which for number in descriptors(each)]
    for number in numbers:
        if not isinstance(number, int) or isinstance(number, bool) or not 0 <= number < 2**31:
            raise ValueError(f"fd {quoted(number)} is not the number of a descriptor")
    if not numbers or len(set(numbers)) < len(numbers):
        raise ValueError(f"fd {quoted(numbers)} names a descriptor twice, or none; name each once")
    return numbers


def _streams(number: int) -> _State:
    with _Look(number) as sock:
        _require_type(sock, number, socket.SOCK_STREAM, "a listening TCP socket")
        if not is_listening(sock):
            raise _refusal(number, *_why_not_listening(sock))
        return _state(sock, number)


def _datagrams(number: int, connected: bool) -> _State:
    with _Look(number) as sock:
        _require_type(sock, number, socket.SOCK_DGRAM, "a bound UDP socket")
        state = _state(sock, number)
        if not state.port:
            raise _refusal(number, "is not bound", "pass one that is bound to an address and port")
        peer = None if connected else _peer(sock)
        if peer is not None:
            raise _refusal(number, f"is connected to {peer}", "pass one that is bound only")
        if state.mode == "ipv4" and sock.family == socket.AF_INET6:
            raise _refusal(
                number,
                f"is an IPv6 socket bound to the IPv4 address {state.host}",
                "pass an IPv4 socket, or one that is bound to '::'",
            )
        return state


class _Look:
    """A socket object around a descriptor, for as long as one looks at it."""

    def __init__(self, number: int) -> None:
        self._number = number

    def __enter__(self) -> socket.socket:
        try:
            # Without a family: the kernel is asked, and no caller is believed.
            self._sock = socket.socket(fileno=self._number)
        except OSError as error:
            if error.errno == errno.EBADF:
                said, remedy = "is not open", "it was taken over already, or nobody has passed it"
            else:
                said, remedy = "is not a socket", "pass a listening or a datagram socket"
            raise _refusal(self._number, said, remedy, error.errno or 0) from None
        return self._sock

    def __exit__(self, *exc: object) -> None:
        self._sock.detach()


def _require_type(sock: socket.socket, number: int, kind: int, wanted: str) -> None:
    if sock.family not in (socket.AF_INET, socket.AF_INET6):
        remedy = f"pass {wanted}"
        if sock.family == getattr(socket, "AF_UNIX", None):
            remedy += ", or serve it with an endpoint for AF_UNIX: it has no IP addresses"
        raise _refusal(number, f"is an {_named(sock.family)} socket", remedy, errno.EAFNOSUPPORT)
    if sock.type != kind:
        raise _refusal(number, f"is a {_named(sock.type)} socket", f"pass {wanted}")


def _why_not_listening(sock: socket.socket) -> tuple[str, str]:
    peer = _peer(sock)
    if peer is None:
        host, port, *_ = zoned(canonical_name(sock.getsockname()))
        return (
            f"is bound to {socket_name(host, port)}, and does not listen",
            "have whoever made it call listen()",
        )
    return (
        f"is a connection from {peer}",
        "pass the listening socket: 'Accept=no' in systemd's unit, 'wait' in inetd.conf",
    )


def _peer(sock: socket.socket) -> str | None:
    try:
        host, port, *_ = zoned(canonical_name(sock.getpeername()))
    except OSError:
        return None
    return socket_name(host, port)


def _state(sock: socket.socket, number: int) -> _State:
    where = zoned(canonical_name(sock.getsockname()))
    host, port = where[0], where[1]
    mode: ListenMode = "ipv4" if ":" not in host else "ipv6"
    if host == "::" and not read_v6only(sock):
        mode = "dual-stack"
    return _State(Inherited(number, _inode(number)), mode, host, port, _backlog(sock))


def _backlog(sock: socket.socket) -> int:
    """How many connections may wait, as ``listen`` was told; some servers call it again."""
    try:
        return accept_queue(sock).limit if sock.type == socket.SOCK_STREAM else socket.SOMAXCONN
    except OSError:
        return socket.SOMAXCONN


def _shared_name(states: Sequence[_State]) -> tuple[str, int]:
    """The host and the port that one policy for all of them has."""
    if len(states) == 1:
        return states[0].host, states[0].port
    numbers = _spoken([state.inherited.descriptor for state in states])
    if len({state.inherited.inode for state in states}) < len(states):
        raise OSError(errno.EINVAL, f"descriptors {numbers} are one socket; pass it once")
    hosts = {state.host: state.mode for state in states}
    ports = {state.port for state in states}
    if len(states) == 2 and len(ports) == 1:
        if hosts == {"0.0.0.0": "ipv4", "::": "ipv6"}:
            return "::", states[0].port
        if hosts == {"127.0.0.1": "ipv4", "::1": "ipv6"}:
            return "localhost", states[0].port
    if len(ports) == 1 and "::" not in hosts:
        return ",".join(hosts), states[0].port
    raise OSError(
        errno.EINVAL,
        f"descriptors {numbers} are "
        f"{' and '.join(socket_name(state.host, state.port) for state in states)}, and not "
        f"addresses of one port, such as '0.0.0.0' and a v6-only '::'",
    )


def _family(states: Sequence[_State]) -> Family | None:
    """That of a v6-only wildcard alone; everything else is told by its name."""
    [first, *others] = states
    return "ipv6" if not others and (first.host, first.mode) == ("::", "ipv6") else None


def _inode(number: int) -> int:
    """What tells a socket from a later one of its number; Windows' handles have none."""
    return os.fstat(number).st_ino if os.name == "posix" else number


def _taken(inherited: Inherited, kind: type[CanonicalSocket]) -> CanonicalSocket:
    number, inode = inherited
    with _Look(number):
        if _inode(number) != inode:
            raise _refusal(
                number,
                "is another socket by now",
                "it was taken over already, and can't be listened on again",
                errno.EBADF,
            )
    # A duplicate is close-on-exec.
    return kind(fileno=socket.dup(number))


def _give_up(number: int) -> None:
    if number > _STANDARD or os.name != "posix":
        socket.close(number)
        return
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, number)
    os.close(null)


def _refusal(number: int, said: str, remedy: str, code: int = errno.EINVAL) -> OSError:
    return OSError(code, f"descriptor {number} {said}; {remedy}")


def _spoken(numbers: Sequence[int]) -> str:
    return " and ".join(map(str, numbers))


def _named(number: int) -> str:
    return getattr(number, "name", str(number))
