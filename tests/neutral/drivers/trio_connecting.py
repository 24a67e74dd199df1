"""Connecting under Trio."""

import socket
from typing import Any

import trio

FAMILIES = {("ipv4",): socket.AF_INET, ("ipv6",): socket.AF_INET6}


class Waiting:
    name = "trio"

    def __init__(self, nursery: trio.Nursery) -> None:
        self.nursery, self.now = nursery, trio.current_time

    def start(self, function: Any, *args: Any) -> trio.CancelScope:
        scope = trio.CancelScope()

        async def run() -> None:
            with scope:
                await function(*args)

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
            family = FAMILIES.get(tuple(families), 0)
            try:
                for found in await trio.socket.getaddrinfo(host, None, family, 1):
                    answer.found(*found[4][::3])
                answer.done()
            except OSError as error:
                answer.done(str(error))

        return self.start(ask)
