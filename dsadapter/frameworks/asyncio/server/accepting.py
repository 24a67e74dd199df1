"""Accepting for a loop that does so past the methods of a socket: uvloop, Windows' Proactor loop.

Its listening sockets are ours to accept from; the loop gets connections. Where it reads their names
from the descriptor they are AF_INET to every reader if the kernel can make them so, and else a
transport stands for its own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any
from weakref import ref

from dsadapter.frameworks.asyncio.loop_sockets import (
    AcceptingSocket,
    HandedSocket,
    WatchedHandedSocket,
    asks_objects,
)
from dsadapter.frameworks.asyncio.selecting import watching_of
from dsadapter.frameworks.asyncio.transports import canonical_factory
from dsadapter.sockets.canonical import ONE_CONNECTION

ACCEPT_AGAIN = 1.0
"""Seconds until accepting is tried again after an error that is likely to last, such as EMFILE; as
long as asyncio waits itself."""


_PATIENCE = 8
"""For so many turns after one that found less than it was prepared to accept, it does not try for
more: to be told that there is none costs a system call and an exception."""

ProtocolFactory = Callable[[], asyncio.BaseProtocol]


_Handed = HandedSocket | WatchedHandedSocket

_HandingOver = tuple[
    _Handed,
    Coroutine[Any, Any, tuple[asyncio.BaseTransport, asyncio.BaseProtocol]],
    asyncio.Future[Any] | None,
]
"""A call of the loop's ``connect_accepted_socket``, driven by hand, because a task for each
connection would be the better part of what accepting costs; and what it waits for, None for a turn
of the loop."""

_FEW = 64


class Acceptor:
    """Accepts from one listening socket and hands connections to the loop.

    :param sock: non-blocking, listening; it stays the caller's.
    :param options: what the loop's ``connect_accepted_socket`` takes beside.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        sock: AcceptingSocket,
        factory: ProtocolFactory,
        options: dict[str, Any],
    ) -> None:
        self._loop = loop
        self._socket = sock
        self._factory = factory
        self._options = options
        self._watching = watching_of(loop)
        self._shows_mapped = not asks_objects(loop)
        self._at_once = 1
        self._patience = 0
        self._again: asyncio.TimerHandle | None = None
        self._handshakes: set[asyncio.Task[Any]] = set()
        # Weak, so that an abandoned transport is found to be one; those of sockets that are gone
        # are left out when they have become many.
        self._handed: list[ref[_Handed]] = []
        self._many = _FEW

    def start(self) -> None:
        """Accept from now on."""
        self._again = None
        self._watching.add_reader(self._socket.fileno(), self._accept)

    def stop(self) -> None:
        """Leave connections in the backlog."""
        if self._again is not None:
            self._again.cancel()
            self._again = None
        elif self._socket.fileno() != -1:
            self._watching.remove_reader(self._socket.fileno())

    def transports(self) -> list[Any]:
        """Those of the open connections."""
        sockets = [sock for handed in self._handed if (sock := handed()) is not None]
        return [sock.transport for sock in sockets if sock.transport is not None]

    def end_handshakes(self) -> None:
        """Close connections that are in the midst of one."""
        for task in self._handshakes:
            task.cancel()

    def _accept(self) -> None:
        accepted = 0
        begun: list[_HandingOver] = []
        accept, factory = self._socket.handing(), self._factory
        connect, options = self._loop.connect_accepted_socket, self._options
        shows_mapped = self._shows_mapped
        try:
            # Failures count, too: a sandbox may refuse every one.
            for _ in range(self._at_once):
                try:
                    sock = accept()
                except BlockingIOError:
                    break
                except OSError as error:
                    if error.errno in ONE_CONNECTION:
                        continue
                    self._wait_out(error)
                    break
                except Exception as error:
                    # A plugin's check of a connection is its own business.
                    self._report("accepting failed", error)
                    break
                accepted += 1
                stands_in = shows_mapped and sock.mapped
                call = connect(
                    canonical_factory(factory) if stands_in else factory, sock, **options
                )
                if not options:
                    begun.append((sock, call, None))
                else:
                    task = self._loop.create_task(call)
                    self._handshakes.add(task)
                    task.add_done_callback(partial(self._shaken, sock))
        finally:
            # Also where a plugin ends the program.
            self._go_on(begun)
        if accepted < self._at_once:
            self._at_once, self._patience = max(1, accepted), _PATIENCE
        elif self._patience:
            self._patience -= 1
        else:
            self._at_once += 20

    def _wait_out(self, error: OSError) -> None:
        self._report(f"accepts again in {ACCEPT_AGAIN:g} s", error)
        self.stop()
        self._again = self._loop.call_later(ACCEPT_AGAIN, self.start)

    def _go_on(self, begun: list[_HandingOver]) -> None:
        # What a loop calls in the next turn has been called: most of them are at their end.
        still: list[_HandingOver] = []
        handed = self._handed
        for handing_over in begun:
            sock, call, waits_for = handing_over
            if waits_for is not None and not waits_for.done():
                waits_for.add_done_callback(partial(self._go_on_alone, handing_over))
                continue
            try:
                waits_for = call.send(None)
            except StopIteration as returned:
                if sock.fileno() != -1:
                    sock.transport = returned.value[0]
                    handed.append(ref(sock))
            except BaseException as error:
                sock.close()
                self._failed(error)
            else:
                if waits_for is not None:
                    waits_for._asyncio_future_blocking = False
                still.append((sock, call, waits_for))
        if still:
            self._loop.call_soon(self._go_on, still)
        if len(handed) > self._many:
            self._forget_the_gone()

    def _forget_the_gone(self) -> None:
        self._handed = [each for each in self._handed if each() is not None]
        self._many = 2 * len(self._handed) + _FEW

    def _go_on_alone(self, handing_over: _HandingOver, _: asyncio.Future[Any]) -> None:
        self._go_on([handing_over])

    def _shaken(self, sock: _Handed, task: asyncio.Task[Any]) -> None:
        self._handshakes.discard(task)
        if task.cancelled():
            sock.close()
        elif (error := task.exception()) is not None:
            sock.close()
            self._failed(error)
        elif sock.fileno() != -1:
            sock.transport = task.result()[0]
            self._handed.append(ref(sock))
            if len(self._handed) > self._many:
                self._forget_the_gone()

    def _failed(self, error: BaseException) -> None:
        if isinstance(error, (SystemExit, KeyboardInterrupt)):
            raise error
        # A client that is gone, or speaks no TLS, is nobody's fault here.
        if not isinstance(error, OSError):
            self._report("an accepted connection could not be served", error)

    def _report(self, message: str, error: BaseException) -> None:
        self._loop.call_exception_handler(
            {"message": message, "exception": error, "socket": self._socket}
        )
