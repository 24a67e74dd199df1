"""Who has a socket: whoever has one that is parked has it parked."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection

from dsadapter.cutover.errors import CutoverError
from dsadapter.cutover.processes import (
    Relation,
    closes_on_exec,
    command_line,
    parents_of,
    users_of,
    was_passed_sockets,
)
from dsadapter.processes import sockets_of, unit_of


class Holders:
    """The processes that have sockets, as far as this one may see.

    :param inodes: which sockets.
    :param all_processes: where to look.
    """

    def __init__(self, inodes: Collection[int], all_processes: dict[int, Relation]) -> None:
        self.by_process: dict[int, dict[int, int]] = defaultdict(dict)
        """The inode of each of the sockets, by process and descriptor."""
        self.unseen: set[int] = set()
        for pid in all_processes:
            try:
                sockets = sockets_of(pid)
            except PermissionError:
                self.unseen.add(pid)
                continue
            for descriptor, inode in sockets.items():
                if inode in inodes:
                    self.by_process[pid][descriptor] = inode


def refuse_strangers(
    holders: Holders,
    family: Collection[int],
    mains: Collection[int],
    users: Collection[int],
    all_processes: dict[int, Relation],
) -> None:
    """Check that none but the processes of a server has its sockets.

    A process that can't be seen may have one if it comes from the server, or if it is of the user
    who made the sockets and a parent of the server, or younger: others can't have inherited one.
    Nor can another program, where each descriptor is closed on exec and nothing was passed.

    :param family: the processes of the server.
    :param mains: those of them that were named.
    :param users: who made the sockets.
    :raises CutoverError: saying who, and what to do.
    """
    for pid in sorted(holders.by_process.keys() - family):
        if pid == 1:
            unit = unit_of(next(iter(mains)))
            service = "the server" if unit is None else unit.name
            raise CutoverError(
                f"process 1 ({command_line(1)}) has the sockets, too; if it is systemd, for a "
                f"socket unit, a later start of {service} would get them parked: 'systemctl "
                f"list-sockets' shows the unit, stop and disable it, and repeat; in a container, "
                f"replace the container"
            )
        raise CutoverError(
            f"process {pid} ({command_line(pid)}) has the sockets, too, and would have them "
            f"parked; if it is the server's parent, name it with --pid instead, else add "
            f"--pid {pid}, or end it"
        )
    oldest = min(all_processes[pid].started for pid in mains if pid in all_processes)
    parents = {parent for pid in mains for parent in parents_of(pid, all_processes)}
    lines = {command_line(pid) for pid in mains}
    private = not any(map(was_passed_sockets, mains)) and all(
        closes_on_exec(pid, descriptor)
        for pid, sockets in holders.by_process.items()
        for descriptor in sockets
    )
    for pid in sorted(holders.unseen):
        theirs = users_of(pid) & {*users}
        near = pid in parents or all_processes[pid].started >= oldest
        another = private and command_line(pid) not in lines
        if pid in family or (theirs and near and not another):
            raise CutoverError(
                f"process {pid} ({command_line(pid)}) may have the sockets, too, and can't be "
                f"seen; run this as root"
            )
