"""What ``--explain`` lists: listeners, sockets for datagrams, connections to mapped literals."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

from dsadapter.launcher.ending import call_at_end
from dsadapter.launcher.report import append, columns, process_line, say_lines, settings
from dsadapter.policy import socket_name

DATAGRAMS = "datagrams"
"""What a socket for datagrams is."""

_MOST_CLOSED = 1000
_MOST_CONNECTIONS = 100
_SHOWN = ("address", "done", "ipv4", "process", "serves", "what", "why")


class Entry:
    """One socket, or the connections to one address, and what was done.

    :param address: as people write it.
    :param serves: ``dual-stack``, ``ipv4``, ``ipv6`` or ``pair``.
    :param done: ``widened``, ``merged``, ``left``, or ``translated``: dual-stack without us.
    :param why: why that.
    :param what: ``listener``, ``datagrams`` or ``connection``.
    :param counters: where datagrams are counted.
    """

    __slots__ = ("_before", "_counters", "_ipv4", "_written", "closed", *_SHOWN)
    ipv4: int | None

    def __init__(
        self,
        address: str,
        serves: str,
        done: str,
        why: str,
        *,
        what: str = "listener",
        counters: Any = None,
    ) -> None:
        self.address = address
        self.serves = serves
        self.done = done
        self.why = why
        self.what = what
        self.process = os.getpid()
        self.closed = False
        self.ipv4 = 0
        """How many peers, datagrams or connections the kernel names by a mapped address; None
        where nobody counts."""
        self._counters = counters
        self._before = 0
        self._written: int | None = None

    def row(self) -> dict[str, Any]:
        """As JSON has it."""
        return {name: getattr(self, name) for name in _SHOWN}

    def write(self) -> None:
        """Put it in the file, if there is one."""
        self.count()
        self._written = self.ipv4
        if (path := settings().file) is not None:
            append(path, self.row())

    def write_count(self) -> None:
        """Put it in the file again if more has been counted since."""
        self.count()
        if self.ipv4 != self._written:
            self.write()

    def one_more(self) -> None:
        """Count a peer or a connection; the file has each power of two, so that of a process that
        a signal ends it has at least half."""
        assert self.ipv4 is not None
        self.ipv4 += 1
        if not self.ipv4 & (self.ipv4 - 1):
            self.write()

    def count(self) -> None:
        """Look how many datagrams have come."""
        if self._counters is not None:
            self.ipv4 = self._counters.translated - self._before

    def forked(self) -> None:
        """The child has the socket, too; what the parent has counted is the parent's."""
        self.count()
        self.process = os.getpid()
        if self.ipv4 is not None:
            self._before += self.ipv4
            self.ipv4 = self._written = 0


_entries: dict[int, Entry] = {}
_connections: dict[tuple[str, str], Entry] = {}
_inherited: set[int] = set()
_begun = False
_told: object = None
"""What was listed last at an end."""


def list_entry(entry: Entry) -> None:
    """A socket has been opened, or has changed."""
    chosen = settings()
    if chosen.explains:
        _begin()
        _entries[id(entry)] = entry
        _inherited.discard(id(entry))
        entry.write()


def forget(entry: Entry) -> None:
    """Another entry says more of the same socket."""
    _entries.pop(id(entry), None)


def end(entry: Entry) -> None:
    """Its socket is closed."""
    if entry.closed or id(entry) not in _entries:
        return
    entry.closed = True
    entry.write_count()
    # A server may open sockets for ever.
    if not settings().explain:
        del _entries[id(entry)]
    elif len(_entries) > _MOST_CLOSED:
        oldest = next(key for key, each in _entries.items() if each.closed)
        del _entries[oldest]


def connected(host: str, port: Any, named: str) -> None:
    """The program connects to IPv4 by a mapped literal, or with an IPv6 socket.

    :param host: IPv4.
    :param named: as the program has it.
    """
    if not settings().explains:
        return
    address = socket_name(host, port)
    entry = _connections.get((address, named))
    if entry is None:
        why = f"named {named}" + ("" if ":" in named else ", with an IPv6 socket")
        if len(_connections) >= _MOST_CONNECTIONS:
            address, named, why = "others", "", "more than have a line of their own"
        entry = _connections.get((address, named))
    if entry is not None:
        entry.one_more()
        return
    entry = Entry(address, "ipv4", "translated", why, what="connection")
    entry.ipv4 = 1
    _connections[address, named] = entry
    list_entry(entry)


def entries() -> Iterator[Entry]:
    """What this process has opened, or has received something at."""
    for key, entry in _entries.items():
        entry.count()
        if key not in _inherited or entry.ipv4:
            yield entry


def table() -> list[str]:
    """The entries of this process, and the patches, as lines."""
    from dsadapter.launcher.patching import states

    rows = [("WHAT", "ADDRESS", "SERVES", "DONE", "MAPPED", "WHY")]
    rows += [
        (e.what, e.address, e.serves, e.done, "-" if e.ipv4 is None else str(e.ipv4), e.why)
        for e in entries()
    ]
    covered = [f"{name} ({state})" for name, state in states().items() if state != "on"]
    names = [name for name, state in states().items() if state == "on"]
    return [
        process_line(),
        *columns(rows),
        f"covered: {', '.join(names) or 'nothing'}"
        + (f"; not covered: {', '.join(covered)}" if covered else ""),
    ]


def finish() -> None:
    """The process ends, or becomes another program."""
    global _told
    for entry in _entries.values():
        if not entry.closed:
            entry.write_count()
    found = [(id(entry), entry.ipv4, entry.why) for entry in entries()]
    if settings().explain and found and found != _told:
        _told = found
        say_lines(table())


def before_exec() -> None:
    """The process may be about to become another program."""
    finish()


def _begin() -> None:
    global _begun
    if _begun:
        return
    _begun = True
    call_at_end(finish, _forked)


def _forked() -> None:
    for key, entry in [*_entries.items()]:
        if entry.closed:
            del _entries[key]
        else:
            entry.forked()
            _inherited.add(key)
