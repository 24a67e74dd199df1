"""Accepting for a loop that does so past the methods of a socket: uvloop, Windows' Proactor loop.

Its listening sockets are ours to accept from; the loop gets connections. Where it reads their names
from the descriptor they are AF_INET to every reader if the kernel can make them so, and else a
transport stands for its own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator, Iterator
from functools import partial
from types import CoroutineType, coroutine
from typing import Any

from dsadapter.frameworks.asyncio.loop_sockets import AcceptingSocket, asks_objects
from dsadapter.frameworks.asyncio.server.served_connections import Handed, ServedConnections
from dsadapter.frameworks.asyncio.transports import canonical_factory
from dsadapter.frameworks.selecting import watching_of
from dsadapter.sockets.accept_batch import LARGEST, AcceptBatch
from dsadapter.sockets.canonical import ONE_CONNECTION
from dsadapter.sockets.failing_accepts import ACCEPT_AGAIN

_PATIENCE = 8
"""For so many turns after one that found less than it was prepared to accept, it does not try for
more: to be told that there is none costs a system call and an exception."""

ProtocolFactory = Callable[[], asyncio.BaseProtocol]

_Begun = tuple[Handed, Any, asyncio.Future[Any] | None]
"""A call of the loop's ``connect_accepted_socket``, driven by hand, because a task for each
connection would be the better part of what accepting costs; and what it waits for, None for a turn
of the loop."""

_Ends = Generator[asyncio.Future[Any] | None]
_OVER: Any = object()


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
        # It reads names from the descriptor, and closes it past the socket.
        self._by_descriptor = not asks_objects(loop)
        self._batch = AcceptBatch(sock)
        self._at_once = 1
        self._patience = 0
        self._again: asyncio.TimerHandle | None = None
        self.served = ServedConnections(loop, sock)

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

    def _accept(self) -> None:
        accepted: list[Any] = []
        try:
            self._socket.hand(self._batch, self._at_once, accepted, self._by_descriptor)
        except BlockingIOError:
            pass
        except OSError as error:
            if error.errno not in ONE_CONNECTION:
                self._wait_out(error)
        except Exception as error:
            # A plugin's check of a connection is its own business.
            self.served.report("accepting failed", error)
        finally:
            # Also where a plugin ends the program.
            self._begin(accepted)
        if len(accepted) < self._at_once:
            self._at_once, self._patience = max(1, len(accepted)), _PATIENCE
        elif self._patience:
            self._patience -= 1
        else:
            self._at_once = min(self._at_once + 20, LARGEST)

    def _begin(self, accepted: list[Handed]) -> None:
        factory, options = self._factory, self._options
        connect = self._loop.connect_accepted_socket
        begun: list[_Begun] = []
        for sock in accepted:
            shown = factory
            if sock.mapped and self._by_descriptor:  # type: ignore[union-attr]
                shown = canonical_factory(factory)
            if options:
                self.served.begin(sock, partial(connect, shown, sock, **options))
                continue
            call = connect(shown, sock)
            try:
                begun.append((sock, call, call.send(None)))
            except StopIteration as returned:
                self.served.keep(returned.value[0], sock)
            except BaseException as error:
                sock.close()
                self.served.failed(error)
        if begun:
            # What a loop calls in the next turn has then been called: most are at their end.
            self._loop.call_soon(self._go_on, iter(begun))

    def _wait_out(self, error: OSError) -> None:
        self.served.report(f"accepts again in {ACCEPT_AGAIN:g} s", error)
        self.stop()
        self._again = self._loop.call_later(ACCEPT_AGAIN, self._start_again)

    def _start_again(self) -> None:
        try:
            self.start()
        except OSError as error:
            # A loop may need what there is no more of to watch a socket.
            self._wait_out(error)

    def _go_on(self, begun: Iterator[_Begun]) -> None:
        while (waits_for := next(ends := self._ends(begun), _OVER)) is not _OVER:
            self._end_later(ends, waits_for)

    def _end(self, ends: _Ends, *_: object) -> None:
        if (waits_for := next(ends, _OVER)) is not _OVER:
            self._end_later(ends, waits_for)

    def _end_later(self, ends: _Ends, waits_for: Any) -> None:
        """One waits still, for which the others need not wait."""
        if waits_for is None:
            self._loop.call_soon(self._end, ends)
        else:
            waits_for.add_done_callback(partial(self._end, ends))

    @coroutine
    def _ends(self, begun: Iterator[_Begun]) -> _Ends:
        # A frame that delegates gets what a call returns without an exception for it.
        for sock, call, waits_for in begun:
            if waits_for is not None and not waits_for.done():
                yield waits_for
            try:
                transport, _ = yield from call if hasattr(call, "__iter__") else _awaited(call)
            except GeneratorExit:
                raise
            except BaseException as error:
                sock.close()
                self.served.failed(error)
            else:
                self.served.keep(transport, sock)


def _awaited(call: Any) -> Any:
    return call if isinstance(call, CoroutineType) else call.__await__()
