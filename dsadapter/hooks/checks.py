"""How checks are called: what they let pass goes on, everything else refuses.

A check refuses on purpose with a ``PermissionError`` that says why. Whatever else it raises, and
whatever it returns but None, is a fault of the plugin, and refuses as well.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from dsadapter.addressing.sockaddr import SocketAddress
from dsadapter.errors import RefusedError
from dsadapter.hooks.specifications import Implementation
from dsadapter.hooks.wording import PROGRAM_ENDS, remedy, returned
from dsadapter.messages import said_by, said_of
from dsadapter.policy import DatagramPolicy, ListenPolicy
from dsadapter.records import Attempt
from dsadapter.sockets.ifaddrs import scoped_sockaddr
from dsadapter.sockets.options import read_v6only

Subject = ListenPolicy | DatagramPolicy | Attempt


def compiled_check(
    hook: str, arguments: tuple[str, ...], implementations: Sequence[Implementation]
) -> Callable[[socket.socket, Any], None] | None:
    """All implementations as one function of the socket and what is to be done with it.

    :param arguments: the names of these two in the hook's specification.
    :returns: None if there is no implementation; else a function that raises
        :class:`~dsadapter.errors.RefusedError` where one of them refuses or fails.
    """
    if not implementations:
        return None
    calls = [
        (plugin, function, [arguments.index(name) for name in wanted])
        for plugin, function, wanted in implementations
    ]

    def check(sock: socket.socket, subject: Subject) -> None:
        given = (sock, subject)
        before = _state(sock)
        for plugin, function, indices in calls:
            try:
                result = function(*(given[index] for index in indices))
            except PROGRAM_ENDS:
                raise
            except BaseException as error:
                if _says_no(error):
                    reason = said_by(error)
                    text = f"plugin {plugin!r} refused: {reason}"
                    raise RefusedError(text, plugin, reason, _address(subject)) from error
                raise _faulty(plugin, hook, f"raised {said_of(error)}", subject) from error
            if result is not None:
                raise _faulty(plugin, hook, returned(result), subject)
            try:
                after = _state(sock)
            except OSError as error:
                # Its number may be another's by now, which is not to be closed for it.
                sock.detach()
                raise _faulty(plugin, hook, "closed the socket", subject) from error
            if after.v6only != before.v6only:
                raise _faulty(plugin, hook, "changed IPV6_V6ONLY", subject)
            if after.timeout != before.timeout:
                # An event loop would wait in it for ever.
                raise _faulty(plugin, hook, "changed the timeout of the socket", subject)

    return check


class _State(NamedTuple):
    """What a check has to leave as it is."""

    timeout: float | None
    v6only: bool | None


def _state(sock: socket.socket) -> _State:
    """:raises OSError: if it is closed, be it by its descriptor."""
    sock.getsockopt(socket.SOL_SOCKET, socket.SO_TYPE)
    return _State(sock.gettimeout(), read_v6only(sock))


def _says_no(error: BaseException) -> bool:
    # The system's own has a number: the plugin tried something that it may not do.
    return isinstance(error, PermissionError) and error.errno is None and bool(said_by(error))


def _faulty(plugin: str, hook: str, what: str, subject: Subject) -> RefusedError:
    reason = f"{what} in {hook}"
    text = f"plugin {plugin!r} is broken: it {reason}, so nothing opens; {remedy(plugin)}"
    return RefusedError(text, plugin, reason, _address(subject))


def _address(subject: Subject) -> SocketAddress:
    if isinstance(subject, Attempt):
        return subject.destination
    try:
        return scoped_sockaddr(subject.host, subject.port)
    except OSError:
        # The interface of its zone is not there.
        return subject.host, subject.port, 0, 0
