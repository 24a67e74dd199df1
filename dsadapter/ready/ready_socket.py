"""A listening socket for any server, and the sockets that it accepts, all of which plugins watch.

It is opened by :func:`dsadapter.sockets.listening.listening_socket`.
"""

from __future__ import annotations

import _socket
import atexit
import os
import sys
import warnings
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Self, TypeVar, cast
from weakref import ref

from dsadapter.addressing.sockaddr import SocketAddress
from dsadapter.listener import Listener
from dsadapter.policy import DatagramPolicy, Family, ListenMode, ListenPolicy
from dsadapter.ready import life as lives
from dsadapter.ready.life import Life
from dsadapter.records import ALONE, Connection, family_of, references, settle, unspecified
from dsadapter.sockets.accept_batch import peer_of
from dsadapter.sockets.bare_handles import compiled_loop
from dsadapter.sockets.binding import open_datagram_socket
from dsadapter.sockets.canonical import (
    CanonicalSocket,
    PlainSocket,
    canonical_name,
    family_number,
    take_ipv4_form,
)
from dsadapter.sockets.failing_accepts import wait_out
from dsadapter.sockets.ifaddrs import zoned
from dsadapter.sockets.listening import Listening, open_listening_sockets

if TYPE_CHECKING:
    import ssl

    from dsadapter.hooks.dispatch import Hooks

_finalized: Callable[[Any], None] = getattr(_socket.socket, "__del__", lambda _sock: None)


def _finalize(
    sock: Any,
    _is_finalizing: Callable[[], bool] = sys.is_finalizing,
    _warn: Callable[..., None] = warnings.warn,
    _socket: Any = _socket.socket,
    _finalized: Callable[[Any], None] = _finalized,
) -> None:
    """What the standard library does with a socket that nobody has any more: closes it, and warns,
    of the line that lost it. To be called by ``__del__`` itself."""
    if _socket.fileno(sock) == -1:
        return
    if _is_finalizing():
        _finalized(sock)
        return
    # It would name the line of __del__, which the standard library has none of.
    unclosed = f"unclosed {sock!r}"
    with suppress(OSError):
        _socket.close(sock)
    _warn(unclosed, ResourceWarning, 3, sock)


finalize: Callable[[Any], None] = _finalize

_set_blocking = _socket.socket.setblocking
_name_of = _socket.socket.getsockname

_INET6 = int(_socket.AF_INET6)

S = TypeVar("S", bound="ReadySocket")

FRAMEWORK = "socket"
"""What plugins are told as the name of the framework: nobody knows which one serves it."""


