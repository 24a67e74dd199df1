"""What the doctor makes of what it knows of a port."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from dsadapter.doctor.holders import Holder, Process
from dsadapter.doctor.port_verdicts import Situation, verdict
from dsadapter.processes import unit_in
from dsadapter.sockets.kernel_tables import ESTABLISHED, LISTENING, TIME_WAIT
from dsadapter.sockets.port_table import PortEntry


@pytest.mark.parametrize(
    ("groups", "unit"),
    [
        ("0::/system.slice/nginx.service\n", "nginx.service"),
        (
            "4:memory:/x.service\n1:name=systemd:/system.slice/web@1.service/worker\n",
            "web@1.service",
        ),
        ("0::/user.slice/user-0.slice/user@0.service/app.slice/a.service", "--user a.service"),
        ("0::/user.slice/user-0.slice/user@0.service/init.scope", ""),
        ("0::/user.slice/user-0.slice/session-1.scope", ""),
        ("0::/\n", ""),
        ("4:memory:/docker/web.service\n", ""),
        ("0::/a\x1b.service\n", ""),
        ("junk", ""),
        ("", ""),
    ],
)
def test_the_unit_of_a_process(groups: str, unit: str) -> None:
    assert str(unit_in(groups) or "") == unit


def situation(*entries: PortEntry, port: int = 8080, unit: str = "", **changed: Any) -> Situation:
    holders = [
        Holder(entry, port, socket.SOCK_STREAM, (Process(12, "some; server", unit),))
        for entry in entries
    ]
    made = Situation(port, socket.SOCK_STREAM, holders, ["dual-stack"], 1024, False, (32768, 60999))
    return made._replace(**changed)


def entry(family: str, host: str, state: int = LISTENING, v6only: bool | None = None) -> PortEntry:
    return PortEntry(family, host, state, 7, 0, v6only)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("unit", "line"),
    [
        ("nginx.service", "systemctl stop nginx.service"),
        ("--user a.service", "systemctl --user stop a.service"),
        ("a b.service", "systemctl stop 'a b.service'"),
        ("$(x).service", "systemctl stop '$(x).service'"),
    ],
)
def test_a_unit_is_stopped_and_not_its_process(unit: str, line: str) -> None:
    finding = verdict(situation(entry("ipv4", "0.0.0.0"), unit=unit))
    assert finding.remedy.splitlines()[0] == line


@pytest.mark.parametrize("v6only", [True, False, None])
def test_whether_an_ipv6_wildcard_leaves_ipv4(v6only: bool | None) -> None:
    finding = verdict(situation(entry("ipv6", "::", v6only=v6only)))
    assert finding.mark == "problem"
    assert ("family=ipv4" in finding.remedy) == (v6only is True)


@pytest.mark.parametrize(
    ("modes", "mark"),
    [
        (["dual-stack"], "problem"),
        (["pair"], "problem"),
        (["ipv4"], "problem"),
        (["ipv6"], "advice"),
        ([], "problem"),
    ],
)
def test_what_a_machine_can_serve_decides_what_is_in_the_way(modes: list[Any], mark: str) -> None:
    assert verdict(situation(entry("ipv4", "127.0.0.1"), modes=modes)).mark == mark


@pytest.mark.parametrize("state", [ESTABLISHED, TIME_WAIT])
@pytest.mark.parametrize(("port", "mark"), [(8080, "ok"), (40000, "advice")])
def test_connections_are_in_the_way_where_they_may_be_a_clients(
    state: int, port: int, mark: str
) -> None:
    assert verdict(situation(entry("ipv4", "127.0.0.1", state), port=port)).mark == mark


def test_a_low_port_takes_the_right_to_it() -> None:
    assert "EACCES" in verdict(situation(port=80)).fact
    assert verdict(situation(port=80, privileged=True)).mark == "ok"


def test_many_holders_are_some_and_a_number() -> None:
    entries = [entry("ipv4", f"127.0.0.{number}") for number in range(1, 201)]
    finding = verdict(situation(*entries))
    assert len(finding.fact) < 500
    assert finding.fact.endswith("; 196 more")
    assert finding.remedy.count("kill 12") == 1
