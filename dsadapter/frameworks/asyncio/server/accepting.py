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
from weakref import ref

from dsadapter.frameworks.asyncio.loop_sockets import (
    AcceptingSocket,
    HandedSocket,
    WatchedHandedSocket,
    asks_objects,
)
from dsadapter.frameworks.asyncio.selecting import watching_of
from dsadapter.frameworks.asyncio.transports import canonical_factory
from dsadapter.sockets.accept_batch import LARGEST, AcceptBatch
from dsadapter.sockets.canonical import ONE_CONNECTION
from dsadapter.sockets.failing_accepts import ACCEPT_AGAIN

_PATIENCE = 8
"""For so many turns after one that found less than it was prepared to accept, it does not try for
more: to be told that there is none costs a system call and an exception."""

ProtocolFactory = Callable[[], asyncio.BaseProtocol]


_Handed = HandedSocket | WatchedHandedSocket

_Begun = tuple[_Handed, Any, asyncio.Future[Any] | None]
"""A call of the loop's ``connect_accepted_socket``, driven by hand, because a task for each
connection would be the better part of what accepting costs; and what it waits for, None for a turn
of the loop."""

_Ends = Generator[asyncio.Future[Any] | None]
_OVER: Any = object()

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
        # It reads names from the descriptor, and closes it past the socket.
        self._by_descriptor = not asks_objects(loop)
        self._batch = AcceptBatch(sock)
        self._at_once = 1
        self._patience = 0
        self._again: asyncio.TimerHandle | None = None
        self._handshakes: set[asyncio.Task[Any]] = set()
        # Weak, so that an abandoned transport is found to be one: uvloop closes that when it is
        # collected. Of transports that take no weak reference, such as uvloop's of TLS, their
        # sockets. Those that are gone are left out when they have become many.
        self._kept: list[ref[Any]] = []
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
        kept = [each for kept in self._kept if (each := kept()) is not None]
        found = [each.transport if isinstance(each, _Handed) else each for each in kept]
        return [transport for transport in found if transport is not None]

    def end_handshakes(self) -> None:
        """Close connections that are in the midst of one."""
        for task in self._handshakes:
            task.cancel()

    def _accept(self) -> None:
        accepted: list[_Handed] = []
        try:
            self._socket.hand(self._batch, self._at_once, accepted, self._by_descriptor)
        except BlockingIOError:
            pass
        except OSError as error:
            if error.errno not in ONE_CONNECTION:
                self._wait_out(error)
        except Exception as error:
            # A plugin's check of a connection is its own business.
            self._report("accepting failed", error)
        finally:
            # Also where a plugin ends the program.
            self._begin(accepted)
        if len(accepted) < self._at_once:
            self._at_once, self._patience = max(1, len(accepted)), _PATIENCE
        elif self._patience:
            self._patience -= 1
        else:
            self._at_once = min(self._at_once + 20, LARGEST)

    def _begin(self, accepted: list[_Handed]) -> None:
        factory, options = self._factory, self._options
        connect = self._loop.connect_accepted_socket
        begun: list[_Begun] = []
        for sock in accepted:
            shown = factory
            if sock.mapped and self._by_descriptor:
                shown = canonical_factory(factory)
            if options:
                task = self._loop.create_task(connect(shown, sock, **options))
                self._handshakes.add(task)
                task.add_done_callback(partial(self._shaken, sock))
                continue
            call = connect(shown, sock)
            try:
                begun.append((sock, call, call.send(None)))
            except StopIteration as returned:
                self._keep(sock, returned.value[0])
            except BaseException as error:
                sock.close()
                self._failed(error)
        if begun:
            # What a loop calls in the next turn has then been called: most are at their end.
            self._loop.call_soon(self._go_on, iter(begun))

    def _wait_out(self, error: OSError) -> None:
        self._report(f"accepts again in {ACCEPT_AGAIN:g} s", error)
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
        if len(self._kept) > self._many:
            self._forget_the_gone()

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
                self._failed(error)
            else:
                self._keep(sock, transport)

    def _keep(self, sock: _Handed, transport: asyncio.BaseTransport) -> None:
        # A finalizer of Python closes the socket, and others the descriptor.
        let_go = None if hasattr(transport, "__del__") else partial(_let_go, sock)
        try:
            self._kept.append(ref(transport, let_go))
        except TypeError:
            sock.transport = transport
            self._kept.append(ref(sock))

    def _forget_the_gone(self) -> None:
        self._kept = [each for each in self._kept if each() is not None]
        self._many = 2 * len(self._kept) + _FEW

    def _shaken(self, sock: _Handed, task: asyncio.Task[Any]) -> None:
        self._handshakes.discard(task)
        if task.cancelled():
            sock.close()
        elif (error := task.exception()) is not None:
            sock.close()
            self._failed(error)
        else:
            self._keep(sock, task.result()[0])

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


def _let_go(sock: _Handed, _transport: ref[Any]) -> None:
    # uvloop closes the descriptor with a collected transport and leaves the socket as it is, which
    # would close whatever has the number by then.
    sock.detach()


def _awaited(call: Any) -> Any:
    return call if isinstance(call, CoroutineType) else call.__await__()
