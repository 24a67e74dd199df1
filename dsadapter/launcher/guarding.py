"""The leak guard in a covered process: mapped addresses that are handed over, though they are
translated, and those that arrive, by source line; told when the process ends, or in a file."""

from __future__ import annotations

import _socket
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from types import CodeType, FrameType
from typing import Any, NamedTuple

from dsadapter.guard.auditing import IPV4_ONLY, IPV6_ONLY, add_hook, is_installed, seen
from dsadapter.guard.callers import caller_of, is_passed_over
from dsadapter.guard.tally import LEAKS, Seen, Tally
from dsadapter.launcher import report as launcher_report
from dsadapter.launcher.ending import call_at_end
from dsadapter.launcher.report import append, columns, process_line, say_lines, settings
from dsadapter.messages import printable
from dsadapter.records import Leak, LeakOperation, shown_place

# Every mapped address, and a zone id.
_LONGEST_ADDRESS = 60
_MOST_CALLS = 4096
_family: Any = _socket.socket.family.__get__
_peer: Any = _socket.socket.getpeername
_INET6 = int(getattr(_socket, "AF_INET6", -1))


class Arrival(NamedTuple):
    """A mapped address that the kernel gave, and that was translated."""

    address: str
    operation: str
    file: str
    line: int
    function: str

    @property
    def place(self) -> str:
        """As :attr:`dsadapter.records.Leak.place`."""
        return shown_place(self.file, self.line, self.function)


ARRIVALS: Tally[Arrival] = Tally()
"""What has arrived in this process."""

_lines: dict[tuple[int, int], tuple[CodeType, Seen[Arrival]]] = {}
"""What is counted of calls that are the program's own, by code and place in it. The code is held,
so that its number stays its own."""

_begun: list[bool] = []
_told: list[int] = [0]
"""How many had been seen when the report was written last."""


def begin() -> None:
    """Switch it on in this process; once."""
    if _begun:
        return
    _begun.append(True)
    add_hook("log")
    launcher_report.handed_over = handed
    if settings().guard_report is not None:
        # The program may give up its right to read files before anything is written.
        import json  # noqa: F401

        LEAKS.told.append(_write)
        ARRIVALS.told.append(_write)
    call_at_end(report, _forked)


def handed(sock: Any, host: str, operation: LeakOperation, *, translated: bool) -> None:
    """A mapped address is handed to a socket that can't take it, before Python can see that."""
    what = IPV6_ONLY if _family(sock) == _INET6 else IPV4_ONLY
    seen(operation, host, what, sys._getframe(1), translated=translated)


# What a method's answer has in it: a name, at this place of a tuple.
_NAMES: dict[str, int | None] = {
    "accept": 1,
    "_accept": 1,
    "getpeername": None,
    "getsockname": None,
    "recvfrom": 1,
    "recvfrom_into": 1,
    "recvmsg": 3,
    "recvmsg_into": 3,
}


def counted(method: str, replacement: Any) -> Any:
    """A method that counts the names that have arrived mapped: those of AF_INET6 sockets that are
    canonical, and IPv4.

    :param replacement: it gives canonical names.
    """
    if method not in _NAMES:
        return replacement
    place = _NAMES[method]
    operation = method.lstrip("_")

    def call(self: Any, *args: Any, **options: Any) -> Any:
        answer = replacement(self, *args, **options)
        if _family(self) == _INET6:
            name = answer if place is None else answer[place]
            if isinstance(name, tuple) and len(name) == 2:
                _arrived(operation, name[0], sys._getframe(1))
        return answer

    return call


def own(original: Any, module: Any) -> Any:
    """The same of sockets of ours, which translate themselves."""

    def call(self: Any, *args: Any) -> Any:
        answer = original(self, *args)
        if _family(self) == _INET6 and len(answer[1]) == 2:
            _arrived("accept", answer[1][0], sys._getframe(1))
        return answer

    return call


def acceptor(original: Any, module: Any) -> Any:
    """The same of what accepts many."""

    def acceptor(self: Any) -> Callable[[], Any]:
        take: Callable[[], Any] = original(self)
        if hasattr(take, "__self__"):
            # A method, which counts.
            return take

        def accept() -> Any:
            answer = take()
            if len(answer[1]) == 2:
                _arrived("accept", answer[1][0], sys._getframe(1))
            return answer

        return accept

    return acceptor


