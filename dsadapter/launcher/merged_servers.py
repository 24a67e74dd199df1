"""A pair that one server of a loop opens, as two faces of one socket."""

from __future__ import annotations

import asyncio
import os
import socket
from asyncio.trsock import TransportSocket
from collections.abc import Iterable
from functools import partial
from typing import Any
from weakref import ref

from dsadapter.frameworks.asyncio.server.stream_server import DualStackServer
from dsadapter.launcher import merging
from dsadapter.launcher.listing import Entry, end, forget
from dsadapter.launcher.loops import bound
from dsadapter.launcher.methods import endings, listeners
from dsadapter.launcher.report import settings
from dsadapter.policy import Family
from dsadapter.sockets.port_numbers import port_number

# What create_server takes about opening sockets; the rest is about serving.
_OPENING = ("family", "flags", "keep_alive", "reuse_address", "reuse_port", "sock", "start_serving")
_AGAIN = 32


async def merged(
    loop: Any, factory: Any, host: Any, port: Any, options: dict[str, Any]
) -> MergedServer | None:
    """Serve ``0.0.0.0`` and ``::`` of one port through one socket.

    :param options: those of ``loop.create_server``.
    :returns: None if the server has no such pair, or it stays one.
    :raises OSError: if a plugin refuses.
    """
    number = _port_of_pair(host, port, options)
    if not number or settings().spares(number) is not None:
        return None
    try:
        faces = await bound(loop, host, port, options)
    except OSError:
        # The loop says it in its own words.
        return None
    sockets: list[Any] = [*faces]
    try:
        families = {sock.family: sock for sock in faces}
        if len(faces) != 2 or families.keys() != {socket.AF_INET, socket.AF_INET6}:
            raise OSError("this machine has one family")
        for sock in faces:
            sock.setblocking(False)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if options.get("keep_alive"):
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        with merging.sharing(*faces):
            dual = merging.dual(socket.socket, number, families[socket.AF_INET6])
        sockets.append(dual)
        serving = {name: value for name, value in options.items() if name not in _OPENING}
        # Two queues become one.
        serving["backlog"] = 2 * options.get("backlog", 100)
        server = MergedServer(loop, factory, faces, dual, number, serving)
        await server.begin(options.get("start_serving", True))
    except BaseException as error:
        for sock in sockets:
            sock.close()
        if not isinstance(error, OSError) or isinstance(error, PermissionError):
            raise
        merging.says_not_merged(number, error)
        return None
    return server


def _port_of_pair(host: Any, port: Any, options: dict[str, Any]) -> int:
    """The number that is asked for on both wildcard addresses; 0 for none."""
    if options.get("sock") is not None or options.get("family"):
        return 0
    if host is None or host == "":
        if not options.get("flags", socket.AI_PASSIVE) & socket.AI_PASSIVE:
            return 0
    elif not isinstance(host, (list, tuple, set)) or {*host} != {*merging.WILDCARDS.values()}:
        return 0
    try:
        return port_number(port, "tcp")
    except (OSError, TypeError):
        return 0


