"""The running server: its sockets, who else has them, and whether they can be taken."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Collection, Sequence
from contextlib import suppress
from typing import NamedTuple

from dsadapter.cutover.errors import CutoverError
from dsadapter.cutover.holders import Holders, refuse_strangers
from dsadapter.cutover.processes import (
    Process,
    family_of,
    relations,
    shares_network,
)
from dsadapter.handover.parking import is_parked
from dsadapter.handover.places import Place, bound_index, place_of
from dsadapter.processes import sockets_of, unit_of
from dsadapter.sockets.kernel_tables import CLOSE_WAIT, ESTABLISHED, LISTENING, Row, tcp_rows
from dsadapter.sockets.options import REUSE_PORT, set_option, shares_port


class Held(NamedTuple):
    """A listening socket of the server."""

    sock: socket.socket
    """A duplicate."""
    place: Place
    inode: int
    user: int
    """Who made it."""


class RunningServer:
    """Processes that listen, with duplicates of their listening sockets.

    :param pids: the processes; those that they have started belong to them.
    :param only: the ports to look at; None for all.
    :param parked: look at parked sockets, instead of those that are not.
    :param passed_on: whether the sockets are to be passed on as they are: then others may have
        them, too.
    :raises CutoverError: if it can't be replaced, saying why and what to do.
    """

    def __init__(
        self,
        pids: Sequence[int],
        *,
        only: Collection[int] | None = None,
        parked: bool = False,
        passed_on: bool = False,
    ) -> None:
        self.processes = [Process(pid) for pid in pids]
        self.held: list[Held] = []
        self._shared: list[socket.socket] = []
        self.ports: set[int] = set()
        for process in self.processes:
            _refuse_unreachable(process)
        everybody = relations()
        self.family = {each for pid in pids for each in family_of(pid, everybody)}
        rows = {
            row.inode: row
            for row in tcp_rows(LISTENING)
            if row.inode and (only is None or row.port in only)
        }
        mine = rows.keys() & {inode for pid in self.family for inode in _seen_sockets(pid)}
        if not mine:
            raise CutoverError(_nothing(self.processes, only))
        holders = Holders(mine, everybody)
        if not passed_on:
            refuse_strangers(
                holders, self.family, pids, {rows[inode].uid for inode in mine}, everybody
            )
        self.holders = [Process(pid) for pid in holders.by_process.keys() & self.family]
        try:
            self._borrow(holders, rows)
            for process in self.processes:
                # Else its number may be another's by now.
                if not process.is_running():
                    raise CutoverError(f"{process} has ended; 'ss -ltnp' shows who listens")
            self._refuse_places(parked, passed_on)
        except BaseException:
            self.release()
            raise

    def __str__(self) -> str:
        return " and ".join(map(str, self.processes))

    @property
    def sockets(self) -> list[socket.socket]:
        """The duplicates."""
        return [each.sock for each in self.held]

    @property
    def units(self) -> list[str]:
        """The systemd services that look after it."""
        found = {unit_of(process.pid) for process in self.processes} - {unit_of(os.getpid())}
        return sorted(unit.name for unit in found if unit is not None)

    def is_running(self) -> bool:
        """Whether one of its processes has not ended."""
        return any(process.is_running() for process in self.processes)

    def stragglers(self) -> list[Process]:
        """Processes that had the sockets and still run."""
        return [process for process in self.holders if process.is_running()]

    def connections(self) -> int:
        """How many connections it has on its ports."""
        return sum(1 for _ in self._connections())

    def share_ports(self) -> None:
        """Let others of the same user bind to its ports: ``SO_REUSEPORT``, set late, on what
        listens and on what it has accepted.

        :raises OSError: as ``setsockopt``.
        """
        for sock in self.sockets:
            if not shares_port(sock):
                set_option(sock, REUSE_PORT, 1)
                self._shared.append(sock)
        for pid, descriptor, inode in self._connections():
            # Ended meanwhile.
            with suppress(CutoverError, OSError):
                connection = Process(pid).borrow(descriptor, inode)
                if connection is not None:
                    # At once: while there is a duplicate, the server can't close it.
                    with connection:
                        set_option(connection, REUSE_PORT, 1)

    def share_no_more(self) -> None:
        """Undo :meth:`share_ports` for what listens."""
        shared, self._shared = self._shared, []
        for sock in shared:
            with suppress(OSError):
                set_option(sock, REUSE_PORT, 0)

    def release(self) -> None:
        """Give the duplicates up: a socket of which there is one is never closed."""
        for each in self.held:
            each.sock.close()
        self.held, self._shared = [], []

    def _connections(self) -> list[tuple[int, int, int]]:
        ports = self.ports
        rows = {row.inode for row in tcp_rows(ESTABLISHED, CLOSE_WAIT) if row.port in ports}
        found = {}
        for pid in self.family:
            with suppress(PermissionError):
                for descriptor, inode in sockets_of(pid).items():
                    if inode in rows:
                        found[inode] = pid, descriptor, inode
        return list(found.values())

    def _borrow(self, holders: Holders, rows: dict[int, Row]) -> None:
        taken = set()
        for pid, sockets in holders.by_process.items():
            for descriptor, inode in sockets.items():
                if inode in taken:
                    continue
                try:
                    sock = Process(pid).borrow(descriptor, inode)
                except OSError as error:
                    raise CutoverError(_unreachable(pid, error)) from None
                if sock is not None:
                    taken.add(inode)
                    self.held.append(Held(sock, place_of(sock), inode, rows[inode].uid))
        self.ports = {each.place.port for each in self.held}
        self.held.sort(key=lambda each: (each.place.port, each.place.family))

    def _refuse_places(self, parked: bool, passed_on: bool) -> None:
        ready = [each for each in self.held if is_parked(each.sock) == parked]
        for each in self.held:
            if each not in ready:
                each.sock.close()
        others, self.held = self.held, ready
        if not ready:
            names = " and ".join(str(each.place) for each in others)
            raise CutoverError(
                f"{names} of {self} {'are' if len(others) > 1 else 'is'} "
                + (
                    "not parked; there is nothing to put back"
                    if parked
                    else f"parked already; put it back: dsadapter cutover --back --pid "
                    f"{self.processes[0].pid}"
                )
            )
        for each in ready:
            if not (parked or passed_on) and bound_index(each.sock):
                raise CutoverError(
                    f"{each.place} of {self} is bound to an interface, which parking would take "
                    f"away; end the server and start the new one"
                )


def _refuse_unreachable(process: Process) -> None:
    if process.pid == 1:
        raise CutoverError(
            "process 1 can't be replaced: what it has started ends with it; replace the container"
        )
    if process.pid == os.getpid():
        raise CutoverError("--pid is this command itself; 'ss -ltnp' shows who listens")
    try:
        process.send(0)
    except PermissionError:
        raise CutoverError(f"{process} may not be sent SIGTERM; run this as root") from None
    try:
        if not shares_network(process.pid):
            raise CutoverError(
                f"{process} is in another network namespace; type: nsenter --net=/proc/"
                f"{process.pid}/ns/net dsadapter cutover --pid {process.pid} ..."
            )
    except PermissionError as error:
        raise CutoverError(_unreachable(process.pid, error)) from None
    except FileNotFoundError:
        raise CutoverError(f"{process} has ended; 'ss -ltnp' shows who listens") from None


def _seen_sockets(pid: int) -> Collection[int]:
    try:
        return sockets_of(pid).values()
    except PermissionError as error:
        raise CutoverError(_unreachable(pid, error)) from None


def _unreachable(pid: int, error: OSError) -> str:
    if error.errno == errno.ENOSYS:
        return "sockets of other processes can't be reached, which takes Linux 5.6; restart instead"
    return (
        f"the sockets of process {pid} can't be reached, for want of the right to trace it "
        f"(ptrace); run this as root"
    )


def _nothing(processes: Sequence[Process], only: Collection[int] | None) -> str:
    names = " and ".join(map(str, processes))
    if only is not None:
        listed = ",".join(map(str, sorted(only)))
        return f"{names} does not listen on port {listed}; 'ss -ltnp' shows who does"
    return f"{names} listens on no TCP port; 'ss -ltnp' shows who does"
