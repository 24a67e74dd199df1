"""Whose code a call comes from."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
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
# sysconfig imports threading, which a program may not have yet.
_STDLIB = (os.path.dirname(os.__file__),)
_INSTALLED = ("site-packages", "dist-packages")


# The audit event of getnameinfo has no flags. These ask for numbers alone, which looks nothing up.
_ASK_FOR_NUMBERS = frozenset({"twisted.internet.tcp"})


class Caller(NamedTuple):
    """A source line, or a callback that has none on the stack."""

    file: str
    line: int
    function: str


def caller_of(frame: FrameType | None) -> Caller:
    """The innermost frame that is neither the standard library's, nor a framework's, nor ours.

    Where an event loop or a thread has called what is on the stack, and none of it is the
    program's, the callback is named: what is beyond has only started the loop.

    :param frame: the innermost one to look at.
    """
    last: FrameType | None = None
    while frame is not None:
        if not is_passed_over(frame):
            return _place_of(frame)
        callback = _callback_in(frame)
        if callback is not None:
            return callback
        if last is None or _is_standard(last.f_code, last.f_globals.get("__name__")):
            # A framework's own line says more than the one that started it.
            last = frame
        frame = frame.f_back
    return Caller("?", 0, "?") if last is None else _place_of(last)


def asks_for_numbers(frame: FrameType) -> bool:
    """Whether a frame that calls ``getnameinfo`` is known to look nothing up."""
    return frame.f_globals.get("__name__") in _ASK_FOR_NUMBERS


def is_passed_over(frame: FrameType) -> bool:
    """Whether a frame is the standard library's, a framework's, or ours."""
    names = frame.f_globals
    module = names.get("__name__")
    if module == "__main__":
        # A package that python -m runs.
        module = names.get("__package__")
    return _is_passed_over(frame.f_code, module)


def _place_of(frame: FrameType) -> Caller:
    code = frame.f_code
    return Caller(code.co_filename, frame.f_lineno, code.co_qualname)


@lru_cache(4096)
def _is_passed_over(code: CodeType, module: Any) -> bool:
    return _is_framework(module) or _is_standard(code, module)


def _is_framework(module: Any) -> bool:
    return isinstance(module, str) and module.partition(".")[0] in _FRAMEWORKS


def _is_standard(code: CodeType, module: Any) -> bool:
    file = code.co_filename
    if file.startswith("<frozen"):
        return True
    if isinstance(module, str) and not os.path.isabs(file):
        # The library of Windows' embeddable Python is an archive, and its code says no folder.
        return module.partition(".")[0] in sys.stdlib_module_names
    return file.startswith(_STDLIB) and not any(folder in file for folder in _INSTALLED)


def _attribute(name: str) -> Callable[[Mapping[str, Any]], Any]:
    return lambda variables: getattr(variables.get("self"), name, None)


def _variable(name: str) -> Callable[[Mapping[str, Any]], Any]:
    return lambda variables: variables.get(name)


def _handled(variables: Mapping[str, Any]) -> Any:
    callback = getattr(variables.get("self"), "_callback", None)
    asyncio: Any = sys.modules["asyncio"]
    is_task = isinstance(getattr(callback, "__self__", None), asyncio.Task)
    if is_task or type(callback).__module__ == "_asyncio":
        # A step of a task; what it steps through has the name.
        task = asyncio.current_task()
        return callback if task is None else task.get_coro()
    return callback


def _pooled(variables: Mapping[str, Any]) -> Any:
    # From Python 3.14 on it is a variable.
    return variables.get("fn") or getattr(variables.get("self"), "fn", None)


def _delayed(variables: Mapping[str, Any]) -> Any:
    # Of a delayed call, or of one from a thread.
    return getattr(variables.get("call"), "func", None) or variables.get("f")


_CALLBACKS: dict[tuple[str, str], Callable[[Mapping[str, Any]], Any]] = {
    ("asyncio.selector_events", "_accept_connection"): _variable("protocol_factory"),
    ("asyncio.selector_events", "_accept_connection2"): _variable("protocol_factory"),
    ("asyncio.proactor_events", "loop"): _variable("protocol_factory"),
    ("asyncio.windows_events", "_poll"): _variable("callback"),
    ("asyncio.events", "_run"): _handled,
    ("dsadapter.frameworks.asyncio.server.accepting", "_accept"): _attribute("_factory"),
    ("trio._highlevel_serve_listeners", "_serve_one_listener"): _variable("handler"),
    ("twisted.internet.base", "runUntilCurrent"): _delayed,
    ("twisted.internet.posixbase", "_doReadOrWrite"): _variable("selectable"),
    ("twisted.internet.selectreactor", "_doReadOrWrite"): _variable("selectable"),
    ("twisted.internet.asyncioreactor", "_readOrWrite"): _variable("selectable"),
    ("concurrent.futures.thread", "run"): _pooled,
    ("threading", "run"): _attribute("_target"),
}
"""By module and function of a frame that calls back: what it calls, from its variables."""


# By what a callback of a framework's leads to the program's part of it.
_LEADS = ("func", "__self__", "protocol", "_protocol", "_client_connected_cb", "factory")
_LONGEST = 8


def _callback_in(frame: FrameType) -> Caller | None:
    """What a frame of an event loop's, or of a thread's, calls."""
    find = _CALLBACKS.get((frame.f_globals.get("__name__", ""), frame.f_code.co_name))
    if find is None:
        return None
    try:
        callback = find(frame.f_locals)
        return None if callback is None else _named(callback)
    except Exception:
        # Objects of anybody's are asked for their attributes.
        return None


def _named(callback: Any) -> Caller:
    """The program's part of a callback, or else the callback itself."""
    part = callback
    for _ in range(_LONGEST):
        if part is None:
            break
        code, kind = _code_of(part), part if isinstance(part, type) else type(part)
        if code is not None:
            if not _is_passed_over(code, getattr(part, "__module__", None)):
                return Caller(code.co_filename, code.co_firstlineno, part.__qualname__)
        elif not _is_framework(kind.__module__) and not _is_in_stdlib(kind.__module__):
            return _place_of_class(kind)
        part = _inside(part)
    while (inner := getattr(callback, "func", None)) is not None:
        callback = inner
    code = _code_of(callback)
    name = getattr(callback, "__qualname__", None) or type(callback).__qualname__
    return (
        Caller("", 0, name) if code is None else Caller(code.co_filename, code.co_firstlineno, name)
    )


def _inside(callback: Any) -> Any:
    for name in _LEADS:
        inner = getattr(callback, name, None)
        if inner is not None:
            return inner
    for cell in getattr(callback, "__closure__", None) or ():
        inner = cell.cell_contents
        if callable(inner) and not isinstance(inner, type):
            return inner
    return None


def _code_of(callback: Any) -> CodeType | None:
    code = getattr(callback, "__code__", None) or getattr(callback, "cr_code", None)
    return code if isinstance(code, CodeType) else None


def _is_in_stdlib(module: str) -> bool:
    return module.partition(".")[0] in sys.stdlib_module_names


def _place_of_class(kind: type) -> Caller:
    codes = [code for value in vars(kind).values() if (code := _code_of(value)) is not None]
    if not codes:
        return Caller("", 0, kind.__qualname__)
    first = min(codes, key=lambda code: code.co_firstlineno)
    return Caller(first.co_filename, first.co_firstlineno, kind.__qualname__)
