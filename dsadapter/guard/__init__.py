"""The leak guard: sees mapped addresses that any code of the process hands to a socket, or to a
lookup, that can't take them.

It is an audit hook (PEP 578): what does not pass Python's ``socket`` module is not seen, such as
calls of libuv's, of extension modules and of other processes. What ARRIVES has no audit event: what
``accept``, ``recvfrom`` and ``getpeername`` give is not seen either.
"""

from dsadapter.guard.auditing import install, is_installed, recorded, uninstall
from dsadapter.guard.leak_errors import MappedAddressLeak
from dsadapter.guard.tally import leaks

__all__ = ["MappedAddressLeak", "install", "is_installed", "leaks", "recorded", "uninstall"]
