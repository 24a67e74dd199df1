"""Accepting for a loop that reads names from the bare descriptor, such as uvloop.

Its listening sockets are ours to accept from; the loop gets connections that are AF_INET to every
reader where the kernel can make them so, and else a transport that stands for its own.
"""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Callable, Coroutine
from typing import Any

from dsadapter.frameworks.asyncio.transports import canonical_factory, shows_its_names
from dsadapter.sockets.canonical import CanonicalSocket

ACCEPT_AGAIN = 1.0
"""Seconds until accepting is tried again after an error that is likely to last, such as EMFILE; as
long as asyncio waits itself."""

# A connection that a firewall rejects, or whose client has gone (accept(2)).
_ONE_CONNECTION = {errno.EPERM, errno.ECONNABORTED, errno.EPROTO, errno.EINTR}

ProtocolFactory = Callable[[], asyncio.BaseProtocol]


class Acceptor:
    """Accepts from one listening socket and hands connections to the loop.

    :param sock: non-blocking, listening; it stays the caller's.
    :param options: what the loop's ``connect_accepted_socket`` takes beside.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        sock: CanonicalSocket,
        factory: ProtocolFactory,
        options: dict[str, Any],
    ) -> None:
        self._loop = loop
        self._socket = sock
        self._factory = factory
        self._options = options
        self._at_once = 1
        self._again: asyncio.TimerHandle | None = None
        self._handing_over: set[asyncio.Task[Any]] = set()

    def start(self) -> None:
        """Accept from now on."""
        self._again = None
        self._loop.add_reader(self._socket.fileno(), self._accept)

    def stop(self) -> None:
        """Leave connections in the backlog."""
        if self._again is not None:
            self._again.cancel()
            self._again = None
        elif self._socket.fileno() != -1:
            self._loop.remove_reader(self._socket.fileno())

    def _accept(self) -> None:
        accepted = 0
        # Failures count, too: a sandbox may refuse every one.
        for _ in range(self._at_once):
            try:
                sock, _ = self._socket.accept()
            except BlockingIOError:
                break
            except OSError as error:
                if error.errno in _ONE_CONNECTION:
                    continue
                self._wait_out(error)
                break
            except Exception as error:
                # A plugin's check of a connection is its own business.
                self._report("accepting failed", error)
                break
            accepted += 1
            self._hand_over(sock)
        self._at_once = self._at_once + 20 if accepted == self._at_once else max(1, accepted)

    def _wait_out(self, error: OSError) -> None:
        self._report(f"accepts again in {ACCEPT_AGAIN:g} s", error)
        self.stop()
        self._again = self._loop.call_later(ACCEPT_AGAIN, self.start)

    def _hand_over(self, sock: CanonicalSocket) -> None:
        sock.setblocking(False)
        factory = (
            self._factory if shows_its_names(self._loop, sock) else canonical_factory(self._factory)
        )
        handing_over = self._loop.connect_accepted_socket(factory, sock, **self._options)
        if self._options.get("ssl") is None:
            # A task for each connection would be the better part of what accepting costs.
            self._drive(sock, handing_over)
            return
        task = self._loop.create_task(handing_over)
        self._handing_over.add(task)
        task.add_done_callback(lambda task: self._handed_over(sock, task))

    def _drive(self, sock: CanonicalSocket, handing_over: Coroutine[Any, Any, Any]) -> None:
        try:
            waits_for = handing_over.send(None)
        except StopIteration:
            return
        except BaseException as error:
            sock.close()
            self._failed(error)
            return
        if waits_for is None:
            self._loop.call_soon(self._drive, sock, handing_over)
            return
        waits_for._asyncio_future_blocking = False
        waits_for.add_done_callback(lambda _: self._drive(sock, handing_over))

    def _handed_over(self, sock: CanonicalSocket, task: asyncio.Task[Any]) -> None:
        self._handing_over.discard(task)
        if task.cancelled():
            sock.close()
        elif (error := task.exception()) is not None:
            sock.close()
            self._failed(error)

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
