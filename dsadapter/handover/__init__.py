"""Replace listening sockets, or restart a server, without losing a connection (Linux).

A socket that closes resets what waits in its queue. So new connections go to the new sockets first,
the old queue is seen empty, then the old sockets close. Within one group of ``SO_REUSEPORT``
:func:`steer` does that, without any right. From a pair of sockets to one dual-stack socket, and
back, which are never in one group, :func:`park` does; :func:`replace` and :class:`Succession` use
whichever is right.
"""

from __future__ import annotations

from dsadapter.handover.draining import Draining, drain
from dsadapter.handover.parking import can_unpark, is_parked, park, unpark
from dsadapter.handover.steering import steer, unsteer
from dsadapter.handover.succession import Succession, replace

__all__ = [
    "Draining",
    "Succession",
    "can_unpark",
    "drain",
    "is_parked",
    "park",
    "replace",
    "steer",
    "unpark",
    "unsteer",
]