class ReadySocket(CanonicalSocket):
    """A canonical socket that plugins are told of: the one that listens as opened and closed, each
    one that it accepts as made and lost.

    They are told once, in the process that opened or accepted: a forked one that closes what it has
    inherited says nothing. One that listens and is pickled to a worker process opens there, too;
    one that is still open when the process ends is told as closed then.
    A detached descriptor is lost to them, and so is one that comes from ``_accept``.
    """

    __slots__ = ("_ending", "_life", "_local_name", "_peer_name", "_told")

    _life: Life | None
    """Its own, or that of others that it is; a connection has none before it is shared."""
    _told: list[Connection]
    """What observers have been told of, of a connection: taking it out is one step, and threads may
    close at once."""
    _ending: tuple[Callable[[Connection], None] | None, object]
    """Who is told when it ends, and in which process."""
    _peer_name: SocketAddress | bytes
    """Of the peer: canonical, or as the kernel has written it."""
    _local_name: SocketAddress | None

    @property
    def sslsocket_class(self) -> type[ssl.SSLSocket]:
        """As for :class:`~dsadapter.sockets.canonical.CanonicalSocket`; a connection that is
        wrapped in it lives on."""
        from dsadapter.ready.ready_tls import ReadySSLSocket

        return ReadySSLSocket

    def accept(self) -> tuple[Self, SocketAddress]:
        """As ``socket.socket.accept``, with the canonical address of the peer; plugins have been
        told when it returns. Where none observes connections it is a plain canonical socket.
        On a blocking socket an error that is likely to last, such as EMFILE, is raised after a
        second: servers such as ``socketserver``'s pass it over and accept again."""
        listener = self._observed()
        kind = CanonicalSocket if listener is None else self._accepts or type(self)
        try:
            accepted, address = self._accepted_as(kind)
        except OSError as error:
            # With a timeout there is an event loop, which has other things to do.
            if self.gettimeout() is None:
                wait_out(error)
            raise
        try:
            if len(address) == 2 and family_number(self) == _INET6:
                # Whoever serves it may hand its bare descriptor on.
                take_ipv4_form(accepted)
            if listener is not None:
                arrive(listener, [(accepted, address, family_of(address))])
        except BaseException:
            accepted.close()
            raise
        return accepted, address

    def _observed(self) -> Listener | None:
        """The listener, if somebody observes its connections."""
        # As listener_of, without its calls: every accept asks.
        life = getattr(self, "_life", None)
        if not isinstance(life, _Listening) or life.listener.hooks.connections is None:
            return None
        return life.listener

    def peer_address(self) -> SocketAddress:
        """The canonical address of the peer of one that has been accepted, with its zone."""
        name = self._peer_name
        if isinstance(name, bytes):
            name = self._peer_name = peer_of(name)
        return zoned(name)

    def getsockname(self) -> Any:
        """As for :class:`~dsadapter.sockets.canonical.CanonicalSocket`."""
        try:
            local = self._local_name
        except AttributeError:
            return super().getsockname()
        if local is None:
            # The name of a connection stays.
            local = self._local_name = super().getsockname()
        # It may be as the kernel gave it.
        return canonical_name(local)

    if sys.platform != "win32":

        def setblocking(self, flag: bool) -> None:
            """As ``socket.socket.setblocking``. An event loop that would serve both families past
            the socket's methods (uvloop) calls this, and is logged."""
            # A loop calls it for each connection, too, which has no life.
            if not flag and getattr(self, "_life", None) is not None:
                listener = listener_of(self)
                loop = listener and compiled_loop(sys._getframe(1))
                if listener and loop:
                    listener.served_by(loop)
            _set_blocking(self, flag)

    def dup(self) -> Self:
        """As ``socket.socket.dup``; plugins are told of the end when both are closed."""
        duplicate = super().dup()
        self._share_life(duplicate)
        return duplicate

    def detach(self) -> int:
        """As for :class:`~dsadapter.sockets.canonical.CanonicalSocket`. Of one that listens for
        both families this is logged: whoever accepts from the descriptor sees mapped addresses."""
        life = life_of(self)
        if isinstance(life, _Listening):
            life.listener.handed_on()
        try:
            self._end()
        finally:
            fd = super().detach()
        return fd

    if sys.platform == "win32":

        def share(self, process_id: int) -> bytes:
            """As ``socket.socket.share``. This is logged as for :meth:`detach`, but where
            ``multiprocessing`` calls it, whose worker gets a ready socket."""
            life = life_of(self)
            asker = sys._getframe(1).f_globals.get("__name__")
            if isinstance(life, _Listening) and asker != "multiprocessing.resource_sharer":
                life.listener.handed_on()
            return super().share(process_id)

    def _real_close(self, _socket: Any = _socket.socket) -> None:
        # What socket.socket calls when its last file object has closed, too.
        try:
            self._end()
        finally:
            _socket.close(self)

    _finalize = finalize

    def __del__(self, _is_finalizing: Callable[[], bool] = sys.is_finalizing) -> None:
        if not getattr(self, "_told", True) and self._life is None:
            # A connection that has ended, as nearly all have by then.
            self._finalize()
            return
        try:
            # When the interpreter ends, modules are empty already, the plugins' as well as this
            # one.
            if not _is_finalizing():
                # Weak references may be gone.
                for connection in getattr(self, "_told", ()):
                    settle(connection, self)
                self._end()
        finally:
            self._finalize()

    def _end(self) -> None:
        """It is about to close."""
        try:
            connection = self._told.pop()
        except (AttributeError, IndexError):
            life = life_of(self)
            if life is not None:
                self._life = None
                life.end(self)
            return
        lost, process = self._ending
        try:
            if lost is not None and process is lives.process:
                lost(connection)
        finally:
            if references(connection) > ALONE:
                # Somebody keeps it.
                settle(connection, self)
            self._local_name = None

    def _life_to_share(self) -> Life | None:
        """Its life, which other sockets may have, too."""
        try:
            connection = self._told.pop()
        except (AttributeError, IndexError):
            return life_of(self)
        settle(connection, self)
        lost, process = self._ending
        if lost is not None:
            self._life = Life(self, partial(lost, connection), process)
        return self._life

    def _share_life(self, duplicate: ReadySocket) -> None:
        life = self._life_to_share()
        if life is not None:
            life.share(duplicate)
        duplicate._life = life

    def _give_life(self) -> Life | None:
        life = self._life_to_share()
        self._life = None
        return life

    def __reduce__(self) -> tuple[Any, ...]:
        life = life_of(self)
        base = super().__reduce__()
        if not isinstance(life, _Listening):
            return base
        listener = life.listener
        return _opened_again, (base, listener.framework, listener.policy, listener.mode)


