"""``listen`` as a covered process has it: widened, listed, checked and watched by plugins."""

from __future__ import annotations

import errno
import os
import socket
import weakref
from collections.abc import Callable, Hashable
from contextlib import suppress
from functools import partial
from typing import Any, cast

from dsadapter.addressing.sockaddr import SocketAddress
from dsadapter.errors import PluginError
from dsadapter.hooks.manager import active_hooks
from dsadapter.launcher.deciding import Decision, decide
from dsadapter.launcher.listing import Entry, end, list_entry
from dsadapter.launcher.methods import closed, endings, listeners
from dsadapter.launcher.own_sockets import bound_here, identity, name_of, remember_bound
from dsadapter.launcher.report import say, settings
from dsadapter.launcher.taking_over import CannotTakeOverError, take_over
from dsadapter.listener import Listener, announced_elsewhere
from dsadapter.policy import ListenMode, ListenPolicy, socket_name
from dsadapter.ready.ready_socket import FRAMEWORK
from dsadapter.sockets.binding import is_listening
from dsadapter.sockets.canonical import CanonicalSocket, canonical_name, family_number
from dsadapter.sockets.ifaddrs import zoned
from dsadapter.sockets.listening import Listening
from dsadapter.sockets.options import REUSE_PORT, set_option, set_v6only, shares_port

_INET, _INET6 = int(socket.AF_INET), int(socket.AF_INET6)

_widened_on: dict[int, list[Watched]] = {}
"""The widened listeners, by port."""

sharing: dict[int, tuple[Hashable, Callable[[], None]]] = {}
"""By descriptor: which socket it is that shares a port until it listens, and what ends that."""


class Watched:
    """A listening socket of this process.

    :param life: None where plugins can't be told.
    """

    def __init__(self, sock: Any, life: Listener | None, entry: Entry) -> None:
        self.identity = identity(sock.fileno())
        self.life = life
        self.entry = entry
        self.before: int | None = None
        """The family that a listener had before it was widened."""
        self.port = 0
        """Of one that was widened."""
        self.sock = weakref.ref(sock)
        self.shares = shares_port(sock)

    def widened(self, sock: Any, before: int) -> None:
        """It has been; see :attr:`before`."""
        self.before, self.port = before, sock.getsockname()[1]
        _widened_on.setdefault(self.port, []).append(self)

    def closed(self) -> None:
        """Forget it."""
        if self.before is not None:
            left = [each for each in _widened_on.pop(self.port, ()) if each is not self]
            if left:
                _widened_on[self.port] = left

    def accepted(self, fd: int, peer: SocketAddress) -> None:
        """Count a connection, and tell plugins."""
        if fd in endings:
            # It was closed where nobody sees that, and its number has come again.
            closed(fd)
        entry = self.entry
        if entry.ipv4 is not None and len(peer) == 2 and entry.serves == "dual-stack":
            entry.one_more()
        life = self.life
        if life is None or life.hooks.connections is None:
            return
        told = life.accepted(peer, partial(name_of, fd))
        if told is not None:
            # What closes it unseen gives its number to another connection.
            told.closing()
            endings[fd] = os.getpid(), told


def listen(sock: Any, backlog: tuple[int, ...], original: Callable[..., None]) -> None:
    """Listen on a stream socket of either family.

    :param original: ``listen`` without us.
    :raises OSError: as ``listen``; ``PermissionError`` if a plugin refuses, or a required one is
        missing.
    """
    known = listeners.get(sock.fileno())
    if known is not None and known.identity == identity(sock.fileno()):
        original(sock, *backlog)
        return
    go = partial(original, sock, *backlog)
    try:
        _listen(sock, backlog, go)
    except PluginError as error:
        raise PermissionError(errno.EPERM, str(error)) from error


def _listen(sock: Any, backlog: tuple[int, ...], go: Callable[[], None]) -> None:
    listens = is_listening(sock)
    try:
        decision = decide(sock, settings(), not listens and bound_here(sock.fileno()))
    except OSError as error:
        if active_hooks().before_bind is not None:
            raise
        # A sandbox, in which nothing can be asked.
        say(f"a listener stays as the program makes it: {error.strerror}")
        go()
        return
    policy = _policy(decision, backlog)
    with announced_elsewhere():
        life = Listener(FRAMEWORK, policy)
    before = family_number(sock)
    widened = False
    problem: str | None = None

    def opening(hooks: Any) -> Listening:
        nonlocal widened, problem
        check = hooks.before_bind
        mode: ListenMode = decision.mode
        if decision.kind == "widen":
            dual = _policy(decision, backlog, dual=True)
            try:
                _widen(sock, decision, check and partial(_check, check, dual), go)
                widened, mode = True, "dual-stack"
            except CannotTakeOverError as error:
                problem = str(error)
        if not widened:
            if check is not None:
                check(sock, policy)
            go()
        return Listening(mode, (cast(CanonicalSocket, sock),), None)

    try:
        life.open(opening)
    finally:
        _shares_no_more(sock.fileno())
    if widened:
        # Another socket has the descriptor now.
        remember_bound(sock)
    entry = _listed(decision, sock, widened, problem)
    watched = Watched(sock, life, entry)
    if widened:
        watched.widened(sock, before)
    fd = sock.fileno()
    listeners[fd] = watched
    endings[fd] = os.getpid(), partial(_closed, fd, watched)
    life.opened()


