"""The audit hook. Every audit event of the process passes it, so it looks at little, and in the
order of what costs least."""

from __future__ import annotations

import _socket
import _thread
import contextlib
import errno
import sys
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any, ClassVar, Literal

from dsadapter.addressing.literal import parse_literal
from dsadapter.guard.callers import asks_for_numbers, caller_of
from dsadapter.guard.leak_errors import MappedAddressLeak
from dsadapter.guard.tally import LEAKS, logger
from dsadapter.messages import MAX_QUOTED
from dsadapter.records import Leak, LeakOperation
from dsadapter.sockets.canonical import family_number
from dsadapter.sockets.options import V6ONLY

Mode = Literal["log", "raise"]
_MODES: tuple[Mode, ...] = ("log", "raise")

_INET, _INET6 = int(_socket.AF_INET), int(getattr(_socket, "AF_INET6", -1))
_V6ONLY = V6ONLY.level, V6ONLY.number
# What a socket that is no IPv6 one answers when it is asked for an option of IPv6.
_NOT_IPV6 = frozenset(
    getattr(errno, prefix + name, 0)
    for prefix in ("", "WSA")
    for name in ("EOPNOTSUPP", "ENOPROTOOPT", "EINVAL")
)
IPV4_ONLY, IPV6_ONLY = "an IPv4-only socket", "an IPv6-only socket"


class _State:
    """An audit hook can't be taken away, and is called until the interpreter has gone."""

    mode: Mode | None = None
    added = False
    # Not threading's, which a covered program may import, and have patched, later.
    busy = _thread._local()
    # By the number of what they collect in; one step each puts one in and takes it out.
    sinks: ClassVar[dict[int, Callable[[Leak], None]]] = {}


def install(mode: Mode = "log") -> None:
    """See mapped addresses that are handed to what can't take them, from now on.

    What it can't see: what arrives mapped (``accept``, ``recvfrom``, ``getpeername``), which
    ``dsadapter run --guard=log`` counts; and what does not pass Python's ``socket`` module, such as
    calls of libuv's, of extension modules and of other processes. It says so, as INFO.

    :param mode: ``"log"`` logs a warning to ``dsadapter.guard`` once a source line, then counts;
        ``"raise"``, for tests, raises :class:`MappedAddressLeak` in the call that leaks, and warns
        (``RuntimeWarning``), for callers swallow exceptions.
    :raises ValueError: for any other mode.
    """
    if mode not in _MODES:
        raise ValueError(f"mode {mode!r} is neither 'log' nor 'raise'")
    add_hook(mode)
    logger().info(
        "mapped addresses that are handed over are seen; not seen is what arrives (dsadapter run "
        "--guard=log counts it), and what does not pass Python's socket module"
    )


def add_hook(mode: Mode) -> None:
    """As :func:`install`, silently."""
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
    _State.sinks[id(seen)] = seen.append
    try:
        yield seen
    finally:
        del _State.sinks[id(seen)]


def mapped_text(host: object) -> str | None:
    """The host as text, if it is a mapped address in whatever spelling.

    A zone may have made it longer than any address: of those, the beginning.
    """
    if isinstance(host, (bytes, bytearray)):
        host = bytes(host).decode("latin-1")
    if not isinstance(host, str):
        return None
    if type(host) is not str:
        # One of a class of the program's may not pickle, and has methods of its own.
        host = str.__str__(host)
    try:
        # As the socket module makes ASCII of text, which may have letters of full width.
        ascii_host = host if host.isascii() else host.encode("idna").decode("ascii")
        if "ffff" not in ascii_host.lower():
            return None
        literal = parse_literal(ascii_host.partition("%")[0])
    except ValueError:
        return None
    return host[:MAX_QUOTED] if literal and literal.is_ipv4 and ":" in ascii_host else None


def _by_family(family: int | None, host: object) -> tuple[str, str] | None:
    if family not in (_INET, _INET6):
        return None
    mapped = mapped_text(host)
    return None if mapped is None else (mapped, IPV6_ONLY if family == _INET6 else IPV4_ONLY)


def _by_lookup(args: tuple[Any, ...]) -> tuple[str, str] | None:
    if args[2] != _INET:
        return None
    return _by_name(args)


def _by_name(args: tuple[Any, ...]) -> tuple[str, str] | None:
    host = mapped_text(args[0])
    return None if host is None else (host, "a lookup of IPv4 addresses")


def _by_reverse_lookup(args: tuple[Any, ...]) -> tuple[str, str] | None:
    # getnameinfo takes a sockaddr, gethostbyaddr a host.
    address = args[0]
    if isinstance(address, tuple):
        if not address:
            return None
        address = address[0]
    host = mapped_text(address)
    return None if host is None else (host, "a reverse lookup")


