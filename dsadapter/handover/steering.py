"""Steering: among the sockets of one ``SO_REUSEPORT`` group, the new ones get what is new (Linux).

Needs no right but that to share the port with a socket of the same user.
"""

from __future__ import annotations

import errno
import sys
from collections.abc import Collection, Sequence

from dsadapter.handover.classic_bpf import attach
from dsadapter.handover.looking import inode, looked_at
from dsadapter.sockets.handing_on import HasDescriptor
from dsadapter.sockets.kernel_tables import LISTENING, tcp_rows
from dsadapter.sockets.options import NO_REUSE_PORT_FILTER, REUSE_PORT_FILTER, set_option

_RANDOM = 0x20, 0, 0, 0xFFFFF000 + 56
_MODULO = 0x94
_ADD = 0x04
_RETURN = 0x16, 0, 0, 0


def steer(sockets: Sequence[HasDescriptor], *, others: int | None = None) -> None:
    """Have new connections go to these sockets, at random, and to no other of their port.

    :param sockets: listening ones of one address, one family and one ``IPV6_V6ONLY``, with
        ``SO_REUSEPORT``, that have listened after all others; a pair's sockets are two calls.
    :param others: how many others there are; None to count them.
    :raises OSError: as ``setsockopt`` (``SO_ATTACH_REUSEPORT_CBPF``); ``EOPNOTSUPP`` where the
        system has no such thing.
    """
    if REUSE_PORT_FILTER.number is None or not sys.platform.startswith("linux"):
        raise OSError(
            errno.EOPNOTSUPP,
            "this system can't choose among sockets of one port; pass the old ones on instead",
        )
    before = count_others(sockets) if others is None else others
    # A socket's number in its group is how many have begun to listen before it.
    program = (_RANDOM, (_MODULO, 0, 0, len(sockets)), (_ADD, 0, 0, before), _RETURN)
    with looked_at(sockets[0]) as first:
        attach(first, REUSE_PORT_FILTER, program)


def unsteer(sockets: Sequence[HasDescriptor]) -> None:
    """Have new connections spread over all sockets of a group again.

    :param sockets: of one group, as :func:`steer` takes them.
    :raises OSError: as ``setsockopt`` (``SO_DETACH_REUSEPORT_BPF``, Linux 5.3), but not where
        nothing steers.
    """
    with looked_at(sockets[0]) as first:
        try:
            set_option(first, NO_REUSE_PORT_FILTER, 0)
        except OSError as error:
            if error.errno != errno.ENOENT:
                raise


def count_others(ours: Sequence[HasDescriptor], *, apart: Collection[int] = ()) -> int:
    """How many sockets listen where ours do, without those.

    :param apart: the inodes of sockets of the same address that are in no group with ours.
    """
    inodes = {inode(sock) for sock in ours}
    rows = list(tcp_rows(LISTENING))
    places = {(row.family, row.local) for row in rows if row.inode in inodes}
    return sum(
        (row.family, row.local) in places and row.inode not in {*inodes, *apart} for row in rows
    )