class MergedServer(DualStackServer):
    """A server of the loop's, whose sockets are the faces of its own one.

    :param faces: bound, one of each family.
    :param dual: bound.
    :param serving: what ``create_server`` takes beside.
    """

    def __init__(
        self,
        loop: Any,
        factory: Any,
        faces: Iterable[Any],
        dual: Any,
        port: int,
        serving: dict[str, Any],
    ) -> None:
        super().__init__(loop, (), ())
        self._factory = factory
        self._faces: dict[Family, Any] = {
            "ipv6" if sock.family == socket.AF_INET6 else "ipv4": sock for sock in faces
        }
        self._dual = dual
        self._port = port
        self._serving = serving
        self._listed: dict[Family, Entry] = {}
        self._leftover: _Leftover | None = None
        self._task: asyncio.Task[None] | None = None

    async def begin(self, serve: bool) -> None:
        """Have the loop serve the socket, now or by :meth:`start_serving`.

        :raises OSError: as ``loop.create_server``.
        """
        if serve:
            await self._serve_dual()
        for family, sock in self._faces.items():
            ending = partial(_face_closed, ref(self), family)
            endings[sock.fileno()] = os.getpid(), ending

    async def _serve_dual(self) -> None:
        merging.settle(self._dual, "merged", "")
        await self._add(self._dual)
        known = listeners.get(self._dual.fileno())
        if known is not None:
            forget(known.entry)
        merging.says_merged(self._port, "one server", self._listed)

    async def start_serving(self) -> None:
        """Accept connections from now on."""
        if self._task is not None:
            await self._task
        if self._parts:
            await self._parts[-1].start_serving()
        elif len(self._faces) == 2:
            await self._serve_dual()
        else:
            for sock in self._faces.values():
                await self._add(sock)

    def is_serving(self) -> bool:
        """Whether it accepts connections."""
        if self._task is not None and not self._task.done():
            return bool(self._faces)
        return bool(self._parts) and bool(self._parts[-1].is_serving())

    async def _add(self, sock: Any) -> None:
        part = await self._loop.create_server(self._factory, sock=sock, **self._serving)
        self._parts.append(part)

    @property
    def sockets(self) -> tuple[Any, ...]:
        """The faces that are open."""
        return tuple(TransportSocket(s) for s in self._faces.values() if s.fileno() != -1)

    def close(self) -> None:
        """Close the listening sockets; connections live on."""
        faces, self._faces = self._faces, {}
        super().close()
        for sock in (self._dual, *faces.values()):
            sock.close()
        for entry in self._listed.values():
            end(entry)
        if self._leftover is not None:
            self._leftover.close()

    def face_closed(self, closed: Family) -> None:
        """The other face listens by itself."""
        faces = self._faces
        faces.pop(closed, None)
        if not faces or self._loop.is_closed():
            return
        [sock] = faces.values()
        merging.settle(sock, "left", merging.alone(closed, self._port))
        if not self._parts:
            self._dual.close()
            return
        with merging.sharing(self._dual, sock):
            sock.listen(self._serving["backlog"])
        rest = socket.socket(fileno=os.dup(self._dual.fileno()))
        rest.setblocking(False)
        self._leftover = _Leftover(self._loop, rest, closed, self._serve_one)
        for part in self._parts:
            part.close()
        for entry in self._listed.values():
            forget(entry)
        self._leftover.look()
        # What comes before that waits in its backlog.
        self._task = self._loop.create_task(self._add(sock))

    async def _serve_one(self, sock: Any) -> None:
        names = ("ssl", "ssl_handshake_timeout", "ssl_shutdown_timeout")
        options = {name: self._serving[name] for name in names if name in self._serving}
        try:
            await self._loop.connect_accepted_socket(self._factory, sock, **options)
        except OSError:
            # A client that is gone, or speaks no TLS.
            sock.close()


def _face_closed(server: ref[MergedServer], family: Family) -> None:
    known = server()
    if known is not None:
        known.face_closed(family)


class _Leftover(merging.LeftoverReader):
    """A listening socket that closes when nothing waits for it.

    :param serve: serves one connection.
    """

    def __init__(self, loop: Any, sock: Any, refused: Family, serve: Any) -> None:
        super().__init__(merging.Leftover(sock, refused), loop.call_later)
        self._loop = loop
        self._serve = serve
        self._tasks: set[Any] = set()
        loop.add_reader(sock.fileno(), self.read)

    def read(self) -> None:
        for _ in range(_AGAIN):
            try:
                sock, _address = self.rest.accept()
            except OSError:
                return
            sock.setblocking(False)
            task = self._loop.create_task(self._serve(sock))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def stop(self) -> None:
        if not self._loop.is_closed():
            self._loop.remove_reader(self.rest.socket.fileno())
