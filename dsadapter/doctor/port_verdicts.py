"""What a dual-stack listener would do on a port, by what is known; nothing is bound. Pure."""

from __future__ import annotations

import shlex
import socket
from collections.abc import Sequence
from typing import NamedTuple

from dsadapter.command_lines import command_line
from dsadapter.doctor.findings import Finding, Mark
from dsadapter.doctor.holders import Holder
from dsadapter.policy import FAMILY_NAMES, Family, ListenMode

_SHOWN = 4
_ALONE = {family: f"serve {name} alone" for family, name in FAMILY_NAMES.items()}
_OPENS = {socket.SOCK_STREAM: "listen", socket.SOCK_DGRAM: "open"}


class Situation(NamedTuple):
    """What is known about a port.

    :param modes: what this machine can serve by: the first is what ``fallback=auto`` takes.
    :param lowest: the first port that takes no right.
    :param privileged: whether this process has the right to the others.
    :param chosen: the ports that the system gives to clients.
    """

    port: int
    kind: socket.SocketKind
    holders: Sequence[Holder]
    modes: Sequence[ListenMode]
    lowest: int
    privileged: bool
    chosen: tuple[int, int] | None

    @property
    def what(self) -> str:
        """What would be opened."""
        if self.kind == socket.SOCK_STREAM:
            return f"'dualstack:{self.port}'"
        return "a dual-stack datagram port"


def verdict(situation: Situation) -> Finding:
    """Whether ``dualstack:PORT`` would listen now, or a datagram port open; and what would be in
    its way. A datagram port is never a pair."""
    modes = list(situation.modes)
    if situation.kind == socket.SOCK_DGRAM and modes == ["pair"]:
        modes = ["ipv4"]
    if not modes:
        return Finding("problem", f"{situation.what} fails: this machine has no sockets for it")
    mode = modes[0]
    if situation.port < situation.lowest and not situation.privileged:
        return _without_right(situation)
    certain, possible = _in_the_way(situation, mode)
    if certain:
        return _held(situation, mode, certain)
    serves = {
        "dual-stack": "one socket serves IPv4 and IPv6",
        "pair": "a pair of sockets serves IPv4 and IPv6, behind one port object",
        "ipv4": "it serves IPv4 alone, because this machine has no more",
        "ipv6": "it serves IPv6 alone, because this machine has no more",
    }[mode]
    if possible:
        shown = _shown(possible)
        return Finding(
            "advice",
            f"{situation.what} may fail with EADDRINUSE: {shown}, unless that set SO_REUSEADDR",
            command_line("port", port=situation.port),
        )
    mark: Mark = "ok" if mode == "dual-stack" else "advice"
    remedy = "" if mark == "ok" else "dsadapter doctor -v"
    return Finding(mark, f"{situation.what} would {_OPENS[situation.kind]}: {serves}", remedy)


def _in_the_way(situation: Situation, mode: ListenMode) -> tuple[list[Holder], list[Holder]]:
    """The holders that keep a listener of ours off, and those that may."""
    wanted: tuple[Family, ...] = ("ipv4", "ipv6")
    if mode == "ipv4" or mode == "ipv6":
        wanted = (mode,)
    certain: list[Holder] = []
    possible: list[Holder] = []
    for holder in situation.holders:
        if not set(holder.families) & set(wanted):
            continue
        if holder.free or situation.kind == socket.SOCK_DGRAM:
            certain.append(holder)
        elif holder.bound_alone or _is_clients(holder, situation):
            possible.append(holder)
    return certain, possible


def _is_clients(holder: Holder, situation: Situation) -> bool:
    """Whether a connection is likely to be an outgoing one: a listener's would not be in the way,
    because it set SO_REUSEADDR, as they all do."""
    chosen = situation.chosen
    return chosen is not None and chosen[0] <= situation.port <= chosen[1]


def _without_right(situation: Situation) -> Finding:
    return Finding(
        "problem",
        f"{situation.what} fails with EACCES: a port below {situation.lowest} takes the right to "
        f"it (CAP_NET_BIND_SERVICE; systemd: AmbientCapabilities=)",
        f"sysctl -w net.ipv4.ip_unprivileged_port_start={situation.port}  # as root",
    )


def _held(situation: Situation, mode: ListenMode, certain: Sequence[Holder]) -> Finding:
    fact = f"{situation.what} fails with EADDRINUSE: {_shown(certain)}"
    lines = _stopping(certain) or [
        f"{command_line('port', port=situation.port)}  # as root: shows whose it is"
    ]
    held = {family for holder in certain for family in holder.families}
    free = [family for family in FAMILY_NAMES if family not in held]
    if mode == "dual-stack" and len(free) == 1:
        lines += _other_family(situation, free[0])
    return Finding("problem", fact, "\n".join(lines))


def _other_family(situation: Situation, family: Family) -> list[str]:
    if situation.kind != socket.SOCK_STREAM:
        return []
    return [f"twist web --listen dualstack:{situation.port}:family={family}  # or {_ALONE[family]}"]


def _stopping(holders: Sequence[Holder]) -> list[str]:
    """What ends the processes that hold a port; those of a unit would come again."""
    units: dict[str, None] = {}
    processes: dict[int, str] = {}
    for holder in holders:
        for process in holder.processes:
            if process.unit:
                units.setdefault(process.unit)
            else:
                processes.setdefault(process.number, process.name)
    lines = [_stop_unit(unit) for unit in units]
    return lines + [f"kill {number}  # {name}" for number, name in processes.items()]


def _stop_unit(unit: str) -> str:
    *options, name = unit.split(" ", 1) if unit.startswith("--user ") else [unit]
    return " ".join(["systemctl", *options, "stop", shlex.quote(name)])


def _shown(holders: Sequence[Holder]) -> str:
    """Each place once, with who has it and by how many sockets."""
    places: dict[tuple[str, str], list[Holder]] = {}
    for holder in holders:
        doing = "" if holder.free else _doing(holder)
        places.setdefault((holder.where + doing, holder.who), []).append(holder)
    parts = [
        f"{where} is held by {who}" + (f", {len(those)} sockets" if len(those) > 1 else "")
        for (where, who), those in list(places.items())[:_SHOWN]
    ]
    if len(places) > _SHOWN:
        parts.append(f"{len(places) - _SHOWN} more")
    return "; ".join(parts)


def _doing(holder: Holder) -> str:
    if holder.bound_alone:
        return ", bound and not listening,"
    if holder.has_ended:
        return ", a connection that has ended,"
    return ", connected,"


def held(situation: Situation, family: Family) -> Finding:
    """Who holds one family of a port."""
    subject = f"{situation.port} {FAMILY_NAMES[family]}"
    those = [holder for holder in situation.holders if family in holder.families]
    serving = [holder for holder in those if holder.free]
    rest = len(those) - len(serving)
    detail = "\n".join(f"{h.where}{_doing(h)} {h.who}" for h in those[:20] if not h.free)
    more = f"; {rest} connected or bound besides" if rest else ""
    if not serving:
        return Finding("ok", f"nobody serves it{more}", "", subject, detail)
    return Finding("ok", f"{_shown(serving)}{more}", "", subject, detail)
