"""Ports that somebody holds: what the doctor says is what a listener then meets, and it never binds
to one itself."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import shlex
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.environments import clean_environment
from support.examined import WITHOUT_RIGHTS, Report, examined, run_doctor
from support.namespaces import namespace, needs_root
from support.port_holding import HERE as HOLDING
from support.processes import PATIENCE, Server, running, running_command
from support.programs import curl, free_port, until
from support.seccomp import without

from dsadapter.policy import DatagramPolicy, ListenPolicy
from dsadapter.sockets.listening import open_datagram_sockets, open_listening_sockets

PORTS = "--only=port.tcp,port.tcp.held,port.udp,port.udp.held"
NO_NETLINK = f"--deny-family={int(socket.AF_NETLINK)}=EPERM"
BIN = Path(sys.executable).parent


@contextlib.contextmanager
def holding(how: str, prefix: tuple[str, ...] = ()) -> Iterator[tuple[int, Server]]:
    port = free_port()
    with running(Path(HOLDING), how, str(port), prefix=prefix) as server:
        server.event()
        yield port, server


def opens(protocol: str, port: int) -> bool:
    """Whether what the doctor was asked about really opens, at this moment."""
    try:
        if protocol == "tcp":
            opened = open_listening_sockets(ListenPolicy("::", port))
        else:
            opened = open_datagram_sockets(DatagramPolicy("::", port))
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
        return False
    for sock in opened.sockets:
        sock.close()
    return True


def held(report: Report, protocol: str, port: int) -> tuple[str, str]:
    return tuple(  # type: ignore[return-value]
        report.row(f"port.{protocol}.held", f"{port} {family}")["fact"]
        for family in ("IPv4", "IPv6")
    )


HOLDERS = {
    "0.0.0.0": ("0.0.0.0:{}", None),
    "127.0.0.1": ("127.0.0.1:{}", None),
    ":: v6only": (None, "[::]:{} (v6-only)"),
    "::": ("[::]:{} (dual-stack)", "[::]:{} (dual-stack)"),
    "::1": (None, "[::1]:{}"),
    "::ffff:127.0.0.1": ("[::ffff:127.0.0.1]:{}", None),
}


@pytest.mark.parametrize("protocol", ["tcp", "udp"])
@pytest.mark.parametrize("how", HOLDERS)
def test_who_holds_it_and_what_would_happen(protocol: str, how: str) -> None:
    with holding(f"{protocol} {how}") as (port, server):
        asked = f"{port}/{protocol}"
        report = examined(PORTS, asked)
        assert report.status == 1
        for shown, expected in zip(held(report, protocol, port), HOLDERS[how], strict=True):
            if expected is None:
                assert shown == "nobody serves it"
            else:
                process = f"python (pid {server.process.pid})"
                assert shown == f"{expected.format(port)} is held by {process}"
        row = report.row(f"port.{protocol}", str(port))
        assert row["mark"] == "problem"
        assert "fails with EADDRINUSE: " in row["fact"]
        assert not opens(protocol, port)
        # What is advised is typed: first what serves beside it, then what ends it.
        *others, _ = [line for line in reversed(row["remedy"]) if "kill" not in line] + [""]
        for line in others:
            families = served(line, port)
            assert families == ({"-4"} if "family=ipv4" in line else {"-6"})
        assert bool(others) == (protocol == "tcp" and None in HOLDERS[how])
        [kill] = [line for line in row["remedy"] if line.startswith("kill ")]
        subprocess.run(kill, shell=True, check=True)
        server.process.wait(PATIENCE)
        assert examined(PORTS, asked).status == 0
        assert opens(protocol, port)


def served(line: str, port: int) -> set[str]:
    environment = clean_environment(PATH=f"{BIN}{os.pathsep}{os.environ['PATH']}")
    answered = set()
    with running_command(shlex.split(line, comments=True), env=environment) as server:
        until(lambda: "starting on" in server.log(), server)
        for family in ("-4", "-6"):
            with contextlib.suppress(AssertionError):
                # The holder accepts nothing, and answers nobody.
                curl(family, port, "--max-time", "2")
                answered.add(family)
    return answered


def test_sockets_that_share_it_are_counted() -> None:
    with holding("tcp reuseport") as (port, _):
        row = examined(PORTS, str(port)).row("port.tcp")
        assert row["fact"].endswith(", 3 sockets")
        assert not opens("tcp", port)


@pytest.mark.parametrize("how", ["tcp bound", "tcp client"])
def test_what_may_be_in_the_way_is_advice(how: str) -> None:
    with holding(how) as (port, server):
        report = examined(PORTS, f"{port}/tcp")
        row = report.row("port.tcp")
        assert (report.status, row["mark"]) == (0, "advice")
        assert "may fail with EADDRINUSE: " in row["fact"]
        assert f"(pid {server.process.pid})" in row["fact"]
        [command] = row["remedy"]
        shown = subprocess.run(command, shell=True, capture_output=True, text=True, check=True)
        assert how == "tcp bound" or f"pid={server.process.pid}" in shown.stdout


def test_udp_that_nobody_asked_for_is_mere_advice() -> None:
    with holding("udp 0.0.0.0") as (port, _):
        report = examined(PORTS, str(port))
        assert (report.status, report.marks()) == (0, {f"port.udp {port}": "advice"})
        assert examined(PORTS, f"{port}/tcp").marks() == {}


def test_without_netlink_the_tables_are_read() -> None:
    with holding("tcp :: v6only") as (port, server):
        report = examined(PORTS, f"{port}/tcp", prefix=without(NO_NETLINK))
        assert report.status == 1
        assert (
            f"[::]:{port} is held by python (pid {server.process.pid})"
            in report.row("port.tcp")["fact"]
        )


@needs_root
def test_a_process_that_can_not_be_seen() -> None:
    with holding("tcp ::") as (port, _):
        row = examined(PORTS, str(port), prefix=WITHOUT_RIGHTS).row("port.tcp")
        assert "a process of user 0 that can't be seen" in row["fact"]
        [command] = row["remedy"]
        shown = subprocess.run(command, shell=True, capture_output=True, text=True, check=True)
        assert "python" in shown.stdout


@needs_root
def test_without_proc_it_says_that_it_can_not_tell() -> None:
    with namespace() as place:
        prefix = (*place.prefix, "unshare", "-m", "sh", "-c", 'umount -l /proc; exec "$@"', "sh")
        report = examined(PORTS, "8080", prefix=prefix)
        assert report.row("port.tcp")["mark"] == "ok"
        report = examined(PORTS, "8080", prefix=(*prefix, *without(NO_NETLINK)))
        assert report.status == 2
        row = report.row("port.tcp")
        assert row["failed"]
        assert "mount /proc" in row["fact"]
        assert run_doctor("8080", prefix=prefix).returncode in (0, 2)


CHOSEN = Path("/proc/sys/net/ipv4/ip_local_port_range")


def test_a_port_that_is_asked_about_is_never_bound() -> None:
    """Not by number, and not by chance: the system may choose one of two ports alone, and the
    doctor asks about one of them."""
    port = free_port()
    trace = ("strace", "-f", "--seccomp-bpf", "-e", "trace=bind,connect,sendto", "-s", "200")
    done = run_doctor(str(port), "--", "python", "-c", "pass", prefix=trace)
    assert done.returncode == 0, done.stdout
    assert "bind(" in done.stderr
    assert "port=htons(0)" in done.stderr.replace("sin6_", "").replace("sin_", "")
    assert not re.search(rf"(bind|connect|sendto)\(.*htons\({port}\)", done.stderr)


@needs_root
def test_a_port_that_the_system_might_choose_is_kept_off() -> None:
    with namespace() as place:
        place.run("sysctl", "-qw", "net.ipv4.ip_local_port_range=40000 40007")
        trace = ("strace", "-f", "--seccomp-bpf", "-e", "trace=bind,setsockopt", "-X", "raw")
        done = run_doctor("--json", "40003", prefix=(*place.prefix, *trace))
        [listener] = [row for row in json.loads(done.stdout)["rows"] if row["id"] == "listener"]
        if listener["fact"].startswith("not tried"):
            pytest.skip("this kernel has no IP_LOCAL_PORT_RANGE")
        kept: set[str] = set()
        left_to_the_system = 0
        for pid, call in re.findall(r"^(\[pid +\d+\] )?(.*)$", done.stderr, re.MULTILINE):
            # IPPROTO_IP, IP_LOCAL_PORT_RANGE
            if ranged := re.match(r"setsockopt\((\d+), 0, 0x33, .* = 0$", call):
                kept.add(pid + ranged[1])
            elif bound := re.match(
                r'bind\((\d+), {sa_family=0x[2a], sin6?_port="\\x00\\x00"', call
            ):
                left_to_the_system += 1
                assert pid + bound[1] in kept, call
        assert left_to_the_system


@needs_root
def test_where_it_can_not_keep_off_it_tries_nothing() -> None:
    denial = f"--deny-option={int(socket.IPPROTO_IP)},51=ENOPROTOOPT"
    with namespace() as place:
        place.run("sysctl", "-qw", "net.ipv4.ip_local_port_range=40000 40007")
        report = examined("40003", prefix=(*place.prefix, *without(denial)))
        assert report.status == 0
        for which in ("socket", "listener", "packet-information", "reactor", "loop.asyncio"):
            assert report.row(which)["fact"].startswith("not tried: this system can't keep")
        report = examined("--only=listener", "8080", prefix=(*place.prefix, *without(denial)))
        assert report.row("listener")["fact"].startswith("one socket serves")


def test_an_error_of_a_held_port_names_the_doctor() -> None:
    with holding("tcp 0.0.0.0") as (port, _), pytest.raises(OSError) as caught:
        open_listening_sockets(ListenPolicy("::", port))
    assert f"dsadapter doctor {port}" in str(caught.value)
