"""The exceptions of the package."""

from __future__ import annotations

import errno

__all__ = ["NotDualStackError"]


class NotDualStackError(OSError):
    """No dual-stack socket can be had here, or the socket at hand is not one.

    The message gives the reason and the remedy. As an ``OSError`` it carries the ``errno`` of the
    call that failed, or ``EAFNOSUPPORT`` where no call did.
    """

    def __init__(self, message: str, cause: OSError | None = None) -> None:
        number = cause.errno if cause is not None and cause.errno else errno.EAFNOSUPPORT
        super().__init__(number, message)
