"""Who serves the ports of a server that was parked."""

from __future__ import annotations

from dsadapter.cutover.errors import CutoverError
from dsadapter.cutover.holders import Holders
from dsadapter.cutover.processes import parents_of, relations
from dsadapter.cutover.server import RunningServer
from dsadapter.sockets.kernel_tables import LISTENING, tcp_rows


def current_servers(kept: RunningServer) -> list[int]:
    """The processes that listen on its ports instead, without those that they have started.

    :raises CutoverError: if there is none, or none that can be seen.
    """
    mine = {each.inode for each in kept.held}
    inodes = {row.inode for row in tcp_rows(LISTENING) if row.port in kept.ports} - mine
    everybody = relations()
    holders = Holders(inodes, everybody).by_process.keys() - kept.family
    found = [pid for pid in holders if not holders & {*parents_of(pid, everybody)}]
    if not found:
        raise CutoverError(
            f"no process that can be seen listens instead of {kept}; run this as root"
        )
    return sorted(found)
