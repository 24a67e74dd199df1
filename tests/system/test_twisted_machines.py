"""Twisted servers on machines of every kind, made with network namespaces and seccomp filters."""

from __future__ import annotations

import contextlib
import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.namespaces import Namespace, namespace, needs_root
from support.processes import Server, running, running_command
from support.seccomp import without

WITNESS = Path(__file__).parents[1] / "integration" / "servers" / "witness.py"
NOBODY = 65534
AF_INET = int(socket.AF_INET)
AF_INET6 = int(socket.AF_INET6)
ASK = """
import socket, sys
family, kind, proto, _, address = socket.getaddrinfo(sys.argv[1], int(sys.argv[2]))[0]
with socket.socket(family, socket.SOCK_STREAM) as client:
    client.connect(address)
    client.sendall(b"report")
    sys.stdin.readline()
"""


def first(server: Server, key: str) -> dict[str, Any]:
    while True:
        event = server.event()
        if key in event:
            return event


@contextlib.contextmanager
def asked(host: str, port: int, prefix: tuple[str, ...] = ()) -> Iterator[None]:
    """A client that asks the witness for its report and stays."""
    with running_command([*prefix, sys.executable, "-c", ASK, host, str(port)]) as client:
        yield
        client.say("done")


def reported(server: Server, host: str, port: int, prefix: tuple[str, ...] = ()) -> dict[str, Any]:
    with asked(host, port, prefix):
        return first(server, "built_with")


def listeners(place: Namespace | None, port: int) -> list[str]:
    command = ["ss", "-H", "-ltn", f"sport = :{port}"]
    prefix = place.prefix if place else ()
    with running_command([*prefix, *command]) as ss:
        ss.process.wait(timeout=60)
        return ss.stop().splitlines()


