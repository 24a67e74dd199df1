"""What the kernel says of a socket, whoever's object stands for it."""

from __future__ import annotations

import os
import socket

from dsadapter.sockets.handing_on import HasDescriptor, duplicate

SOCKET_MEMORY = 55
"""SO_MEMINFO (linux/sock_diag.h, Linux 4.12): nine numbers, the first the bytes that wait."""


def looked_at(sock: HasDescriptor) -> socket.socket:
    """Another socket object for it: of the kernel's family, and closed without harm to it."""
    return duplicate(sock.fileno())


def inode(sock: HasDescriptor) -> int:
    """The number that the kernel's tables have for it."""
    return os.fstat(sock.fileno()).st_ino
