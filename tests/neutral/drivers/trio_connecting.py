"""Connecting under Trio."""

from typing import Any

import trio
from trio.socket import AF_INET, AF_INET6, getaddrinfo

FAMILIES = {("ipv4",): AF_INET, ("ipv6",): AF_INET6}


class Waiting:
    def __init__(self, nursery: trio.Nursery) -> None:
        self.name, self.nursery, self.now = "trio", nursery, trio.current_time

    def start(self, function: Any) -> trio.CancelScope:
        scope = trio.CancelScope()

        async def run() -> None:
            with scope:
                await trio.lowlevel.checkpoint()
                await function()

        self.nursery.start_soon(run)
        return scope

    def call_later(self, seconds: float, function: Any) -> trio.CancelScope:
        async def wait() -> None:
            await trio.sleep(seconds)
            function()

        return self.start(wait)

    def when_writable(self, sock: Any, ready: Any) -> trio.CancelScope:
        async def wait() -> None:
            while True:
                await trio.lowlevel.wait_writable(sock)
                ready()

        return self.start(wait)

    def look_up(self, host: str, families: Any, answer: Any) -> trio.CancelScope:
        async def ask() -> None:
            try:
                for found in await getaddrinfo(host, None, FAMILIES.get(tuple(families), 0), 1):
                    answer.found(*found[4][::3])
                answer.done()
            except OSError as error:
                answer.done(str(error))

        return self.start(ask)
