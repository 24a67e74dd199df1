"""asyncio's own loops as a covered process has them. It imports little: every loop has it."""

from __future__ import annotations

from dsadapter.launcher.report import settings

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def create_server(original: Any, module: Any) -> Any:
    """A server of a pair has one socket, if that is asked for."""

    async def create_server(
        self: Any, protocol_factory: Any, host: Any = None, port: Any = None, **options: Any
    ) -> Any:
        if settings().merge_pairs:
            from dsadapter.launcher.merged_servers import merged

            made = await merged(self, protocol_factory, host, port, options)
            if made is not None:
                return made
        return await original(self, protocol_factory, host, port, **options)

    return create_server
