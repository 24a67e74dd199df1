"""What this machine can do, tried on loopback and on ports that nobody asked about."""

from __future__ import annotations

import errno
import os
import select
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from dsadapter.command_lines import command_line, joined
from dsadapter.doctor.findings import Check, Finding, Question
from dsadapter.doctor.keeping_off import CannotKeepOffError, keeping_off
from dsadapter.packetinfo import platform
from dsadapter.packetinfo.receiving import Counters, Receiver
from dsadapter.policy import FAMILY_NAMES, DatagramPolicy, Family, ListenMode, ListenPolicy
from dsadapter.sockets.canonical import take_ipv4_form
from dsadapter.sockets.capability import Capability, probe, says_absent
from dsadapter.sockets.listening import open_datagram_sockets, open_listening_sockets
from dsadapter.sockets.options import ADDRESS_FORM, read_v6only
from dsadapter.sockets.system_settings import setting

LOOPBACK: dict[Family, str] = {"ipv4": "127.0.0.1", "ipv6": "::1"}
_NUMBER: dict[Family, int] = {"ipv4": socket.AF_INET, "ipv6": socket.AF_INET6}
_PATIENCE = 2.0
"""Seconds for a packet to come over loopback."""
_SWITCH = "net.ipv6.conf.all.disable_ipv6"
_NO_ROUTE = (errno.EADDRNOTAVAIL, errno.ENETUNREACH, errno.EHOSTUNREACH)

KeepOff = Callable[[socket.socket], None]


def own_status(field: str) -> str | None:
    """A field of this process in proc(5); None where the system says nothing."""
    try:
        status = Path("/proc/self/status").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    for line in status.splitlines():
        name, _, value = line.partition(":")
        if name == field:
            return value.strip()
    return None


def capabilities(question: Question) -> Capability:
    """What sockets this machine has; nothing is bound to a port that was asked about.

    :raises CannotKeepOffError: if that can't be ruled out.
    """
    return probe(keeping_off(question))


def modes(can: Capability) -> list[ListenMode]:
    """What ``fallback=auto`` tries, in its order, of what this machine has."""
    if can.dual_stack is None:
        return ["dual-stack"]
    if can.ipv4 is None and can.ipv6 is None:
        return ["pair"]
    return [family for family in _NUMBER if getattr(can, family) is None]


def said(error: OSError) -> str:
    """The name and the text of an error of the system."""
    name = errno.errorcode.get(error.errno or 0, type(error).__name__)
    return f"{name} ({error.strerror})"


def _families(question: Question) -> list[Finding]:
    try:
        can = capabilities(question)
    except CannotKeepOffError as error:
        return [_not_tried(error)]
    return [_ipv4(can), _ipv6(can), _dual_stack(can)]


def _ipv4(can: Capability) -> Finding:
    subject = FAMILY_NAMES["ipv4"]
    if can.ipv4 is None:
        return Finding("ok", "there are AF_INET sockets", subject=subject)
    fact = f"there are no AF_INET sockets: {said(can.ipv4)}{_sandbox()}"
    if can.dual_stack is None:
        fact += "; IPv4 clients can still come, by a dual-stack socket"
        return Finding("ok", fact, subject=subject)
    mark = "advice" if can.ipv6 is None else "problem"
    remedy = _serve(r"interface=\:\:1") if can.ipv6 is None else ""
    return Finding(mark, fact, remedy, subject)  # type: ignore[arg-type]


def _ipv6(can: Capability) -> Finding:
    subject = FAMILY_NAMES["ipv6"]
    if can.ipv6 is not None and can.dual_stack is not None:
        mark = "advice" if can.ipv4 is None else "problem"
        fact = f"there are no AF_INET6 sockets: {said(can.ipv6)}{_sandbox()}"
        return Finding(mark, fact, _serve("interface=0.0.0.0"), subject)  # type: ignore[arg-type]
    if setting("ipv6/conf/all/disable_ipv6") == 1 or setting("ipv6/conf/lo/disable_ipv6") == 1:
        return Finding(
            "advice",
            "there are AF_INET6 sockets, and no IPv6 address: it is switched off by sysctl; "
            "dual-stack listeners serve IPv4",
            f"sysctl -w {_SWITCH}=0 net.ipv6.conf.lo.disable_ipv6=0",
            subject,
        )
    return Finding("ok", "there are AF_INET6 sockets", subject=subject)


