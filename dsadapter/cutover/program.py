"""The new server: started in a session of its own, and watched until it listens."""

from __future__ import annotations

import os
import shlex
import signal
import socket
import subprocess
import sys
from collections.abc import Collection, Sequence
from contextlib import suppress
from typing import IO, NamedTuple

from dsadapter.cutover.errors import CutoverError
from dsadapter.cutover.holders import Holders
from dsadapter.cutover.processes import Process, family_of, relations
from dsadapter.cutover.waiting import waited_for
from dsadapter.handover.places import Place, not_served, place_of, receives
from dsadapter.sockets.kernel_tables import LISTENING, tcp_rows


class User(NamedTuple):
    """Whom to start a program as."""

    number: int
    group: int
    groups: list[int]

    @classmethod
    def named(cls, name: str) -> User:
        """A user by name or number.

        :raises LookupError: if there is none.
        """
        import pwd

        account = pwd.getpwuid(int(name)) if name.isdecimal() else pwd.getpwnam(name)
        groups = os.getgrouplist(account.pw_name, account.pw_gid)
        return cls(account.pw_uid, account.pw_gid, groups)


class NewServer:
    """A program that is to listen where another one does.

    :param words: the program and its arguments.
    :param known: the inodes of what listens already.
    :param user: whom to start it as; None for the user of this process.
    :param output: where its output goes; None for where this process's goes.
    :param passed: sockets that it gets, as systemd passes them.
    :raises CutoverError: if it can't be started.
    """

    def __init__(
        self,
        words: Sequence[str],
        known: Collection[int],
        *,
        user: User | None = None,
        output: IO[bytes] | None = None,
        passed: Sequence[socket.socket] = (),
    ) -> None:
        self.line = shlex.join(words)
        numbers = [sock.fileno() for sock in passed]
        if numbers:
            listed = ",".join(map(str, numbers))
            words = [sys.executable, "-m", "dsadapter.cutover.passing", listed, *words]
        self._known = frozenset(known)
        self._sockets: dict[int, socket.socket] = {}
        self._holders: list[Process] = []
        try:
            self._child: subprocess.Popen[bytes] = subprocess.Popen(
                words,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                pass_fds=numbers,
                user=user and user.number,
                group=user and user.group,
                extra_groups=user and user.groups,
            )
        except OSError as error:
            raise CutoverError(
                f"{words[0]} can't be started: {error.strerror}; nothing has changed"
            ) from None
        self.pid = self._child.pid

    @property
    def sockets(self) -> list[socket.socket]:
        """Duplicates of what it listens on."""
        return list(self._sockets.values())

    @property
    def places(self) -> list[Place]:
        """Where it listens."""
        return [place_of(sock) for sock in self.sockets]

    @property
    def status(self) -> int | None:
        """The exit status of the process that was started; None while it runs."""
        return self._child.poll()

    def look(self, old: Sequence[Place], not_from: Collection[int]) -> list[str]:
        """What it does not serve yet of the places of the old server.

        A program may go to the background, or have another one listen: whatever has begun to listen
        on the ports since is taken for it.

        :param not_from: processes that it is not, such as those of the old server.
        :raises CutoverError: if what has begun to listen can't be reached.
        """
        ports = {place.port for place in old}
        listening = {row.inode for row in tcp_rows(LISTENING) if row.port in ports and row.inode}
        new = listening - self._known
        for inode in self._sockets.keys() - new:
            self._sockets.pop(inode).close()
        if missing := new - self._sockets.keys():
            self._borrow(missing, not_from)
        return not_served(old, [place_of(sock) for sock in self.sockets if receives(sock)])

    def _borrow(self, inodes: Collection[int], not_from: Collection[int]) -> None:
        holders = Holders(inodes, relations())
        for pid, sockets in holders.by_process.items():
            if pid in not_from:
                continue
            try:
                process = Process(pid)
            except CutoverError:
                continue
            self._holders.append(process)
            for descriptor, inode in sockets.items():
                if inode in self._sockets:
                    continue
                try:
                    sock = process.borrow(descriptor, inode)
                except PermissionError:
                    raise CutoverError(
                        f"the sockets of the new server, process {pid}, can't be reached, for want "
                        f"of the right to trace it (ptrace); run this as root"
                    ) from None
                if sock is not None:
                    self._sockets[inode] = sock

    def is_serving(self) -> bool:
        """Whether a process that has its sockets still runs: our duplicates keep them open."""
        self._child.poll()
        if not self._sockets:
            return False
        if not any(process.is_running() for process in self._holders):
            # Others may have inherited them meanwhile.
            found = Holders(self._sockets, relations()).by_process
            self._holders = []
            for pid in found.keys() - {os.getpid()}:
                with suppress(CutoverError):
                    self._holders.append(Process(pid))
        return any(process.is_running() for process in self._holders)

    def waits_for(self, inodes: Collection[int]) -> bool:
        """Whether it, or what it has started, waits for connections on sockets that it was passed.

        :raises CutoverError: if it can't be seen.
        """
        everybody = relations()
        mine = {pid for pid, relation in everybody.items() if relation.session == self.pid}
        found: set[int] = set()
        for pid in mine | family_of(self.pid, everybody):
            try:
                found |= waited_for(pid, inodes)
            except PermissionError:
                raise CutoverError(
                    f"the new server, process {pid}, can't be seen; run this as root"
                ) from None
        return found == {*inodes}

    def release(self) -> None:
        """Give the duplicates up."""
        for sock in self._sockets.values():
            sock.close()
        self._sockets = {}

    def end(self, patience: float) -> None:
        """End it, with all that it has started.

        :param patience: seconds to wait before it is killed.
        """
        self.release()
        everybody = relations()
        mine = {pid for pid, relation in everybody.items() if relation.session == self.pid}
        processes = list(self._holders)
        for pid in mine | family_of(self.pid, everybody):
            with suppress(CutoverError):
                processes.append(Process(pid))
        for process in processes:
            with suppress(PermissionError):
                process.send(signal.SIGTERM)
        try:
            self._child.wait(patience)
        except subprocess.TimeoutExpired:
            for process in processes:
                with suppress(PermissionError):
                    process.send(signal.SIGKILL)
            self._child.wait()
