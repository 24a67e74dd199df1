"""What this machine can do, found by doing it."""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable
from functools import cache
from typing import NamedTuple

from dsadapter.sockets.options import set_v6only

# EAFNOSUPPORT is a family that is off or filtered; EADDRNOTAVAIL one without any address.
_UNBINDABLE = {
    errno.EAFNOSUPPORT,
    errno.EADDRNOTAVAIL,
    getattr(errno, "WSAEAFNOSUPPORT", errno.EAFNOSUPPORT),
    getattr(errno, "WSAEADDRNOTAVAIL", errno.EADDRNOTAVAIL),
}
# From the option: EINVAL and ENOPROTOOPT. From sandboxes and torsocks: the rest.
_ABSENT = _UNBINDABLE | {
    errno.EPROTONOSUPPORT,
    errno.ESOCKTNOSUPPORT,
    errno.EOPNOTSUPP,
    errno.ENOSYS,
    errno.EPERM,
    errno.EACCES,
    errno.EINVAL,
    errno.ENOPROTOOPT,
}
# Addresses that every machine has whose family is on.
_EVERYWHERE = {"::", "0.0.0.0", "::1", "127.0.0.1"}


class Capability(NamedTuple):
    """For each kind of socket None if this machine has it, else the error that says it has not."""

    ipv4: OSError | None
    """An AF_INET socket. Its absence does not stop IPv4 through a dual-stack socket: a seccomp
    filter on AF_INET leaves that working."""
    ipv6: OSError | None
    """An AF_INET6 socket bound to ``::``. It works with ``disable_ipv6`` set, too."""
    dual_stack: OSError | None
    """The same with ``IPV6_V6ONLY`` cleared."""


@cache
def capability() -> Capability:
    """Probe this machine, once in the life of the process; nothing is sent and nothing listens.

    :raises OSError: for an error that says nothing about the machine, such as EMFILE; the next call
        probes anew.
    """
    return probe()


def probe(before_bind: Callable[[socket.socket], object] = lambda sock: None) -> Capability:
    """Probe this machine, every time.

    :param before_bind: called with each socket before it is bound to a port that the system
        chooses; what it raises comes out of this function.
    :raises OSError: as :func:`capability`.
    """
    return Capability(
        ipv4=_probe(socket.AF_INET, "0.0.0.0", None, before_bind),
        ipv6=_probe(socket.AF_INET6, "::", True, before_bind),
        dual_stack=_probe(socket.AF_INET6, "::", False, before_bind),
    )


def _probe(
    family: int, wildcard: str, v6only: bool | None, before_bind: Callable[[socket.socket], object]
) -> OSError | None:
    try:
        with socket.socket(family, socket.SOCK_STREAM) as sock:
            if v6only is not None:
                set_v6only(sock, v6only)
            before_bind(sock)
            sock.bind((wildcard, 0))
    except OSError as error:
        if not says_absent(error):
            raise
        return error.with_traceback(None)
    return None


def says_absent(error: OSError) -> bool:
    """Whether an error of making a socket and setting its options means that this machine has no
    such socket."""
    return error.errno in _ABSENT


def says_unbindable(error: OSError, host: str) -> bool:
    """Whether an error of binding means that this machine lacks the address family of the host;
    not whether it lacks that one address."""
    return error.errno in _UNBINDABLE and host in _EVERYWHERE
