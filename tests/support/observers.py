"""Plugins that are told of connections, and read little of it."""

from __future__ import annotations

from typing import Any

from dsadapter import hookimpl


class Silent:
    """Is told of connections and reads nothing."""

    def __init__(self) -> None:
        self.lost = 0

    @hookimpl
    def dsadapter_connection_made(self, connection: Any) -> None: ...

    @hookimpl
    def dsadapter_connection_lost(self, connection: Any) -> None:
        self.lost += 1


class Beginnings:
    """Keeps records, and is not told when a connection is lost."""

    def __init__(self) -> None:
        self.kept: list[Any] = []

    @hookimpl
    def dsadapter_connection_made(self, connection: Any) -> None:
        self.kept.append(connection)
