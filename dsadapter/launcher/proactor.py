"""asyncio's Proactor loop, Windows' own, as a covered process has it.

It accepts and connects past the methods of sockets; names it asks them for.
"""

from __future__ import annotations

from dsadapter.launcher.methods import listeners

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def accept(original: Any, module: Any) -> Any:
    """Each connection is counted, and plugins are told."""

    def accept(self: Any, listener: Any) -> Any:
        coming = original(self, listener)
        known = listeners.get(listener.fileno())
        if known is not None:

            def accepted(done: Any) -> None:
                if not done.cancelled() and done.exception() is None:
                    connection, peer = done.result()
                    known.accepted(connection.fileno(), peer)

            # The first to be told: the loop comes after.
            coming.add_done_callback(accepted)
        return coming

    return accept


def connect(original: Any, module: Any) -> Any:
    """See :mod:`dsadapter.launcher.connecting`."""

    def connect(self: Any, conn: Any, address: Any) -> Any:
        from dsadapter.launcher.connecting import destination

        return original(self, conn, destination(conn, address))

    return connect
