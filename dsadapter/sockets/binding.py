"""One bound socket for one policy: listening for streams, or receiving datagrams."""

from __future__ import annotations

import errno
import socket
import sys
from collections.abc import Callable

from dsadapter.command_lines import command_line
from dsadapter.errors import AddressFamilyError, NotDualStackError
from dsadapter.messages import Message, quoted
from dsadapter.policy import FAMILIES, FAMILY_NAMES, DatagramPolicy, ListenMode, ListenPolicy
from dsadapter.sockets.canonical import CanonicalSocket, family_number
from dsadapter.sockets.capability import capability, says_absent, says_unbindable
from dsadapter.sockets.conflicts import port_holders, says_held
from dsadapter.sockets.ifaddrs import scoped_sockaddr
from dsadapter.sockets.options import (
    BIND_TO_DEVICE,
    EXCLUSIVE_ADDRESS_USE,
    IPV4_DESTINATION,
    IPV4_HOP_LIMIT,
    IPV4_MULTICAST_ALL,
    IPV4_PACKET_INFO,
    IPV4_TRAFFIC_CLASS,
    IPV6_HOP_LIMIT,
    IPV6_MULTICAST_ALL,
    IPV6_PACKET_INFO,
    IPV6_TRAFFIC_CLASS,
    REUSE_ADDRESS,
    REUSE_PORT,
    SocketOption,
    set_ipv4_option,
    set_option,
    set_v6only,
)
from dsadapter.sockets.remedies import remedy

if sys.platform == "win32":
    from dsadapter.sockets.winsock import MessageSocket

    class DatagramSocket(MessageSocket, CanonicalSocket):
        """With ``recvmsg`` and ``sendmsg``."""

        __slots__ = ()
else:
    DatagramSocket = CanonicalSocket

BeforeBind = Callable[[socket.socket, ListenPolicy], None]
BeforeDatagramBind = Callable[[socket.socket, DatagramPolicy], None]
_Setter = Callable[[socket.socket, SocketOption, int], None]

_IPV4 = (IPV4_PACKET_INFO, IPV4_DESTINATION)
_IPV4_DETAILS = (IPV4_HOP_LIMIT, IPV4_TRAFFIC_CLASS)
_IPV6 = (IPV6_PACKET_INFO,)
_IPV6_DETAILS = (IPV6_HOP_LIMIT, IPV6_TRAFFIC_CLASS)
# macOS and the BSDs refuse these on an AF_INET6 socket; there IPV6_RECVPKTINFO serves IPv4 too.
_IPV6_SOCKET_TAKES_IPV4_OPTIONS = sys.platform.startswith("linux") or sys.platform == "win32"


def open_listening_socket(
    policy: ListenPolicy, before_bind: BeforeBind | None = None
) -> CanonicalSocket:
    """Create, configure, bind and listen; on any failure nothing stays open.

    :param policy: of any mode but ``pair``.
    :param before_bind: called with the socket and the policy when all options are set; what it
        raises comes out of this function, and nothing stays open.
    :returns: a non-blocking, close-on-exec socket that accepts connections. For ``dual-stack`` it
        is AF_INET6 with ``IPV6_V6ONLY`` cleared before bind, for ``ipv6`` with it set, for ``ipv4``
        AF_INET.
    :raises NotDualStackError: if this machine has no dual-stack sockets, with reason and remedy.
    :raises AddressFamilyError: if it has none of the one family that was asked for.
    :raises OSError: with the errno of the call that failed; its text names the address, and for
        EADDRINUSE which families and addresses are held.
    """
    sock = _create(policy)
    try:
        if before_bind is not None:
            before_bind(sock, policy)
        bind_socket(sock, policy)
        sock.listen(policy.backlog)
    except OSError as error:
        sock.close()
        raise explained(error, policy) from None
    except BaseException:
        sock.close()
        raise
    return sock


def _create(policy: ListenPolicy) -> CanonicalSocket:
    family = socket.AF_INET if policy.mode == "ipv4" else socket.AF_INET6
    _check_sharing(policy)
    try:
        # With its protocol: asyncio sets TCP_NODELAY for no other.
        sock = CanonicalSocket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    except OSError as error:
        raise explained(error, policy, creating=True) from None
    try:
        _settle_family(sock, policy)
        _keep_to_device(sock, policy.device)
        set_option(sock, REUSE_ADDRESS, 1)
        set_option(sock, EXCLUSIVE_ADDRESS_USE, 1)
        if policy.reuse_port:
            set_option(sock, REUSE_PORT, 1)
    except BaseException:
        sock.close()
        raise
    return sock