def _dual_stack(can: Capability) -> Finding:
    subject = "dual-stack"
    if can.dual_stack is None:
        return Finding("ok", "IPV6_V6ONLY can be cleared: one socket serves both", subject=subject)
    open_modes = modes(can)
    fact = f"no socket serves both: {said(can.dual_stack)}"
    if not open_modes:
        return Finding("problem", f"{fact}; and none serves one{_sandbox()}", subject=subject)
    if open_modes == ["pair"]:
        fact += "; 'dualstack:' opens a pair, behind one port object"
        return Finding("advice", fact, _serve("fallback=pair"), subject)
    family: Family = "ipv4" if open_modes == ["ipv4"] else "ipv6"
    fact += f"; 'dualstack:' serves {FAMILY_NAMES[family]} alone"
    return Finding("advice", fact, _serve(f"fallback={family}"), subject)


def _serve(option: str) -> str:
    return joined(["twist", "web", "--listen", f"dualstack:8080:{option}"])


def _sandbox() -> str:
    """What a filter of system calls says about itself (proc(5))."""
    filtered = own_status("Seccomp") == "2"
    return ", in a sandbox (seccomp; systemd: RestrictAddressFamilies=)" if filtered else ""


def _not_tried(error: Exception) -> Finding:
    return Finding("ok", f"not tried: {error}", "dsadapter doctor")


def _default(question: Question) -> Finding | None:
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as sock:
            v6only = read_v6only(sock)
    except OSError:
        return None
    if not v6only:
        return Finding("ok", "0: a program that sets nothing serves both (net.ipv6.bindv6only)")
    if os.name == "nt":
        return Finding(
            "ok",
            "1, as on every Windows: a program that sets nothing serves IPv6 alone; listeners of "
            "dsadapter set the option, and 'dsadapter run' widens those of others",
        )
    return Finding(
        "advice",
        "1: a program that sets nothing serves IPv6 alone; listeners of dsadapter serve IPv4 all "
        "the same, because they set the option",
        "sysctl -w net.ipv6.bindv6only=0",
    )


def _packet_information(question: Question) -> list[Finding]:
    if not platform.SUPPORTED:
        fact = "this platform gives none: there are no dual-stack datagram ports"
        return [Finding("advice", fact)]
    keep_off = keeping_off(question)
    try:
        opened = open_datagram_sockets(DatagramPolicy("::", 0), lambda s, _: keep_off(s))
    except CannotKeepOffError as error:
        return [_not_tried(error)]
    except OSError as error:
        return [Finding("advice", f"no datagram port can be opened: {error.strerror}")]
    [sock] = opened.sockets
    with sock:
        receiver = Receiver(sock, opened.mode, 100, Counters(), lambda *_: None, None)
        served: tuple[Family, ...] = ("ipv4", "ipv6")
        if opened.mode in served:
            served = (opened.mode,)
        return [_arrives(sock, receiver, family, keep_off) for family in served]


def _arrives(sock: socket.socket, receiver: Receiver, family: Family, keep_off: KeepOff) -> Finding:
    host, subject = LOOPBACK[family], FAMILY_NAMES[family]
    try:
        with socket.socket(_NUMBER[family], socket.SOCK_DGRAM) as sender:
            keep_off(sender)
            sender.sendto(b"?", (host, sock.getsockname()[1]))
            select.select([sock], [], [], _PATIENCE)
            datagrams, *_ = receiver.receive(1)
    except OSError as error:
        if error.errno in _NO_ROUTE or says_absent(error):
            return Finding("ok", f"not tried, {host} can't be sent to: {said(error)}", "", subject)
        raise
    if not datagrams:
        return Finding(
            "advice", f"a datagram to {host} does not arrive", command_line("loopback"), subject
        )
    if [info.destination for _, _, info in datagrams if info is not None] == [host]:
        return Finding("ok", "a datagram says which address it came to", "", subject)
    fact = f"a datagram to {host} came without packet information"
    return Finding("problem", fact, "dsadapter doctor -v", subject)