def hand(original: Any, module: Any) -> Any:
    """The same of what accepts for a loop, and gives no names."""

    def hand(self: Any, batch: Any, most: int, handed: list[Any], *rest: Any) -> None:
        try:
            original(self, batch, most, handed, *rest)
        finally:
            for accepted in handed:
                # It may have gone already.
                with suppress(OSError):
                    host = _peer(accepted)[0]
                    _arrived("accept", host.removeprefix("::ffff:"), sys._getframe(1))

    return hand


def _arrived(operation: str, host: Any, frame: FrameType) -> None:
    known = _lines.get((id(frame.f_code), frame.f_lasti))
    if known is not None and is_installed():
        ARRIVALS.again(known[1])
        return
    try:
        _looked_at(operation, host, frame)
    except Exception:
        # The stack may be full: the call is the program's all the same.
        return


def _looked_at(operation: str, host: Any, frame: FrameType) -> None:
    if not is_installed() or not isinstance(host, str) or ":" in host or "." not in host:
        return
    direct = frame
    # Names that we ask for are not given to the program.
    while frame.f_globals.get("__name__") == "dsadapter.sockets.canonical" and frame.f_back:
        frame = frame.f_back
    if operation.startswith("get"):
        module = frame.f_globals.get("__name__")
        ours = isinstance(module, str) and module.startswith("dsadapter.")
        # Python makes the repr of each socket that it closes itself, for a warning.
        if ours or (module == "socket" and frame.f_code.co_name == "__repr__"):
            return
    seen = ARRIVALS.add(Arrival(f"::ffff:{host}", operation, *caller_of(frame)))
    if seen is not None and not is_passed_over(direct):
        if len(_lines) >= _MOST_CALLS:
            # Source that a program makes and runs is new code each time.
            _lines.clear()
        _lines[id(direct.f_code), direct.f_lasti] = direct.f_code, seen


def before_exec() -> None:
    """This process is about to become another program."""
    if LEAKS.places() or ARRIVALS.places():
        report()


def audit_exec(event: str, arguments: tuple[Any, ...]) -> None:
    """For a process that ``dsadapter run`` has not started: there the hook of its start does it."""
    if event == "os.exec":
        before_exec()


def _forked() -> None:
    """What the parent has seen is the parent's."""
    LEAKS.clear()
    ARRIVALS.clear()
    _lines.clear()
    _told[0] = 0


def report() -> None:
    """Write what has been seen, unless that has been done since."""
    places: list[Seen[Any]] = [*LEAKS.places(), *ARRIVALS.places()]
    number = 1 + sum(each.count for each in places) + LEAKS.elsewhere + ARRIVALS.elsewhere
    if number == _told[0]:
        return
    _told[0] = number
    for each in places:
        if each.count * 10 != each.tell_at:
            _write(each)
    if settings().guard:
        say_lines([process_line(), *_table()])


def _table() -> list[str]:
    rows = [("MAPPED", "CALL", "COUNT", "FIRST", "LINE")]
    for each in LEAKS.places():
        leak = each.first
        took = f"{leak.place} ({leak.mode}{', translated' if leak.translated else ''})"
        rows.append(("handed over", leak.operation, str(each.count), _shown(leak.address), took))
    for arrival in ARRIVALS.places():
        first = arrival.first
        rows.append(("arrived", first.operation, str(arrival.count), first.address, first.place))
    if len(rows) == 1:
        return ["no mapped address was handed over, and none arrived"]
    lines = columns(rows)
    if more := LEAKS.elsewhere + ARRIVALS.elsewhere:
        lines.append(f"and {more} at other lines")
    return lines


def _shown(address: str) -> str:
    return printable(address, _LONGEST_ADDRESS)


def _write(seen: Seen[Any]) -> None:
    path = settings().guard_report
    if path is None:
        return
    first = seen.first
    row: dict[str, Any] = {
        "process": os.getpid(),
        "mapped": "handed over" if isinstance(first, Leak) else "arrived",
        "call": first.operation,
        "count": seen.count,
        "address": first.address,
        "file": first.file,
        "line": first.line,
        "function": first.function,
    }
    if isinstance(first, Leak):
        row |= {"to": first.mode, "translated": first.translated}
    append(path, row)
