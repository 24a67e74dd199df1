"""What a port says about datagrams that it drops: each matter once a minute."""

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
}


class Complaints:
    """One port's.

    :param size: how many bytes a datagram may have.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._limits: dict[str, RateLimit] = {}

    def dropped(self, port: str, reason: str, about: str) -> None:
        """Tell of a datagram that has been dropped.

        :param port: the port's name.
        :param reason: the name of the counter.
        :param about: whose it was.
        """
        more = self._limits.setdefault(reason, RateLimit()).admit()
        if more is not None:
            logger.warning(
                "%s",
                Message(
                    f"UDP port {{port}} {_TEXTS[reason]}: {{about}}{{more}}",
                    port=port,
                    size=self._size,
                    about=about,
                    more=more,
                ),
            )
