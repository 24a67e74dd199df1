"""Answers from an IPv6 address that is this machine's by a local route alone (AnyIP).

IPv4 sends from it as from any other; IPv6 answers EINVAL unless ``IPV6_FREEBIND`` is set (measured
on Linux 6.18), which lets a socket send from any address there is. So it is set around one answer,
and only where the kernel would still deliver to that address.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from dsadapter.packetinfo import platform
from dsadapter.sockets.control_messages import Message
from dsadapter.sockets.local_routes import is_local
from dsadapter.sockets.options import IPV6_FREEBIND, set_option


def refuses_local_route(error: OSError, messages: Sequence[Message]) -> bool:
    """Whether an error of sending is about a source that is local by a route alone.

    :param messages: the control messages that were sent with.
    """
    if error.errno != errno.EINVAL or IPV6_FREEBIND.number is None:
        return False
    for level, kind, data in messages:
        decoder = platform.DECODERS.get((level, kind))
        said = decoder(data) if decoder is not None else None
        source = (said or {}).get("ipv6")
        if isinstance(source, bytes):
            return any(source) and is_local(source)
    return False


@contextmanager
def free_bind(sock: socket.socket) -> Iterator[None]:
    """Let a socket send from what no interface has, for as long as this lasts.

    :raises OSError: as ``setsockopt``.
    """
    set_option(sock, IPV6_FREEBIND, 1)
    try:
        yield
    finally:
        set_option(sock, IPV6_FREEBIND, 0)
