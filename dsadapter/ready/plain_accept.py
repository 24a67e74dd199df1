"""Connections for frameworks that take no subclass of ``socket.socket``."""

from __future__ import annotations

import _socket
import socket
from typing import NamedTuple

from dsadapter.addressing.sockaddr import SocketAddress
from dsadapter.sockets.canonical import (
    PlainSocket,
    accept_descriptor,
    canonical_name,
    family_number,
    take_ipv4_form,
)
from dsadapter.sockets.options import ADDRESS_FORM

_INET, _INET6 = int(socket.AF_INET), int(socket.AF_INET6)
_kind = _socket.socket.type.__get__
_proto = _socket.socket.proto.__get__
_FORM_LEVEL, _FORM = ADDRESS_FORM.level, ADDRESS_FORM.number


class PlainConnection(NamedTuple):
    """A connection as a socket of Python's own class."""

    sock: socket.socket
    peer: SocketAddress
    """Canonical."""
    is_mapped: bool
    """Whether the socket's own names are mapped: its peer was gone before the kernel could make it
    an AF_INET one (``IPV6_ADDRFORM``)."""


def accept_plain(listening: socket.socket) -> PlainConnection:
    """Accept, as an AF_INET socket where the peer is IPv4 and the kernel can make it one.

    :raises OSError: as ``socket.socket.accept``.
    """
    fd, name = accept_descriptor(listening)
    kind, proto = _kind(listening), _proto(listening)
    peer = canonical_name(name)
    if peer is name:
        return PlainConnection(PlainSocket(family_number(listening), kind, proto, fd), peer, False)
    # Of the family that it is to have: making it anew costs as much as accepting.
    sock = PlainSocket(_INET, kind, proto, fd)
    if _FORM is not None:
        try:
            sock.setsockopt(_FORM_LEVEL, _FORM, _INET)
        except OSError:
            pass
        else:
            return PlainConnection(sock, peer, False)
    return PlainConnection(PlainSocket(_INET6, kind, proto, sock.detach()), peer, True)


def made_plain(sock: socket.socket, ipv4: bool) -> tuple[socket.socket, bool]:
    """A socket of Python's own class, in the place of one that has connected; as an AF_INET one
    where the kernel can make it one.

    :param ipv4: whether it is connected to an IPv4 peer.
    :returns: the socket, and whether its own names are mapped.
    """
    is_mapped = ipv4 and family_number(sock) == _INET6 and not take_ipv4_form(sock)
    family = _INET if ipv4 and not is_mapped else family_number(sock)
    # Not the method of CanonicalSocket, which would ask the kernel once more.
    fd = PlainSocket.detach(sock)
    return PlainSocket(family, _kind(sock), _proto(sock), fd), is_mapped
