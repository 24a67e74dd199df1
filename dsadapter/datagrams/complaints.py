"""What a port says about what it does not deliver: each matter once a minute."""

from __future__ import annotations

import logging

from dsadapter.messages import Message
from dsadapter.rate_limit import RateLimit

logger = logging.getLogger("dsadapter.datagrams")

_TEXTS = {
    "forged": "dropped an IPv6 datagram that claims an IPv4 sender",
    "truncated": "dropped a datagram of more than the {max_packet_size} of {size} bytes",
    "without_packet_info": "dropped a datagram that came without packet information, so that its "
    "IPv4 sender may be forged",
    "unanswerable": "dropped a datagram whose sender can't be answered",
    "failed": "could not receive and tries again",
}


class Complaints:
    """One port's.

    :param size: how many bytes a datagram may have.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._limits: dict[str, RateLimit] = {}

    def complain(self, port: str, matter: str, about: str) -> None:
        """Log what has happened, unless the same has been logged just now.

        :param port: the port's name.
        :param matter: the name of the counter of what was dropped, or ``failed``.
        :param about: which one it was.
        """
        more = self._limits.setdefault(matter, RateLimit()).admit()
        if more is not None:
            logger.warning(
                "%s",
                Message(
                    f"UDP port {{port}} {_TEXTS[matter]}: {{about}}{{more}}",
                    port=port,
                    size=self._size,
                    about=about,
                    more=more,
                ),
            )
