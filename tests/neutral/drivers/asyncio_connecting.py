"""Connecting under asyncio."""

import asyncio
import socket
from typing import Any

FAMILIES = {("ipv4",): socket.AF_INET, ("ipv6",): socket.AF_INET6}


class Watched:
    def __init__(self, loop: Any, sock: Any, ready: Any) -> None:
        loop.add_writer(sock, ready)
        self.cancel = lambda: loop.remove_writer(sock)


class Waiting:
    name = "asyncio"

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.now, self.call_later = self.loop.time, self.loop.call_later

    def when_writable(self, sock: Any, ready: Any) -> Watched:
        return Watched(self.loop, sock, ready)

    def look_up(self, host: str, families: Any, answer: Any) -> Any:
        return self.loop.create_task(self.ask(host, families, answer))

    async def ask(self, host: str, families: Any, answer: Any) -> None:
        family = FAMILIES.get(tuple(families), 0)
        try:
            for found in await self.loop.getaddrinfo(host, None, family=family, type=1):
                answer.found(*found[4][::3])
            answer.done()
        except OSError as error:
            answer.done(str(error))
