"""Whose code a call comes from."""

from __future__ import annotations

import sysconfig
from functools import lru_cache
from types import CodeType, FrameType
from typing import Any, NamedTuple

# Whose callers are meant, not they themselves: what programs use to use sockets.
_FRAMEWORKS = frozenset(
    {
        *("dsadapter", "twisted", "uvloop", "trio", "anyio", "sniffio", "gevent", "eventlet"),
        *("tornado", "uvicorn", "hypercorn", "aiohttp", "urllib3", "httpcore", "pluggy"),
    }
)
_STDLIB = tuple({sysconfig.get_path(name) for name in ("stdlib", "platstdlib")})
_INSTALLED = ("site-packages", "dist-packages")


class Caller(NamedTuple):
    """A source line, or a callback that has none on the stack."""

    file: str
    line: int
    function: str


def caller_of(frame: FrameType | None) -> Caller:
    """The innermost frame that is neither the standard library's, nor a framework's, nor ours.

    Where there is none, as in a callback that an event loop calls, the callback is named.

    :param frame: the innermost one to look at.
    """
    callback = None
    outermost = frame
    while frame is not None:
        if not _is_passed_over(frame.f_code, frame.f_globals.get("__name__")):
            code = frame.f_code
            return Caller(code.co_filename, frame.f_lineno, code.co_qualname)
        callback = callback or _callback_in(frame)
        outermost = frame
        frame = frame.f_back
    if callback is not None:
        return callback
    if outermost is None:
        return Caller("?", 0, "?")
    return Caller(outermost.f_code.co_filename, outermost.f_lineno, outermost.f_code.co_qualname)


@lru_cache(4096)
def _is_passed_over(code: CodeType, module: Any) -> bool:
    file = code.co_filename
    if isinstance(module, str) and module.partition(".")[0] in _FRAMEWORKS:
        return True
    if file.startswith("<frozen"):
        return True
    return file.startswith(_STDLIB) and not any(folder in file for folder in _INSTALLED)


def _callback_in(frame: FrameType) -> Caller | None:
    """What a frame of an event loop's calls."""
    place = frame.f_globals.get("__name__"), frame.f_code.co_name
    if place == ("asyncio.events", "_run"):
        return _named(getattr(frame.f_locals.get("self"), "_callback", None))
    if place == ("twisted.internet.base", "runUntilCurrent"):
        call = frame.f_locals.get("call")
        return _named(getattr(call, "func", None) or frame.f_locals.get("f"))
    return None


def _named(callback: Any) -> Caller | None:
    if callback is None:
        return None
    while (inner := getattr(callback, "func", None)) is not None:
        callback = inner
    code = getattr(callback, "__code__", None)
    name = getattr(callback, "__qualname__", None) or repr(callback)
    if code is None:
        return Caller("", 0, name)
    return Caller(code.co_filename, code.co_firstlineno, name)
