"""Where a datagram arrived, and where its answer leaves from. Framework-independent.

The platform's part is chosen once, when this package is imported.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass

from dsadapter.errors import NotDualStackError

if sys.platform.startswith("linux"):
    from dsadapter.packetinfo import _linux as _platform
elif sys.platform == "darwin":
    from dsadapter.packetinfo import _darwin as _platform
elif sys.platform.startswith(("freebsd", "netbsd", "openbsd", "dragonfly")):
    from dsadapter.packetinfo import _bsd as _platform
elif sys.platform == "win32":
    from dsadapter.packetinfo import _windows as _platform
else:
    from dsadapter.packetinfo import _unsupported as _platform

__all__ = ["PacketInfo"]

platform = _platform


def require_packet_info(instead: str) -> None:
    """Check that this platform gives packet information.

    :param instead: what to use where it does not; for the error.
    :raises NotDualStackError: if it gives none.
    """
    if not platform.SUPPORTED:
        raise NotDualStackError(
            f"this platform gives no packet information, without which IPv4 can't be told from "
            f"forged datagrams; use {instead}"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class PacketInfo:
    """What the system says about one datagram beside its source (RFC 3542, section 6).

    Made by datagram ports, which have checked what the system said; nothing is validated here.
    """

    destination: str
    """The canonical address that the datagram was sent to: this machine's, a group or a broadcast
    address. A link-local IPv6 address has its zone."""
    interface_index: int
    """The interface that it came in by; 0 if the platform does not say."""
    interface_name: str | None
    """Its name; None if the platform does not say, or the interface has gone."""
    hop_limit: int | None
    """What is left of IPv6's hop limit or IPv4's TTL, 0 to 255; None if it was not asked for."""
    traffic_class: int | None
    """IPv6's traffic class or IPv4's TOS: six bits of DSCP and two of ECN; None likewise."""
