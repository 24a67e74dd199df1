"""Who else listens on a port that is shared with ``SO_REUSEPORT``.

Linux lets a dual-stack socket and an AF_INET one share a port, and then gives every IPv4 connection
to the AF_INET one, whichever came first (measured on 6.18). Neither is told.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from pathlib import Path

from dsadapter.policy import ListenPolicy, socket_name
from dsadapter.sockets.holders import all_ipv4_is_held

# proc(5); absent on other systems.
_IPV4_SOCKETS = Path("/proc/net/tcp")
_LISTENING = "0A"


def sharing_conflict(policy: ListenPolicy) -> str | None:
    """What is wrong with sharing the port of a policy, in words for its owner; None if nothing is
    known to be.

    To be asked before the policy's own sockets are bound. Linux only; nothing is sent.
    """
    if not policy.reuse_port or not policy.port or policy.mode == "ipv6":
        return None
    try:
        others = sorted(set(_ipv4_listeners(policy.port)))
    except OSError:
        return None
    if policy.mode == "ipv4":
        if others or not all_ipv4_is_held(policy):
            return None
        return (
            f"a dual-stack socket listens on port {policy.port}, too; {policy} takes its IPv4 "
            f"connections from it. Close one of the two"
        )
    if policy.mode == "dual-stack" and others:
        return (
            f"{' and '.join(others)} of another socket shares the port with {policy} and takes its "
            f"IPv4 connections from it. Close that one, or make it dual-stack, too"
        )
    return None


def _ipv4_listeners(port: int) -> Iterator[str]:
    """The ``host:port`` of each AF_INET socket that listens on a port in this network namespace.

    :raises OSError: where the system does not list them.
    """
    with _IPV4_SOCKETS.open() as table:
        next(table, None)
        for line in table:
            _slot, local, _remote, state, *_ = line.split()
            address, _, number = local.partition(":")
            if state == _LISTENING and int(number, 16) == port:
                # The address is a number of the machine's own byte order.
                yield socket_name(socket.inet_ntoa(struct.pack("=I", int(address, 16))), port)
