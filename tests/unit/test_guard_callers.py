"""Whose line a leak is."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import sys
import threading
from functools import partial
from typing import Any

from twisted.internet.base import ReactorBase
from twisted.internet.selectreactor import SelectReactor

from dsadapter import guard
from dsadapter.guard.callers import caller_of

MAPPED = ("::ffff:127.0.0.1", 9)


def here() -> Any:
    return sys._getframe(1)


def test_the_line_of_the_program() -> None:
    caller = caller_of(here())
    assert caller.file == __file__
    assert caller.function == "test_the_line_of_the_program"


def leak() -> None:
    with socket.socket() as sock:
        sock.setblocking(False)
        with contextlib.suppress(OSError):
            sock.connect(MAPPED)


class TestCallbacks:
    """Where a test's own frames would be on the stack, a thread has none of them."""

    def places(self, run: Any) -> list[tuple[str, str]]:
        guard.install("log")
        try:
            with guard.recorded() as seen:
                thread = threading.Thread(target=run)
                thread.start()
                thread.join()
        finally:
            guard.uninstall()
        return [(each.file, each.function) for each in seen]

    def test_asyncio_names_what_it_calls(self) -> None:
        with socket.socket() as sock:
            sock.setblocking(False)

            loop = asyncio.new_event_loop()
            loop.set_exception_handler(lambda *_: None)
            loop.call_soon(partial(sock.connect, MAPPED))
            loop.call_soon(leak)
            loop.call_later(0.01, loop.stop)
            places = self.places(loop.run_forever)
            loop.close()
        assert places[0] == ("", "socket.connect")
        assert places[1] == (__file__, "leak")

    def test_Twisted_names_what_it_calls(self) -> None:
        reactor: ReactorBase = SelectReactor()
        with socket.socket() as sock:
            reactor.callLater(0, sock.connect, MAPPED)
            reactor.callLater(0, leak)
            places = self.places(reactor.runUntilCurrent)
        assert places == [("", "socket.connect"), (__file__, "leak")]
