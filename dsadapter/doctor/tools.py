"""Tools that judge by the family of a socket or of a packet: what they show, and what they miss."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import closing
from typing import Any, NamedTuple

from dsadapter.doctor.findings import Check, Finding, Question
from dsadapter.doctor.keeping_off import CannotKeepOffError, keeping_off
from dsadapter.policy import ListenPolicy
from dsadapter.sockets.listening import open_listening_sockets

_PATIENCE = 4.0
_DENIES = ("drop", "reject")
_BOTH = "inet"


class _Lister(NamedTuple):
    """How a tool lists the IPv4 listeners of a port, and what finds a dual-stack one."""

    command: tuple[str, ...]
    instead: str


_LISTERS = {
    "ss": _Lister(("ss", "-H", "-ltn4"), "ss -ltn 'sport = :{port}'"),
    "netstat": _Lister(("netstat", "-ltn4"), "netstat -ltn | grep ':{port} '"),
    "lsof": _Lister(("lsof", "-nP", "-i4TCP", "-sTCP:LISTEN"), "lsof -nP -iTCP:{port}"),
}


def _listings(question: Question) -> list[Finding]:
    if os.name == "nt":
        # Its netstat has other options.
        return []
    there = {name: lister for name, lister in _LISTERS.items() if shutil.which(name)}
    keep_off = keeping_off(question)
    try:
        opened = open_listening_sockets(ListenPolicy("::", 0), lambda sock, _: keep_off(sock))
    except (CannotKeepOffError, OSError):
        return []
    with closing(opened.sockets[0]) as sock:
        for other in opened.sockets[1:]:
            other.close()
        if opened.mode != "dual-stack":
            return []
        port = sock.getsockname()[1]
        found = [_listing(name, lister, port, question) for name, lister in there.items()]
    if shutil.which("fail2ban-client"):
        fact = "reads logs and packets' addresses, which name IPv4 clients as such"
        found.append(Finding("ok", fact, "", "fail2ban"))
    return found


def _listing(name: str, lister: _Lister, port: int, question: Question) -> Finding:
    shown = _output(lister.command)
    if shown is None:
        return Finding("ok", "can't be run here", "", name)
    asked = question.ports[0].number if question.ports else 8080
    if f":{port} " in shown:
        return Finding("ok", "lists dual-stack listeners among the IPv4 ones", "", name)
    command = " ".join(lister.command)
    fact = f"'{command}' lists no dual-stack listener, which serves IPv4 all the same"
    return Finding("ok", fact, lister.instead.format(port=asked), name)


class _Rule(NamedTuple):
    """A rule for a port."""

    family: str
    table: str
    ports: tuple[tuple[int, int], ...]
    denies: str
    """``drop`` or ``reject``; empty for any other verdict."""
    alone: bool
    """Whether it asks for the port alone, and so says the same of any family."""

    def covers(self, port: int) -> bool:
        """Whether it is about a port."""
        return any(first <= port <= last for first, last in self.ports)


def _firewall(question: Question) -> list[Finding]:
    asked = [port.number for port in question.ports if port.protocol != "udp"]
    if not asked or shutil.which("nft") is None:
        return []
    listing = _output(("nft", "-j", "list", "ruleset"))
    if listing is None:
        fact = "its rules can't be read without CAP_NET_ADMIN"
        return [Finding("ok", fact, f"sudo dsadapter doctor {asked[0]}", "nft")]
    rules = list(_rules(json.loads(listing)))
    return [_about(port, [rule for rule in rules if rule.covers(port)]) for port in asked]


def _about(port: int, rules: Sequence[_Rule]) -> Finding:
    subject = f"nft {port}"
    ours = [rule for rule in rules if rule.family == "ip6" and rule.denies]
    others = [rule for rule in rules if rule.family in ("ip", _BOTH)]
    if not ours:
        return Finding("ok", "no rule denies it to IPv6 alone", "", subject)
    if others:
        return Finding("ok", "there are rules about it for both families", "", subject)
    rule = ours[0]
    remedy = [f"nft -a list table ip6 {rule.table}"]
    if rule.alone:
        remedy = [
            "nft add table inet dual_stack",
            "nft 'add chain inet dual_stack input { type filter hook input priority 0; }'",
            f"nft add rule inet dual_stack input tcp dport {port} {rule.denies}",
        ]
    return Finding(
        "advice",
        f"table ip6 {rule.table} denies it to IPv6 alone: IPv4 clients pass",
        "\n".join(remedy),
        subject,
    )


def _rules(listing: Any) -> Iterator[_Rule]:
    for item in listing.get("nftables", ()):
        rule = item.get("rule")
        if not rule:
            continue
        ports: list[tuple[int, int]] = []
        denies = ""
        alone = True
        for part in rule.get("expr", ()):
            for verdict in _DENIES:
                denies = verdict if verdict in part else denies
            match = part.get("match")
            if match is None:
                continue
            named = _ports(match)
            alone = alone and bool(named)
            ports += named
        if ports:
            yield _Rule(rule.get("family"), rule.get("table"), tuple(ports), denies, alone)


def _ports(match: Any) -> list[tuple[int, int]]:
    """The TCP ports that a match asks for, as ranges."""
    left = match.get("left")
    payload = left.get("payload") if isinstance(left, dict) else None
    about = (payload or {}).get("protocol"), (payload or {}).get("field")
    if about not in (("tcp", "dport"), ("th", "dport")) or match.get("op") not in ("==", "in"):
        return []
    right = match.get("right")
    parts = right.get("set", [right]) if isinstance(right, dict) else [right]
    found = []
    for part in parts:
        if isinstance(part, int):
            found.append((part, part))
        elif isinstance(part, dict) and "range" in part:
            first, last = part["range"]
            found.append((int(first), int(last)))
    return found


def _output(command: Sequence[str]) -> str | None:
    """What a tool says; None if it failed."""
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            errors="backslashreplace",
            timeout=_PATIENCE,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    # lsof says 1 where it lists nothing.
    return done.stdout if done.returncode == 0 or command[0] == "lsof" else None


CHECKS = (
    Check("tool.listing", "tool", _listings, 15.0),
    Check("tool.firewall", "firewall", _firewall, 10.0),
)