def _check_sharing(policy: ListenPolicy | DatagramPolicy) -> None:
    if policy.reuse_port and REUSE_PORT.number is None:
        raise OSError(
            errno.EOPNOTSUPP,
            Message("this system has no SO_REUSEPORT; listen without {reuse_port}"),
        )


def _settle_family(sock: socket.socket, policy: ListenPolicy | DatagramPolicy) -> None:
    sock.setblocking(False)
    if family_number(sock) == socket.AF_INET6:
        try:
            set_v6only(sock, policy.mode == "ipv6")
        except OSError as error:
            raise explained(error, policy, creating=True) from None


def open_datagram_socket(
    policy: DatagramPolicy, before_bind: BeforeDatagramBind | None = None, *, details: bool = False
) -> CanonicalSocket:
    """Create, configure and bind; on any failure nothing stays open.

    Packet information is asked for before bind, for every family that the socket serves. The
    address is shared with those alone that a policy asks to share the port with
    (``SO_REUSEADDR`` on UDP lets any other socket take the datagrams).

    :param before_bind: called with the socket and the policy when all options are set; what it
        raises comes out of this function, and nothing stays open.
    :param details: ask for the hop limit and the traffic class of each datagram, too.
    :returns: a non-blocking, close-on-exec socket. For ``dual-stack`` it is AF_INET6 with
        ``IPV6_V6ONLY`` cleared before bind, for ``ipv6`` with it set, for ``ipv4`` AF_INET.
    :raises NotDualStackError: if this machine has no dual-stack sockets, with reason and remedy.
    :raises AddressFamilyError: if it has none of the one family that was asked for.
    :raises OSError: with the errno of the call that failed; its text names the address, and for
        EADDRINUSE which families and addresses are held.
    """
    family = socket.AF_INET if policy.mode == "ipv4" else socket.AF_INET6
    _check_sharing(policy)
    try:
        sock = DatagramSocket(family, socket.SOCK_DGRAM)
    except OSError as error:
        raise explained(error, policy, creating=True) from None
    try:
        _settle_family(sock, policy)
        _keep_to_device(sock, policy.device)
        ask_for_packet_info(sock, policy.mode, policy, details=details)
        _hear_own_groups_alone(sock, policy)
        if policy.reuse_port:
            set_option(sock, REUSE_PORT, 1)
        set_option(sock, EXCLUSIVE_ADDRESS_USE, 1)
        if before_bind is not None:
            before_bind(sock, policy)
        try:
            bind_socket(sock, policy)
        except OSError as error:
            raise explained(error, policy) from None
    except BaseException:
        sock.close()
        raise
    return sock


def _keep_to_device(sock: socket.socket, device: str | None) -> None:
    """Have a socket that is not bound yet serve one interface alone.

    :raises OSError: naming the interface and the remedy.
    """
    if device is None:
        return
    name = quoted(device)
    if BIND_TO_DEVICE.number is None:
        raise OSError(
            errno.EOPNOTSUPP,
            Message("this system has no SO_BINDTODEVICE; listen without {device}"),
        )
    try:
        set_option(sock, BIND_TO_DEVICE, device.encode() + b"\0")
    except OSError as error:
        if error.errno == errno.ENODEV:
            there = ", ".join(shown for _, shown in socket.if_nameindex())
            text = "this machine has no interface {name}, which {device} names; it has {there}"
        else:
            there = str(error.strerror)
            text = (
                "{device} {name} can't be bound to: {there}; grant CAP_NET_RAW, or leave {device} "
                "out"
            )
        raise OSError(error.errno, Message(text, name=name, there=there)) from None


def ask_for_packet_info(
    sock: socket.socket, mode: ListenMode, about: object, *, details: bool = False
) -> None:
    """Have each datagram come with where it arrived; to be called before bind.

    :param mode: what the socket serves.
    :param about: what an error names.
    :param details: ask for the hop limit and the traffic class of each datagram, too.
    :raises OSError: naming the option that can't be set.
    """
    options: list[tuple[_Setter, SocketOption]] = []
    if mode != "ipv4":
        options += [(set_option, o) for o in (*_IPV6, *(_IPV6_DETAILS if details else ()))]
    if _takes_ipv4_options(mode):
        options += [(set_ipv4_option, o) for o in (*_IPV4, *(_IPV4_DETAILS if details else ()))]
    for setter, option in options:
        try:
            setter(sock, option, 1)
        except OSError as error:
            raise OSError(
                error.errno, f"{option.name} can't be set: {error.strerror} ({about})"
            ) from None


