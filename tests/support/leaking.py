from __future__ import annotations

import socket
import warnings

from dsadapter import guard


def leak_in_a_worker() -> None:
    """For a process that is spawned, which can't import a module of tests."""
    warnings.simplefilter("ignore")
    guard.install("raise")
    with socket.socket(type=socket.SOCK_DGRAM) as sock:
        sock.connect(("::ffff:127.0.0.1", 9))