def watch_widened(sock: Any, before: int, entry: Entry) -> None:
    """A framework has widened a listener itself; the program may open its other half yet.

    :param before: the family that the program has asked for.
    """
    watched = Watched(sock, None, entry)
    watched.widened(sock, before)
    fd = sock.fileno()
    listeners[fd] = watched
    endings[fd] = os.getpid(), partial(_closed, fd, watched)


def _widen(
    sock: Any, decision: Decision, check: Callable[[Any], None] | None, go: Callable[[], None]
) -> None:
    port = decision.address[1]
    if port == 0 and family_number(sock) == _INET6:
        # Not bound yet: the kernel chooses a port when it listens.
        if check is not None:
            check(sock)
        try:
            set_v6only(sock, False)
        except OSError as error:
            raise CannotTakeOverError(str(error)) from error
        go()
        return
    take_over(sock, _INET6, False, "::", port, check, go)


def _check(check: Callable[[Any, Any], None], policy: ListenPolicy, sock: Any) -> None:
    check(sock, policy)


def _policy(decision: Decision, backlog: tuple[int, ...], *, dual: bool = False) -> ListenPolicy:
    host, port = zoned(decision.address)[:2]
    wildcard = decision.mode == "dual-stack" or dual or host == "::"
    family = None if decision.mode == "dual-stack" or dual or not wildcard else "ipv6"
    return ListenPolicy(
        "::" if wildcard else host,
        port,
        family=cast(Any, family),
        backlog=max(1, backlog[0]) if backlog else socket.SOMAXCONN,
    )


def _listed(decision: Decision, sock: Any, widened: bool, problem: str | None) -> Entry:
    host, port = canonical_name(sock.getsockname())[:2]
    address = socket_name(host, port)
    if widened:
        entry = Entry(address, "dual-stack", "widened", decision.why)
        say(f"{address} serves IPv4 and IPv6 (process {os.getpid()})")
    else:
        kind = "left" if decision.kind == "widen" else decision.kind
        entry = Entry(address, decision.mode, kind, problem or decision.why)
        if problem or decision.asked:
            say(f"{address} stays {_family(decision)} only: {problem or decision.why}")
    list_entry(entry)
    return entry


def _family(decision: Decision) -> str:
    return "IPv6" if decision.mode == "ipv6" else "IPv4"


def _closed(fd: int, watched: Watched) -> None:
    if listeners.get(fd) is watched:
        del listeners[fd]
    watched.closed()
    end(watched.entry)
    if watched.life is not None:
        watched.life.closed()


def make_room(sock: Any, port: int) -> None:
    """Let the program open the other family of a widened port itself.

    The widened listener stays what it is, because an event loop may watch it already; but Linux
    gives a connection to the listener of its own family. Both say that they share the port until
    the new one listens (socket(7)), and neither any more after that. Windows has nothing like it.

    :param sock: about to be bound to the port.
    """
    family = family_number(sock)
    for watched in _widened_on.get(port, ())[:]:
        first, before = watched.sock(), watched.before
        if first is None or before is None or before == family:
            continue
        try:
            if identity(first.fileno()) != watched.identity:
                continue
            if REUSE_PORT.number is None:
                say(
                    f"port {port} is held for IPv4 and IPv6 by one socket: where the program is to "
                    f"serve both by two, start it with --except={port}"
                )
                continue
            share = [(first, watched.shares), (sock, shares_port(sock))]
            for each, _ in share:
                set_option(each, REUSE_PORT, 1)
        except OSError as error:
            say(f"port {port} is held for IPv4 and IPv6: {error}")
            continue
        restore = partial(_restore, [(weakref.ref(each), value) for each, value in share])
        fd = sock.fileno()
        sharing[fd] = identity(fd), restore
        # One that never listens.
        endings[fd] = os.getpid(), partial(_shares_no_more, fd, closed=True)
        entry = watched.entry
        if entry.done == "widened":
            entry.serves = "ipv6" if before == _INET6 else "ipv4"
            entry.done, entry.why = "left", "the program serves the other family itself"
            list_entry(entry)
            say(f"{entry.address}: {entry.why}")


def _restore(share: list[tuple[Any, bool]]) -> None:
    for reference, value in share:
        sock = reference()
        if sock is not None:
            with suppress(OSError):
                set_option(sock, REUSE_PORT, value)


def _shares_no_more(fd: int, *, closed: bool = False) -> None:
    known = sharing.pop(fd, None)
    if known is not None and (closed or known[0] == identity(fd)):
        known[1]()