def _listener(question: Question) -> Finding:
    keep_off = keeping_off(question)
    try:
        opened = open_listening_sockets(ListenPolicy("::", 0), lambda sock, _: keep_off(sock))
    except CannotKeepOffError as error:
        return _not_tried(error)
    except OSError as error:
        return Finding("problem", f"no listener can be opened: {error.strerror}")
    shown = []
    failures = []
    silent = []
    for sock in opened.sockets:
        sock.setblocking(True)
        sock.settimeout(_PATIENCE)
    for family, host in LOOPBACK.items():
        if opened.mode in _NUMBER and opened.mode != family:
            continue
        sock = opened.sockets[0 if family == "ipv4" else -1]
        try:
            with _connection(sock, family, keep_off) as (_, peer):
                shown.append(peer)
                if peer != host:
                    failures.append(f"{host} is shown as {peer}")
        except TimeoutError:
            silent.append(host)
        except OSError as error:
            if error.errno not in _NO_ROUTE and not says_absent(error):
                failures.append(f"{host} can't connect: {said(error)}")
    for sock in opened.sockets:
        sock.close()
    if failures:
        return Finding("problem", "; ".join(failures))
    if silent:
        fact = f"{' and '.join(silent)} can't be reached from this very machine"
        return Finding("advice", fact, command_line("loopback"))
    how = "one socket serves" if opened.mode == "dual-stack" else f"'{opened.mode}' serves"
    return Finding("ok", f"{how} {' and '.join(shown) or 'nobody yet'}, shown as such")


@contextmanager
def _connection(
    listening: socket.socket, family: Family, keep_off: KeepOff
) -> Iterator[tuple[socket.socket, str]]:
    """What a listener accepts of one loopback client, and the peer that it shows."""
    with socket.socket(_NUMBER[family], socket.SOCK_STREAM) as client:
        keep_off(client)
        client.settimeout(_PATIENCE)
        client.connect((LOOPBACK[family], listening.getsockname()[1]))
        accepted, peer = listening.accept()
        with accepted:
            yield accepted, peer[0]


def _address_form(question: Question) -> Finding | None:
    if ADDRESS_FORM.number is None:
        return Finding("ok", "not on this platform: bare descriptors show mapped addresses")
    keep_off = keeping_off(question)
    try:
        opened = open_listening_sockets(ListenPolicy("::", 0), lambda sock, _: keep_off(sock))
    except CannotKeepOffError as error:
        return _not_tried(error)
    except OSError:
        return None
    try:
        if opened.mode != "dual-stack":
            return Finding("ok", "not needed: IPv4 clients have AF_INET sockets")
        opened.sockets[0].settimeout(_PATIENCE)
        with _connection(opened.sockets[0], "ipv4", keep_off) as (accepted, _):
            usable = take_ipv4_form(accepted)
    except OSError as error:
        return Finding("ok", f"not tried, 127.0.0.1 can't be connected to: {said(error)}")
    finally:
        for sock in opened.sockets:
            sock.close()
    if usable:
        return Finding("ok", "bare descriptors of IPv4 connections can be made AF_INET ones")
    return Finding(
        "advice",
        "bare descriptors of IPv4 connections stay AF_INET6, with mapped addresses: child "
        "processes and C libraries see those",
        "twist web --listen dualstack:8080:family=ipv4 --listen dualstack:8080:family=ipv6",
    )


CHECKS = (
    Check("socket", "sockets", _families),
    Check("v6only.default", "v6-only by default", _default),
    Check("listener", "listener", _listener),
    Check("packet-information", "packet information", _packet_information, 10.0),
    Check("address-form", "bare descriptors", _address_form),
)