def arrive(
    listener: Listener,
    arriving: Iterable[tuple[S, SocketAddress | bytes, Family]],
    arrived: list[S] | None = None,
    *,
    closed_unseen: bool = False,
) -> None:
    """Tell observers of what a listener has accepted.

    :param arriving: each with the address of its peer, canonical or as the kernel has written it,
        and the family of that.
    :param arrived: what they have been told of is appended to it.
    :param closed_unseen: whether descriptors are closed before these sockets learn of it: another
        connection may have the number by then, so the kernel is asked at once for what an observer
        could want to know then.
    """
    made, lost = listener.hooks.connections or (None, None)
    record = listener.record
    ending = lost, lives.process
    for sock, name, family in arriving:
        sock._life = None
        sock._peer_name = name
        sock._local_name = None
        sock._ending = ending
        connection = record(ref(sock), family)
        if made is not None:
            made(connection)
        if closed_unseen and (lost is not None or references(connection) > ALONE):
            # Somebody may read it when the descriptor is gone.
            try:
                sock._local_name = _name_of(sock)
            except OSError:
                sock._local_name = unspecified(family)
        sock._told = [connection]
        if arrived is not None:
            arrived.append(sock)


def life_of(sock: ReadySocket) -> Life | None:
    """None for one that nobody watches: a library made it of a descriptor, or it has ended."""
    return getattr(sock, "_life", None)


def listener_of(sock: ReadySocket) -> Listener | None:
    """That of one that listens and is watched."""
    life = life_of(sock)
    return life.listener if isinstance(life, _Listening) else None


class _Listening(Life):
    def __init__(self, sock: ReadySocket, listener: Listener) -> None:
        super().__init__(sock, listener.closed)
        self.listener = listener
        # Many servers end with their program, and leave the socket to the system.
        atexit.register(self._end_with_the_process)

    def end(self, sock: object) -> None:
        super().end(sock)
        if self.is_over:
            atexit.unregister(self._end_with_the_process)

    def _end_with_the_process(self) -> None:
        self.over()


def open_ready_socket(
    policy: ListenPolicy, framework: str, kind: type[S], *, reads_headers: bool = False
) -> S:
    """Open one socket that listens, and tell plugins.

    :param framework: what plugins are told as the name of the framework.
    :param kind: what it is, and what it accepts.
    :param reads_headers: as for :meth:`~dsadapter.listener.Listener.open`.
    """
    return _opened(
        Listener(framework, policy),
        lambda hooks: open_listening_sockets(policy, hooks.before_bind, pair=False),
        kind,
        reads_headers,
    )