def _hear_own_groups_alone(sock: socket.socket, policy: DatagramPolicy) -> None:
    try:
        if policy.mode != "ipv4":
            set_option(sock, IPV6_MULTICAST_ALL, 0)
        if _takes_ipv4_options(policy.mode):
            set_ipv4_option(sock, IPV4_MULTICAST_ALL, 0)
    except OSError as error:
        # A kernel that is older than the option.
        if error.errno != errno.ENOPROTOOPT:
            raise


def _takes_ipv4_options(mode: ListenMode) -> bool:
    return mode == "ipv4" or (mode == "dual-stack" and _IPV6_SOCKET_TAKES_IPV4_OPTIONS)


def bind_socket(sock: socket.socket, policy: ListenPolicy | DatagramPolicy) -> None:
    """Bind to what a policy names, zone id included.

    :raises OSError: as ``bind``, and ``ENODEV`` for an interface that is not there.
    """
    sock.bind(scoped_sockaddr(policy.host, policy.port))


def is_listening(sock: socket.socket) -> bool:
    """Whether a socket still accepts connections: ``shutdown`` ends that, as closing does."""
    try:
        return bool(sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))
    except OSError:
        return False


def is_bound(sock: socket.socket) -> bool:
    """Whether a socket has a name: Windows refuses that of one that is not bound (WSAEINVAL), where
    others give port 0."""
    try:
        sock.getsockname()
    except OSError as error:
        if error.errno == errno.EINVAL:
            return False
        raise
    return True


def explained(
    error: OSError, policy: ListenPolicy | DatagramPolicy, *, creating: bool = False
) -> OSError:
    """The error to raise in place of one of a socket: it names the address, who holds the port, or
    the remedy.

    :param creating: it came from making or configuring the socket, else from binding it.
    """
    if error.errno == errno.ENODEV:
        return error
    if not creating and says_held(error):
        return OSError(errno.EADDRINUSE, _held(policy, error))
    said = str(error.strerror)
    advice = None if creating else remedy(error, local=(policy.host, policy.port))
    if not (says_absent(error) if creating else says_unbindable(error, policy.host)):
        return OSError(error.errno, f"{said} ({policy})" + (f"; {advice}" if advice else ""))
    if policy.mode == "dual-stack":
        return NotDualStackError(
            Message(
                "this machine has no dual-stack sockets: {said}; {instead}",
                said=said,
                instead=_other_mode(),
            ),
            error,
        )
    assert policy.mode != "pair"
    text = f"this machine has no {FAMILY_NAMES[policy.mode]} sockets: {said} ({policy})"
    return AddressFamilyError(f"{text}; {advice}" if advice else text, error)


def _held(policy: ListenPolicy | DatagramPolicy, error: OSError) -> Message:
    holders = port_holders(policy)
    held = " and ".join(holders.values()) or str(policy)
    text = f"{{held}} {'are' if len(holders) > 1 else 'is'} held by another socket"
    told = f"; 'dsadapter doctor {policy.port}' says whose it is"
    if error.errno != errno.EADDRINUSE:
        # Windows says the same of both.
        protocol = "tcp" if policy.socket_type == socket.SOCK_STREAM else "udp"
        look = command_line("reserved", platform="win32", protocol=protocol)
        told += f", unless the system has reserved the port: '{look}'"
    if policy.mode != "dual-stack":
        return Message(text + told, held=held)
    text += "; a dual-stack listener needs both families"
    free = [family for family in FAMILIES if family not in holders]
    if len(free) == 1:
        text += f"; {{family={free[0]!r}}} serves {FAMILY_NAMES[free[0]]} alone"
    return Message(text + told, held=held)


def _other_mode() -> str:
    can = capability()
    if can.ipv4 is None:
        return Message("listen on {host} '0.0.0.0' for IPv4 only")
    if can.ipv6 is None:
        return "listen on one IPv6 address of this machine for IPv6 only"
    return "it has neither IPv4 nor IPv6 sockets; look at the sandbox that this process runs in"