Check = Callable[[tuple[Any, ...]], tuple[str, str] | None]
EVENTS: dict[str, tuple[LeakOperation, Check | None]] = {
    "socket.connect": ("connect", None),
    "socket.bind": ("bind", None),
    "socket.sendto": ("sendto", None),
    "socket.sendmsg": ("sendmsg", None),
    "socket.getaddrinfo": ("getaddrinfo", _by_lookup),
    "socket.getnameinfo": ("getnameinfo", _by_reverse_lookup),
    "socket.gethostbyname": ("gethostbyname", _by_name),
    "socket.gethostbyaddr": ("gethostbyaddr", _by_reverse_lookup),
}
"""What is looked at: by audit event, the call and what finds a leak in the arguments; None for a
socket and an address."""


def _bound_hook(
    events: dict[str, tuple[LeakOperation, Check | None]],
    state: type[_State],
    family_of: Callable[[Any], int] = family_number,
    option: Any = _socket.socket.getsockopt,
    v6only: tuple[int, int | None] = _V6ONLY,
    getframe: Callable[[int], FrameType] = sys._getframe,
    is_finalizing: Callable[[], bool] = sys.is_finalizing,
    not_ipv6: frozenset[int] = _NOT_IPV6,
) -> Callable[[str, tuple[Any, ...]], None]:
    """The hook. What it needs is bound to it: modules lose their names before hooks are called
    last."""
    level, number = v6only
    inet, inet6 = _INET, _INET6
    find = events.get

    def look_at(event: str, args: tuple[Any, ...]) -> None:
        known = find(event)
        if known is None:
            return
        operation, check = known
        host = family = None
        try:
            if check is None:
                sock, address = args
                if not isinstance(address, tuple):
                    return
                host = address[0]
                # Whether it can be one at all; reading it takes longer than asking the socket.
                if (
                    type(host) is str
                    and "ffff" not in host
                    and (":" not in host or "ffff" not in host.lower())
                    and host.isascii()
                ):
                    return
                if state.mode is None:
                    return
                try:
                    if not option(sock, level, number):
                        return
                    family = inet6
                except OSError as error:
                    if error.errno not in not_ipv6:
                        return
                    family = family_of(sock)
                    if family == inet6:
                        # A connection that the kernel has made an AF_INET one.
                        family = inet
            if is_finalizing():
                return
            found = _by_family(family, host) if check is None else check(args)
        except Exception:
            # Anybody may raise audit events, with anything in them.
            return
        if found is None:
            return
        try:
            seen(operation, *found, getframe(2))
        except RecursionError:
            # The stack is full, which is not the business of this call.
            return

    def hook(event: str, args: tuple[Any, ...]) -> None:
        # Most are none of sockets, and this frame is what they pay for. No table is asked: Python
        # makes each event's name anew, and would have to hash it.
        if "socket." < event < "socket.t":
            look_at(event, args)

    return hook


_hook = _bound_hook(EVENTS, _State)


def seen(
    operation: LeakOperation,
    host: str,
    what: str,
    frame: FrameType,
    *,
    translated: bool = False,
    _is_finalizing: Callable[[], bool] = sys.is_finalizing,
) -> None:
    """A mapped address is about to be handed to what can't take it.

    :param frame: the innermost one that may be the program's.
    :param translated: whether the launcher makes another address of it.
    :raises MappedAddressLeak: if that is asked for, and nothing else.
    """
    if _is_finalizing() or _State.mode is None or getattr(_State.busy, "now", False):
        return
    if operation == "getnameinfo" and asks_for_numbers(frame):
        return
    busy = _State.busy
    busy.now = True
    try:
        _tell(Leak(host, operation, what, *caller_of(frame), translated))
    except MappedAddressLeak:
        raise
    except Exception:
        # The stack may be full, or modules out of reach: the call is the program's all the same.
        return
    finally:
        busy.now = False


def _tell(leak: Leak) -> None:
    for sink in tuple(_State.sinks.values()):
        sink(leak)
    LEAKS.add(leak)
    with contextlib.suppress(Exception):
        _tell_plugins(leak)
    if _State.mode == "raise":
        import warnings

        with contextlib.suppress(RuntimeWarning):
            warnings.warn_explicit(str(leak), RuntimeWarning, leak.file or "?", leak.line)
        raise MappedAddressLeak(leak)


def _tell_plugins(leak: Leak) -> None:
    # Not every program that is guarded has plugins, and pluggy takes its time.
    from dsadapter.hooks.manager import active_hooks

    hooks = active_hooks()
    if hooks.mapped_address_leaked is not None:
        hooks.mapped_address_leaked(leak)