def open_ready_sockets(policy: ListenPolicy, framework: str) -> list[ReadySocket]:
    """All the sockets of a policy, and tell plugins: of one listener, which is closed with the last
    of them.

    :param framework: what plugins are told as the name of the framework.
    """
    listener = Listener(framework, policy)
    blocking = _are_to_block(policy)
    sockets = watched(listener, listener.open(), ReadySocket)
    try:
        for sock in sockets:
            sock.setblocking(blocking)
        listener.opened()
    except BaseException:
        for sock in sockets:
            sock.close()
        raise
    return sockets


def open_ready_datagram_socket(policy: DatagramPolicy, framework: str, kind: type[S]) -> S:
    """Open a socket for datagrams, which brings their packet information, and tell plugins."""

    def opening(hooks: Hooks) -> Listening:
        return Listening(policy.mode, (open_datagram_socket(policy, hooks.before_bind),), None)

    return _opened(Listener(framework, policy), opening, kind)


def _opened(
    listener: Listener,
    opening: Callable[[Hooks], Listening],
    kind: type[S],
    reads_headers: bool = False,
) -> S:
    blocking = _are_to_block(listener.policy)
    [opened] = listener.open(opening, reads_headers=reads_headers)
    sock = taking_the_place_of(opened, kind)
    sock.setblocking(blocking)
    return _alive(sock, listener)


def _are_to_block(policy: ListenPolicy | DatagramPolicy) -> bool:
    """Whether a policy's sockets are to be blocking ones.

    The mode is the open file's: another process that has it, too, and serves by an event loop would
    hang in its next accept.
    """
    return all(_is_blocking(inherited.descriptor) for inherited in policy.inherited)


def _is_blocking(fd: int) -> bool:
    # What is wrong with a descriptor is told when it is taken over.
    with suppress(OSError, AttributeError):
        # Windows can't be asked.
        return os.get_blocking(fd)
    return True


def watched(listener: Listener, sockets: Iterable[CanonicalSocket], kind: type[S]) -> list[S]:
    """A listener's sockets as ready ones, which take their place; it is closed with the last of
    them, and told of what they accept.

    :param listener: open; its framework calls ``opened``.
    :param kind: what they are.
    """
    ready = [taking_the_place_of(sock, kind) for sock in sockets]
    life = _Listening(ready[0], listener)
    for sock in ready:
        life.share(sock)
        sock._life = life
    return ready


def watched_connection(sock: CanonicalSocket, lost: Callable[[], None] | None, kind: type[S]) -> S:
    """A connection as one that tells when it has closed, which takes its place.

    :param lost: called once; None if nobody wants to know.
    :param kind: what it is.
    """
    ready = taking_the_place_of(sock, kind)
    if lost is not None:
        ready._life = Life(ready, lost)
    return ready


def taking_the_place_of(sock: CanonicalSocket, kind: type[S]) -> S:
    """Another socket with the descriptor of one, and with its life if plugins watch it."""
    timeout = sock.gettimeout()
    life = sock._give_life() if isinstance(sock, ReadySocket) else None
    # What it is, that nobody else sees in between.
    ready = kind(family_number(sock), sock.type, sock.proto, PlainSocket.detach(sock))
    ready.settimeout(timeout)
    if life is not None:
        life.pass_on(sock, ready)
        ready._life = life
    return ready


def _opened_again(
    base: tuple[Any, ...],
    framework: str,
    policy: ListenPolicy | DatagramPolicy,
    mode: ListenMode,
) -> ReadySocket:
    """In a worker process that the socket was handed to."""
    restore, arguments = base
    sock = cast(ReadySocket, restore(*arguments))
    listener = Listener(framework, policy)
    try:
        listener.open(lambda _: Listening(mode, (sock,), None))
    except BaseException:
        sock.close()
        raise
    return _alive(sock, listener)


def _alive(sock: S, listener: Listener) -> S:
    sock._life = _Listening(sock, listener)
    try:
        listener.opened()
    except BaseException:
        with suppress(OSError):
            sock.close()
        raise
    return sock
