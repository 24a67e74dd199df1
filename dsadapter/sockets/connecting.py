"""One stream socket for one attempt to connect, never blocking."""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable

from dsadapter.addressing.hosts import is_literal
from dsadapter.addressing.sockaddr import SocketAddress
from dsadapter.errors import BindAddressError, NotDualStackError
from dsadapter.messages import Message
from dsadapter.policy import socket_name
from dsadapter.records import Attempt
from dsadapter.sockets.canonical import (
    CanonicalSocket,
    PlainSocket,
    family_number,
    take_ipv4_form,
)
from dsadapter.sockets.capability import says_absent
from dsadapter.sockets.ifaddrs import scoped_sockaddr
from dsadapter.sockets.options import (
    BIND_ADDRESS_NO_PORT,
    REUSE_ADDRESS,
    set_option,
    set_v6only,
)
from dsadapter.sockets.remedies import remedy
from dsadapter.sockets.system_errors import system_error

BeforeConnect = Callable[[socket.socket, Attempt], None]

# After a signal connect goes on, as if it had said EINPROGRESS (POSIX).
_UNDER_WAY = {0, errno.EINPROGRESS, errno.EWOULDBLOCK, errno.EINTR}
# Saves a call where the system has the flag.
_HAS_FLAG = hasattr(socket, "SOCK_NONBLOCK")
_NON_BLOCKING_STREAM = socket.SOCK_STREAM | getattr(socket, "SOCK_NONBLOCK", 0)
_INET6 = int(socket.AF_INET6)
_TCP = int(socket.IPPROTO_TCP)
_getpeername = PlainSocket.getpeername


def start_connecting(
    attempt: Attempt,
    before_connect: BeforeConnect | None = None,
    kind: type[CanonicalSocket] = CanonicalSocket,
    *,
    ipv4_form: bool = False,
) -> tuple[CanonicalSocket, bool, bool]:
    """Create and configure a socket, bind it if asked to, and begin to connect.

    The socket is AF_INET6 with ``IPV6_V6ONLY`` cleared, and takes an IPv4 destination mapped. It is
    AF_INET for an IPv4 destination where there are no such sockets, and where the bind address is
    IPv4. A socket serves one attempt only: a TCP socket that failed a mapped connect never
    recovers.

    :param before_connect: called with the socket and the attempt when all options are set; what it
        raises comes out of this function, and nothing stays open.
    :param kind: what the socket is, unless a plugin is asked.
    :param ipv4_form: whether to make one that has connected to an IPv4 address an AF_INET one, as
        :func:`~dsadapter.sockets.canonical.take_ipv4_form` does.
    :returns: a non-blocking, close-on-exec socket; whether it has connected already, as it has to
        an address of this machine; if not, :func:`has_connected` says how it goes on; and whether
        it has become an AF_INET one.
    :raises BindAddressError: if the bind address can't be used, or not for this destination.
    :raises OSError: with the errno of the call that failed.
    """
    bound = attempt.bind_address
    if bound is not None:
        check_bind_address(attempt.destination[0], bound)
    sock = _create(attempt, kind if before_connect is None else CanonicalSocket)
    try:
        if before_connect is not None:
            before_connect(sock, attempt)
        if bound is not None:
            _bind(sock, *bound)
        destination = attempt.destination
        mapped = len(destination) == 2 and family_number(sock) == _INET6
        if mapped:
            # What map_sockaddr gives, which would parse once more what is canonical.
            destination = (f"::ffff:{destination[0]}", destination[1], 0, 0)
        error = sock.connect_ex(destination)
        if error in _UNDER_WAY:
            # Only what is connected takes it.
            if ipv4_form and mapped and take_ipv4_form(sock):
                return sock, True, True
            try:
                # Not the canonical one, which nobody reads.
                _getpeername(sock)
            except OSError:
                # An address of this machine has refused it already.
                error = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            else:
                return sock, True, False
        if error:
            raise system_error(error)
    except BaseException:
        sock.close()
        raise
    return sock, False, False


