"""How an asyncio loop waits, and looks names up."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from dsadapter.addressing.hosts import is_literal
from dsadapter.connector import Answer, Cancellable, Connector, Lookups
from dsadapter.connector.waiting import Ready
from dsadapter.errors import PluginError, permission_error
from dsadapter.frameworks.selecting import watching_of
from dsadapter.happy_eyeballs.outcomes import Outcomes
from dsadapter.hooks.dispatch import Hooks
from dsadapter.hooks.manager import active_hooks
from dsadapter.messages import quoted, said_by, said_of
from dsadapter.policy import Family
from dsadapter.sockets.families import family_of, number_of

FRAMEWORK = "asyncio"

SPELLING = {
    "bind_address": "local_addr",
    "attempt_delay": "happy_eyeballs_delay",
    "first_address_family_count": "interleave",
}
"""Parameters as asyncio's users type them."""


class LoopWaiting:
    """A loop, as the connector knows it."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, family: int = socket.AF_UNSPEC, flags: int = 0
    ) -> None:
        self._loop = loop
        self._family = family
        self._flags = flags
        self._watching = watching_of(loop)
        self.now = loop.time
        """Seconds on the loop's clock."""

    def call_later(self, seconds: float, function: Callable[[], object]) -> asyncio.TimerHandle:
        """Call a function in a later turn."""
        return self._loop.call_later(seconds, function)

    def when_writable(self, sock: socket.socket, ready: Ready) -> Cancellable:
        """Call a function whenever a socket is writable."""
        self._watching.add_writer(sock.fileno(), ready)
        return _Watch(self._watching.remove_writer, sock.fileno())

    def when_readable(self, sock: socket.socket, ready: Ready) -> Cancellable:
        """Call a function whenever a socket is readable."""
        self._watching.add_reader(sock.fileno(), ready)
        return _Watch(self._watching.remove_reader, sock.fileno())

    def look_up(self, host: str, families: Sequence[Family], answer: Answer) -> Cancellable:
        """Ask ``loop.getaddrinfo``."""
        asking = self._loop.create_task(self._ask(host, families, answer))
        asking.add_done_callback(partial(_asked, answer))
        return asking

    async def _ask(self, host: str, families: Sequence[Family], answer: Answer) -> None:
        family = self._family or number_of(families)
        found = await self._loop.getaddrinfo(
            host, None, family=family, type=socket.SOCK_STREAM, flags=self._flags
        )
        for _family, _type, _proto, _name, address in found:
            answer.found(str(address[0]), address[3] if len(address) == 4 else 0)
        answer.done()


def _asked(answer: Answer, asking: asyncio.Task[None]) -> None:
    """A lookup is over, whatever has ended it: others cancel every task of a loop."""
    if asking.cancelled():
        answer.done("the lookup was cancelled")
    elif (error := asking.exception()) is not None:
        answer.done((isinstance(error, OSError) and said_by(error)) or said_of(error))


class _Watch:
    def __init__(self, remove: Callable[[int], Any], fd: int) -> None:
        self.cancel: Callable[[], Any] = partial(remove, fd)


# Clocks and resolvers are the loop's, answers the family's.
_shared: dict[asyncio.AbstractEventLoop, dict[tuple[int, int], Connector]] = {}


def connector_of(
    loop: asyncio.AbstractEventLoop, family: int = socket.AF_UNSPEC, flags: int = 0
) -> Connector:
    """What the connects of a loop have in common.

    :param family: the only one to ask for; ``AF_UNSPEC`` for both.
    :param flags: those of ``getaddrinfo``.
    :raises PermissionError: if a required plugin is missing.
    """
    # No context manager: every connect comes by here.
    try:
        hooks = active_hooks()
    except PluginError as error:
        raise permission_error(error) from error
    try:
        connector = _shared[loop][family, flags]
    except KeyError:
        return _new_connector(loop, family, flags, hooks)
    connector.hooks = hooks
    return connector


def _new_connector(
    loop: asyncio.AbstractEventLoop, family: int, flags: int, hooks: Hooks
) -> Connector:
    if loop not in _shared:
        # A connector knows its loop, and would keep one that is closed.
        for other in [each for each in list(_shared) if each.is_closed()]:
            _shared.pop(other, None)
    waiting = LoopWaiting(loop, family, flags)
    connector = Connector(
        FRAMEWORK, waiting, hooks, waiting.look_up, Lookups(), Outcomes(), SPELLING
    )
    _shared.setdefault(loop, {})[family, flags] = connector
    return connector


def check_family(host: str, family: int) -> None:
    """Check that an address literal is of the only family that is asked for.

    :param host: canonical.
    :raises OSError: ``EAFNOSUPPORT``, naming both.
    :raises ValueError: for what is no family.
    """
    if family_of(family) is None or not is_literal(host):
        return
    if (":" in host) != (family == socket.AF_INET6):
        raise OSError(
            errno.EAFNOSUPPORT,
            f"{host} is not of {socket.AddressFamily(family).name}; leave family out",
        )


_NUMERIC_PORT = int(getattr(socket, "AI_NUMERICSERV", 0))


def check_flags(host: str | None, port: object, flags: int) -> None:
    """Check that the flags of ``getaddrinfo`` allow for the names of a host and of a service.

    :param host: canonical; None for none.
    :raises TypeError: for what is no number.
    :raises socket.gaierror: ``EAI_NONAME``, as the loop's own.
    """
    if not isinstance(flags, int):
        raise TypeError(f"flags {quoted(flags)} is no number; give AI_ constants of socket")
    digits = port.decode("latin-1") if isinstance(port, bytes) else port
    if flags & _NUMERIC_PORT and isinstance(digits, str) and digits and not digits.isdigit():
        raise socket.gaierror(
            socket.EAI_NONAME,
            f"port {quoted(port)} is the name of a service, and flags has AI_NUMERICSERV; give a "
            f"number, or leave flags out",
        )
    if host is None:
        return
    if flags & socket.AI_NUMERICHOST and not is_literal(host):
        raise socket.gaierror(
            socket.EAI_NONAME,
            f"{quoted(host)} is a name, and flags has AI_NUMERICHOST; give an address literal, or "
            f"leave flags out",
        )
