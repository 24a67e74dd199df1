"""The audit hook."""

from __future__ import annotations

import contextlib
import socket
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from typing import Any, Literal

from dsadapter.addressing.literal import parse_literal
from dsadapter.guard.callers import caller_of
from dsadapter.guard.leak_errors import MappedAddressLeak
from dsadapter.guard.tally import TALLY
from dsadapter.records import Leak, LeakOperation
from dsadapter.sockets.canonical import family_number
from dsadapter.sockets.options import read_v6only

Mode = Literal["log", "raise"]
_MODES: tuple[Mode, ...] = ("log", "raise")

_INET, _INET6 = int(socket.AF_INET), int(socket.AF_INET6)


class _State:
    """An audit hook can't be taken away, and is called until the interpreter has gone."""

    mode: Mode | None = None
    added = False
    busy = threading.local()
    sinks: tuple[Callable[[Leak], None], ...] = ()


def install(mode: Mode = "log") -> None:
    """See mapped addresses that are handed to what can't take them, from now on.

    :param mode: ``"log"`` logs a warning to ``dsadapter.guard`` once a source line, then counts;
        ``"raise"``, for tests, raises :class:`MappedAddressLeak` in the call that leaks, and warns
        (``RuntimeWarning``), for callers swallow exceptions.
    :raises ValueError: for any other mode.
    """
    if mode not in _MODES:
        raise ValueError(f"mode {mode!r} is neither 'log' nor 'raise'")
    _State.mode = mode
    if not _State.added:
        _State.added = True
        sys.addaudithook(_hook)


def uninstall() -> None:
    """See nothing more; a hook that does nothing stays (PEP 578 takes none away)."""
    _State.mode = None


def is_installed() -> bool:
    """Whether leaks are seen."""
    return _State.mode is not None


@contextlib.contextmanager
def recorded() -> Iterator[list[Leak]]:
    """Collect what is seen while the context lasts, of all threads."""
    seen: list[Leak] = []
    _State.sinks = (*_State.sinks, seen.append)
    try:
        yield seen
    finally:
        _State.sinks = tuple(sink for sink in _State.sinks if sink.__self__ is not seen)  # type: ignore[attr-defined]


def _mapped(host: object) -> str | None:
    """The host as text, if it is a mapped address in whatever spelling."""
    if isinstance(host, (bytes, bytearray)):
        host = bytes(host).decode("latin-1")
    if not isinstance(host, str) or ("ffff" not in host and "ffff" not in host.lower()):
        return None
    try:
        literal = parse_literal(host.partition("%")[0])
    except ValueError:
        return None
    return host if literal is not None and literal.is_ipv4 and ":" in host else None


def _by_socket(args: tuple[Any, ...]) -> tuple[str, str] | None:
    sock, address = args[0], args[1]
    if type(address) is not tuple or not address:
        return None
    host = address[0]
    if type(host) is str and "ffff" not in host and "ffff" not in host.lower():
        return None
    # Reading an address takes longer than asking the socket.
    family = family_number(sock)
    if family == _INET:
        what = "an IPv4-only socket"
    elif family == _INET6 and read_v6only(sock):
        what = "an IPv6-only socket"
    else:
        return None
    mapped = _mapped(host)
    return None if mapped is None else (mapped, what)


def _by_lookup(args: tuple[Any, ...]) -> tuple[str, str] | None:
    if args[2] != _INET:
        return None
    host = _mapped(args[0])
    return None if host is None else (host, "a lookup of IPv4 addresses")


def _by_reverse_lookup(args: tuple[Any, ...]) -> tuple[str, str] | None:
    address = args[0]
    if type(address) is not tuple or not address:
        return None
    host = _mapped(address[0])
    return None if host is None else (host, "a reverse lookup")


_Check = Callable[[tuple[Any, ...]], tuple[str, str] | None]
_CHECKS: dict[str, tuple[LeakOperation, _Check]] = {
    "socket.connect": ("connect", _by_socket),
    "socket.bind": ("bind", _by_socket),
    "socket.sendto": ("sendto", _by_socket),
    "socket.sendmsg": ("sendmsg", _by_socket),
    "socket.getaddrinfo": ("getaddrinfo", _by_lookup),
    "socket.getnameinfo": ("getnameinfo", _by_reverse_lookup),
}


# What it needs is bound to it: modules lose their names before audit hooks are called last.
def _hook(
    event: str,
    args: tuple[Any, ...],
    _checks: dict[str, tuple[LeakOperation, _Check]] = _CHECKS,
    _state: type[_State] = _State,
    _getframe: Callable[[int], Any] = sys._getframe,
    _is_finalizing: Callable[[], bool] = sys.is_finalizing,
) -> None:
    if event not in _checks or _state.mode is None or _is_finalizing():
        return
    operation, check = _checks[event]
    found = check(args)
    if found is not None and not getattr(_state.busy, "now", False):
        _state.busy.now = True
        try:
            _seen(operation, *found, _getframe(1))
        finally:
            _state.busy.now = False


_hook.__cantrace__ = True  # type: ignore[attr-defined]


def _seen(operation: LeakOperation, host: str, what: str, frame: Any) -> None:
    leak = Leak(host, operation, what, *caller_of(frame))
    for sink in _State.sinks:
        sink(leak)
    TALLY.add(leak)
    _tell_plugins(leak)
    if _State.mode == "raise":
        with contextlib.suppress(RuntimeWarning):
            warnings.warn_explicit(str(leak), RuntimeWarning, leak.file or "?", leak.line)
        raise MappedAddressLeak(leak)


def _tell_plugins(leak: Leak) -> None:
    # Not every program that is guarded has plugins, and pluggy takes its time.
    from dsadapter.errors import PluginError
    from dsadapter.hooks.manager import active_hooks

    with contextlib.suppress(PluginError):
        hooks = active_hooks()
        if hooks.mapped_address_leaked is not None:
            hooks.mapped_address_leaked(leak)