def has_connected(sock: socket.socket) -> bool:
    """Whether an attempt has succeeded; False while it is under way.

    To be asked when the socket is writable, and harmless if it is not: an event loop may tell the
    new owner of a descriptor about the old one.

    :raises OSError: with what the attempt failed with.
    """
    if error := sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
        raise system_error(error)
    try:
        _getpeername(sock)
    except OSError as unconnected:
        if unconnected.errno == errno.ENOTCONN:
            return False
        raise
    return True


def source_address(destination: SocketAddress) -> str | None:
    """The address of this machine from which the system would reach a destination now; None if it
    has no way there.

    A UDP socket's connect looks the route up and sends nothing.

    :param destination: canonical.
    """
    family = socket.AF_INET6 if len(destination) > 2 else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect(destination)
            source: str = probe.getsockname()[0]
            return source
    except OSError:
        return None


def _create(attempt: Attempt, kind: type[CanonicalSocket]) -> CanonicalSocket:
    bound = attempt.bind_address
    if bound is not None and bound[0] and attempt.family == "ipv4":
        return _socket(kind, socket.AF_INET)
    try:
        sock = _socket(kind, _INET6)
    except OSError as error:
        if attempt.family == "ipv4" and says_absent(error):
            return _socket(kind, socket.AF_INET)
        raise
    try:
        set_v6only(sock, False)
    except NotDualStackError:
        # A native IPv6 destination needs no more than this socket.
        if attempt.family == "ipv6":
            return sock
        sock.close()
        return _socket(kind, socket.AF_INET)
    except BaseException:
        sock.close()
        raise
    return sock


def _socket(kind: type[CanonicalSocket], family: int) -> CanonicalSocket:
    # With its protocol: asyncio sets TCP_NODELAY for no other.
    sock = kind(family, _NON_BLOCKING_STREAM, _TCP)
    if not _HAS_FLAG:
        sock.setblocking(False)
    return sock


def _bind(sock: CanonicalSocket, host: str, port: int) -> None:
    try:
        if port:
            # Attempts at several addresses share the port.
            set_option(sock, REUSE_ADDRESS, 1)
        else:
            set_option(sock, BIND_ADDRESS_NO_PORT, 1)
        if family_number(sock) == socket.AF_INET:
            sock.bind((host or "0.0.0.0", port))
        else:
            sock.bind(scoped_sockaddr(host or "::", port))
    except OSError as error:
        where = socket_name(host or "*", port)
        advice = remedy(error, local=(host or "::", port))
        reason = f"{error.strerror}; {advice}" if advice else error.strerror
        raise BindAddressError(
            error.errno,
            Message("{bind_address} {where} can't be used: {reason}", where=where, reason=reason),
        ) from error


def check_target(host: str, bind_address: tuple[str, int] | None) -> None:
    """Check that a target can be reached from the address to connect from, as far as it can be told
    before a name is looked up.

    :param host: canonical.
    :raises ValueError: if they are of two families.
    """
    if bind_address is not None and is_literal(host):
        try:
            check_bind_address(host, bind_address)
        except BindAddressError as error:
            raise ValueError(error.strerror) from error


def check_bind_address(destination: str, bind_address: tuple[str, int] | None) -> None:
    """Check that a destination can be reached from the address to connect from.

    :param destination: a canonical address.
    :param bind_address: as :class:`~dsadapter.policy.ConnectPolicy` has it.
    :raises BindAddressError: if they are of two families.
    """
    if bind_address is None or not bind_address[0]:
        return
    host = bind_address[0]
    if (":" in host) == (":" in destination):
        return
    wanted = "an IPv6" if ":" in destination else "an IPv4"
    raise BindAddressError(
        errno.EAFNOSUPPORT,
        Message(
            "{bind_address} {bound} can't reach {destination}: a socket bound to an address "
            "reaches that address's family only; give {wanted} {bind_address}, or none",
            bound=host,
            destination=destination,
            wanted=wanted,
        ),
    )
