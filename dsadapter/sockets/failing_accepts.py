"""Accepts that fail for as long as something lasts, such as EMFILE: the connection waits there
still, so whoever accepts whenever one waits would do nothing else."""

from __future__ import annotations

import errno
import logging
import time

from dsadapter.rate_limit import RateLimit

ACCEPT_AGAIN = 1.0
"""Seconds until accepting is tried again after an error that is likely to last; as long as asyncio
waits itself."""

LASTING = {
    *(errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM),
    *(errno.EPERM, errno.EACCES),
}
"""What is short, and what sandboxes and packet filters answer (``accept(2)``)."""

logger = logging.getLogger("dsadapter")
_limit = RateLimit()


def say_again(error: OSError) -> None:
    """Log, now and then, that accepting has failed and is tried again, for who would not."""
    if (unsaid := _limit.admit()) is not None:
        logger.warning("accepts again in %g s: %s%s", ACCEPT_AGAIN, error.strerror, unsaid)


def wait_out(error: OSError) -> None:
    """Block until it is time to accept again; at once after any other error."""
    if error.errno in LASTING:
        say_again(error)
        time.sleep(ACCEPT_AGAIN)
