"""How Trio's tasks wait, and look names up."""

from __future__ import annotations

import trio

from dsadapter.connector import Lookups
from dsadapter.connector.coroutine_race import kept, look_up_by
from dsadapter.coroutines import CoroutineWaiting
from dsadapter.happy_eyeballs.outcomes import Outcomes

WAITING = CoroutineWaiting(
    until_readable=trio.lowlevel.wait_readable,
    until_writable=trio.lowlevel.wait_writable,
    sleep=trio.sleep,
    checkpoint_if_cancelled=trio.lowlevel.checkpoint_if_cancelled,
    cancel_shielded_checkpoint=trio.lowlevel.cancel_shielded_checkpoint,
    notify_closing=trio.lowlevel.notify_closing,
    closed=trio.ClosedResourceError,
    now=trio.current_time,
    until=trio.move_on_at,
    event=trio.Event,
    open_tasks=trio.open_nursery,
)

# In a task of nobody's: races of other tasks may wait for the same answer.
look_up = look_up_by(trio.socket.getaddrinfo, trio.lowlevel.spawn_system_task, trio.CancelScope)

# Clocks and resolvers are the run's.
_shared: trio.lowlevel.RunVar[tuple[Lookups, Outcomes]] = trio.lowlevel.RunVar("dsadapter")


def shared() -> tuple[Lookups, Outcomes]:
    """What the connects of a Trio run have in common."""
    return kept(_shared, lambda: (Lookups(), Outcomes()))
