"""The ports that were asked about: who holds them, and what a listener would do there now.

Everything is read: a port that is bound, be it for a moment, is a port that its server misses.
"""

from __future__ import annotations

import errno
import os
import socket
import sys
from collections.abc import Iterator

from dsadapter.command_lines import command_line
from dsadapter.doctor.findings import AskedPort, Check, Finding, Question
from dsadapter.doctor.holders import holders
from dsadapter.doctor.keeping_off import CannotKeepOffError, chosen_ports
from dsadapter.doctor.machine import capabilities, modes, own_status, said
from dsadapter.doctor.port_verdicts import Situation, held, verdict
from dsadapter.policy import FAMILIES, ListenMode
from dsadapter.sockets.system_settings import setting

_CAP_NET_BIND_SERVICE = 10
_LOW_PORTS = 1024
_PATIENCE = 30.0
"""Seconds: the kernel looks through all its connections for each port."""
# ioctl_ns(2): the user namespace that owns another one.
_NS_GET_USERNS = 0xB701

_KINDS = {"tcp": socket.SOCK_STREAM, "udp": socket.SOCK_DGRAM}


def _tcp(question: Question) -> list[Finding]:
    return list(_verdicts(question, "tcp"))


def _udp(question: Question) -> list[Finding]:
    return list(_verdicts(question, "udp"))


def _verdicts(question: Question, protocol: str) -> Iterator[Finding]:
    can = _modes(question)
    for port in _asked(question, protocol):
        situation = _situation(port, protocol, can)
        finding = verdict(situation)
        mark = finding.mark
        if mark == "problem" and port.protocol is None and protocol == "udp":
            # What was asked for is a listener.
            mark = "advice" if situation.holders else "ok"
        yield Finding(mark, finding.fact, finding.remedy, f"{port.number}", finding.detail)


def _held_tcp(question: Question) -> list[Finding]:
    return list(_held(question, "tcp"))


def _held_udp(question: Question) -> list[Finding]:
    return list(_held(question, "udp"))


def _held(question: Question, protocol: str) -> Iterator[Finding]:
    for port in _asked(question, protocol):
        situation = _situation(port, protocol, [])
        for family in FAMILIES:
            yield held(situation, family)


def _asked(question: Question, protocol: str) -> list[AskedPort]:
    return [port for port in question.ports if port.protocol in (None, protocol)]


def _modes(question: Question) -> list[ListenMode]:
    try:
        return modes(capabilities(question))
    except CannotKeepOffError:
        # Nothing could be tried; most machines have them.
        return ["dual-stack"]


def _situation(port: AskedPort, protocol: str, can: list[ListenMode]) -> Situation:
    kind = _KINDS[protocol]
    if os.name == "nt":
        raise RuntimeError(
            f"Windows' tables of sockets are not read here; type: "
            f"{command_line('port', port=port.number)}"
        )
    try:
        found = holders(port.number, kind)
    except OSError as error:
        raise RuntimeError(
            f"the kernel's tables can't be read: {said(error)}; {_remedy(port.number)}"
        ) from error
    lowest = setting("ipv4/ip_unprivileged_port_start")
    if lowest is None:
        lowest = _LOW_PORTS
    return Situation(port.number, kind, found, can, lowest, _has_right(), chosen_ports())


def _remedy(port: int) -> str:
    if sys.platform.startswith("linux"):
        return "mount /proc, or allow netlink"
    return f"type: {command_line('port', port=port)}"


def _has_right() -> bool:
    """Whether this process may bind to low ports: it has the right, and has it over the user
    namespace that its network belongs to."""
    effective = own_status("CapEff")
    if effective is None:
        return not hasattr(os, "geteuid") or os.geteuid() == 0
    return bool(int(effective, 16) >> _CAP_NET_BIND_SERVICE & 1) and _owns_network()


def _owns_network() -> bool:
    try:
        import fcntl

        network = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            owner = fcntl.ioctl(network, _NS_GET_USERNS)
        finally:
            os.close(network)
        try:
            return os.fstat(owner).st_ino == os.stat("/proc/self/ns/user").st_ino
        finally:
            os.close(owner)
    except OSError as error:
        # EPERM: it belongs to a user namespace above this one.
        return error.errno != errno.EPERM
    except ImportError:
        return True


CHECKS = (
    Check("port.tcp", "port", _tcp, _PATIENCE),
    Check("port.tcp.held", "held", _held_tcp, _PATIENCE),
    Check("port.udp", "port (UDP)", _udp, _PATIENCE),
    Check("port.udp.held", "held (UDP)", _held_udp, _PATIENCE),
)
