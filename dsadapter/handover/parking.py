"""Parking: an old socket gets nothing new any more, and keeps what it has (Linux 5.0).

Linux looks for the socket of a new connection among those that are bound to its interface, or to
none (``compute_score`` in net/ipv4/inet_hashtables.c). A socket that is bound to an interface that
is not there is passed over from then on; a handshake that it has begun completes into its queue,
since it is found by its addresses (``inet_ehash_lookup``).
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Sequence

from dsadapter.handover.looking import looked_at
from dsadapter.handover.places import bound_index, group_of, place_of, require_successors
from dsadapter.sockets.handing_on import HasDescriptor
from dsadapter.sockets.options import BIND_TO_INDEX, set_option

# No system numbers so many interfaces; one may have been given such a number by hand.
_LOWEST = 2**30
_TRIED = 100


def park(
    old: Sequence[HasDescriptor], new: Sequence[HasDescriptor], *, one_way: bool = False
) -> None:
    """Have what is new come to the new sockets, and nothing to the old ones any more.

    All processes that have an old socket have it parked. A datagram socket that is parked can still
    be read, but an answer from it fails with ``ENODEV``: answer through the new one.

    Sockets that do not listen yet can be parked behind those that do: then they get nothing before
    :class:`Succession` has them take over. Park those of several workers by one call.

    :param old: listening sockets, those that will listen, or bound datagram sockets.
    :param new: sockets that serve all that the old ones do, and listen already.
    :param one_way: park although it can't be undone here, for want of ``CAP_NET_RAW``.
    :raises OSError: with nothing parked: ``EADDRNOTAVAIL`` if no new socket listens in the place of
        an old one, ``EPERM`` if parking can't be undone, ``EINVAL`` if an old socket is bound to an
        interface, or in one group of ``SO_REUSEPORT`` with a new one: the kernel would choose the
        parked one still, and some clients wait a second; ``EOPNOTSUPP`` where the system has no
        such thing.
    """
    require_successors(old, new)
    groups = {group_of(sock) for sock in new} - {None}
    for sock in old:
        if (group := group_of(sock)) in groups:
            raise OSError(
                errno.EINVAL,
                f"{group} is in one group with a new socket (SO_REUSEPORT); steer() does it",
            )
    require_right_to_park(one_way=one_way)
    for sock in old:
        with looked_at(sock) as looked:
            if bound_index(looked) and not is_parked(sock):
                raise OSError(
                    errno.EINVAL,
                    f"{place_of(sock)} is bound to an interface, which parking would take away; "
                    f"close it, or hand it over by its descriptor",
                )
    parked: list[HasDescriptor] = []
    index = _unused_index()
    try:
        for sock in old:
            if not is_parked(sock):
                _bind(sock, index)
                parked.append(sock)
    except BaseException:
        if can_unpark():
            unpark(parked)
        raise


def unpark(sockets: Sequence[HasDescriptor]) -> None:
    """Have what is new come to parked sockets again, as far as no other socket goes first.

    :param sockets: those that are not parked stay as they are.
    :raises OSError: ``EPERM`` without ``CAP_NET_RAW`` in the user namespace of the network
        (``sock_bindtoindex_locked`` in net/core/sock.c): a binding is no one's to change.
    """
    for sock in sockets:
        if is_parked(sock):
            _bind(sock, 0)


def is_parked(sock: HasDescriptor) -> bool:
    """Whether a socket is bound to an interface that is not there."""
    with looked_at(sock) as looked:
        index = bound_index(looked)
    return bool(index) and not _is_there(index or 0)


def can_unpark() -> bool:
    """Whether this process may undo parking: tried with a socket of its own, which is bound to no
    port.

    :raises OSError: ``EOPNOTSUPP`` where the system has no such thing.
    """
    with _any_socket() as probe:
        try:
            pass_over(probe)
        except OSError as error:
            if error.errno == errno.EPERM:
                # Linux before 5.7.
                return False
            raise
        try:
            _bind(probe, 0)
        except PermissionError:
            return False
    return True


def require_right_to_park(*, one_way: bool) -> None:
    """Check that parking can be undone, or need not be.

    :raises OSError: ``EPERM``, ``EOPNOTSUPP``.
    """
    if not can_unpark() and not one_way:
        raise PermissionError(
            errno.EPERM,
            "parking could not be undone, which takes the right CAP_NET_RAW; have it, or ask for "
            "one way",
        )


def pass_over(sock: HasDescriptor) -> None:
    """Have the kernel pass a socket over for all that is new, whoever takes its place.

    :raises OSError: ``EOPNOTSUPP`` where the system has no such thing; ``EPERM`` if it is bound to
        an interface, and without ``CAP_NET_RAW`` before Linux 5.7.
    """
    _bind(sock, _unused_index())


def _unused_index() -> int:
    """The number of no interface in this network namespace; another one each time: sockets that
    are parked and listen then are of one group if the numbers are one."""
    for _ in range(_TRIED):
        index = _LOWEST + int.from_bytes(os.urandom(4)) % _LOWEST
        if not _is_there(index):
            return index
    raise OSError(errno.EBUSY, f"the interface {index} and many more are there; remove some")


def _is_there(index: int) -> bool:
    try:
        socket.if_indextoname(index)
    except OSError:
        return False
    return True


def _any_socket() -> socket.socket:
    try:
        return socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    except OSError:
        return socket.socket(socket.AF_INET, socket.SOCK_DGRAM)


def _bind(sock: HasDescriptor, index: int) -> None:
    with looked_at(sock) as looked:
        if bound_index(looked) is None:
            raise OSError(
                errno.EOPNOTSUPP,
                "this system can't park sockets, which takes Linux 5.0; hand them over by their "
                "descriptors",
            )
        set_option(looked, BIND_TO_INDEX, index)