@needs_root
def test_twistd_binds_a_privileged_port_before_it_drops_root(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    twistd = Path(sys.executable).with_name("twistd")
    command = [
        *("--nodaemon", "--pidfile=", f"--rundir={tmp_path}", f"--uid={NOBODY}", f"--gid={NOBODY}"),
        *("web", "--listen", "dualstack:80"),
    ]
    with namespace() as place:
        with running_command([*place.prefix, str(twistd), *command]) as server:
            server.wait_for_log("starting on 80")
            server.wait_for_log("set uid/gid")
            for family, host in (("-4", "127.0.0.1"), ("-6", "[::1]")):
                assert "Twisted Web" in place.run("curl", "-sS", family, f"http://{host}/")
            assert len(listeners(place, 80)) == 1
            status = Path(f"/proc/{server.process.pid}/status").read_text()
            [uids] = [line.split()[1:] for line in status.splitlines() if line[:4] == "Uid:"]
            assert set(uids) == {str(NOBODY)}
            log = server.stop()
    assert '"127.0.0.1" - -' in log
    assert '"::1" - -' in log
    assert "::ffff:" not in log.lower()


@needs_root
def test_a_refused_privileged_port_is_named() -> None:
    with namespace() as place:
        prefix = (*place.prefix, "setpriv", "--bounding-set=-net_bind_service")
        with running(WITNESS, "epoll", "dualstack:80", "0", prefix=prefix) as server:
            event = first(server, "refused")
    assert event["refused"].startswith(
        "Couldn't listen on :::80: [Errno 13] Permission denied ([::]:80)"
    )


@needs_root
def test_IPv6_switched_off_by_sysctl_still_serves_IPv4_through_one_socket() -> None:
    with namespace() as place:
        for scope in ("all", "default", "lo"):
            place.run("sysctl", "-qw", f"net.ipv6.conf.{scope}.disable_ipv6=1")
        with running(WITNESS, "epoll", "dualstack:0", "0", prefix=place.prefix) as server:
            port = first(server, "port")["port"]
            assert len(listeners(place, port)) == 1
            report = reported(server, "127.0.0.1", port, place.prefix)
            assert report["peer"] == ["IPv4Address", "127.0.0.1"]


@needs_root
def test_the_system_default_of_v6only_does_not_matter() -> None:
    with namespace() as place:
        place.run("sysctl", "-qw", "net.ipv6.bindv6only=1")
        with running(WITNESS, "epoll", "dualstack:0", "0", prefix=place.prefix) as server:
            port = first(server, "port")["port"]
            for host, kind in (("127.0.0.1", "IPv4Address"), ("::1", "IPv6Address")):
                assert reported(server, host, port, place.prefix)["peer"] == [kind, host]


def add_link_local(place: Namespace) -> None:
    """``fe80::7`` on ``wire0``."""
    place.run("ip", "link", "add", "wire0", "type", "veth", "peer", "name", "wire1")
    for end in ("wire0", "wire1"):
        place.run("ip", "link", "set", end, "up")
    place.run("ip", "address", "add", "fe80::7/64", "dev", "wire0", "nodad")


@needs_root
@pytest.mark.parametrize("description", ["dualstack:0", r"tcp6:0:interface=\:\:"])
def test_a_link_local_peer_keeps_its_zone_as_with_tcp6(description: str) -> None:
    with namespace() as place:
        add_link_local(place)
        with running(WITNESS, "epoll", description, "0", prefix=place.prefix) as server:
            port = first(server, "port")["port"]
            report = reported(server, "fe80::7%wire0", port, place.prefix)
    assert report["peer"] == report["host"] == report["built_with"]
    assert report["peer"] == ["IPv6Address", "fe80::7%wire0"]
    assert report["logstr"].endswith(",fe80::7%wire0")


@needs_root
def test_an_interface_with_a_zone_id_is_listened_on() -> None:
    with namespace() as place:
        add_link_local(place)
        description = r"dualstack:0:interface=fe80\:\:7%wire0"
        with running(WITNESS, "epoll", description, "0", prefix=place.prefix) as server:
            announced = first(server, "port")
            assert announced["host"] == ["IPv6Address", "fe80::7%wire0"]
            report = reported(server, "fe80::7%wire0", announced["port"], place.prefix)
    assert report["host"] == ["IPv6Address", "fe80::7%wire0"]


@pytest.mark.parametrize(
    ("denial", "reason"),
    [
        (f"--deny-family={AF_INET6}=EAFNOSUPPORT", "Address family not supported by protocol"),
        (f"--deny-family={AF_INET6}=EPERM", "Operation not permitted"),
        (
            f"--deny-option={int(socket.IPPROTO_IPV6)},{socket.IPV6_V6ONLY}=EINVAL",
            "IPV6_V6ONLY can't be cleared (Invalid argument)",
        ),
        (
            f"--deny-option={int(socket.IPPROTO_IPV6)},{socket.IPV6_V6ONLY}=ENOPROTOOPT",
            "IPV6_V6ONLY can't be cleared (Protocol not available)",
        ),
    ],
)
def test_where_dual_stack_is_impossible_the_error_has_reason_and_remedy(
    denial: str, reason: str
) -> None:
    with running(WITNESS, "epoll", "dualstack:0", "0", prefix=without(denial)) as server:
        event = first(server, "refused")
    assert f"no dual-stack socket can be had on this machine: {reason}" in event["refused"]
    assert "listen on interface '0.0.0.0' for IPv4 only" in event["refused"]


def test_the_remedy_works_where_IPv6_is_denied() -> None:
    denial = f"--deny-family={AF_INET6}=EAFNOSUPPORT"
    description = "dualstack:0:interface=0.0.0.0"
    with running(WITNESS, "epoll", description, "0", prefix=without(denial)) as server:
        port = first(server, "port")["port"]
        assert reported(server, "127.0.0.1", port)["peer"] == ["IPv4Address", "127.0.0.1"]


def test_where_neither_family_can_be_had_the_error_says_so() -> None:
    denials = [f"--deny-family={family}=EAFNOSUPPORT" for family in (AF_INET, AF_INET6)]
    program = (
        "from dsadapter.policy import ListenPolicy\n"
        "from dsadapter.sockets.listening import open_listening_socket\n"
        "try: open_listening_socket(ListenPolicy.for_interface('', 0, 5))\n"
        "except OSError as error: print(type(error).__name__, error.errno, error.strerror)\n"
    )
    with running_command([*without(*denials), sys.executable, "-c", program]) as python:
        python.process.wait(timeout=60)
        said = python.stop()
    assert said.startswith("NotDualStackError 97 no dual-stack socket can be had")
    assert "neither IPv4 nor IPv6 sockets can be had" in said


def test_denied_IPv4_sockets_do_not_stop_IPv4_through_the_dual_stack_socket() -> None:
    denial = f"--deny-family={AF_INET}=EAFNOSUPPORT"
    with running(WITNESS, "epoll", "dualstack:0", "0", prefix=without(denial)) as server:
        port = first(server, "port")["port"]
        assert reported(server, "127.0.0.1", port)["peer"] == ["IPv4Address", "127.0.0.1"]
        assert os.path.exists(f"/proc/{server.process.pid}")
