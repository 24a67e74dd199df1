"""How AnyIO's tasks wait, on whichever back end."""

from __future__ import annotations

import anyio
import anyio.lowlevel
from anyio.lowlevel import RunVar

from dsadapter.connector.coroutine_race import kept
from dsadapter.coroutines import CoroutineWaiting
from dsadapter.frameworks.anyio.socket_waits import notify_closing, wait_readable, wait_writable
from dsadapter.happy_eyeballs.outcomes import Outcomes


def _until(deadline: float) -> anyio.CancelScope:
    return anyio.CancelScope(deadline=deadline)


WAITING = CoroutineWaiting(
    until_readable=wait_readable,
    until_writable=wait_writable,
    sleep=anyio.sleep,
    checkpoint_if_cancelled=anyio.lowlevel.checkpoint_if_cancelled,
    cancel_shielded_checkpoint=anyio.lowlevel.cancel_shielded_checkpoint,
    notify_closing=notify_closing,
    closed=anyio.ClosedResourceError,
    now=anyio.current_time,
    until=_until,
    event=anyio.Event,
    open_tasks=anyio.create_task_group,
)

_outcomes: RunVar[Outcomes] = RunVar("dsadapter.outcomes")


def shared_outcomes() -> Outcomes:
    """What the connects of an event loop remember."""
    return kept(_outcomes, Outcomes)
