"""What the doctor says on machines that lack something, and whether what it advises works there."""

from __future__ import annotations

import os
import re
import shlex
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from support.environments import clean_environment
from support.examined import WITHOUT_RIGHTS, Report, examined
from support.machines import NO_DUAL_STACK, NO_IPV4, NO_IPV6, NO_OPTION, switch_off_ipv6
from support.namespaces import Namespace, namespace, needs_root
from support.processes import running_command
from support.programs import curl, free_port, until_listening
from support.seccomp import without

from dsadapter.sockets.options import ADDRESS_FORM

SOCKETS = "--only=socket,v6only.default,listener,address-form,port.tcp"
HERE = Path(sys.executable).parent
ADVISED_PORT = "8080"


def environment() -> dict[str, str]:
    """One in which the commands that are advised are found."""
    return clean_environment(PATH=f"{HERE}{os.pathsep}{os.environ['PATH']}")


def served(command: str, prefix: tuple[str, ...] = ()) -> list[str]:
    """Run what is advised, on a port of the test's own; which families curl has got a page by."""
    port = free_port()
    words = shlex.split(command.replace(ADVISED_PORT, str(port)))
    families = []
    with running_command([*prefix, *words], env=environment()) as server:
        until_listening(port, server)
        for family in ("-4", "-6"):
            try:
                curl(family, port)
            except AssertionError:
                continue
            families.append(family)
    return families


@pytest.mark.parametrize(
    ("denial", "subject", "what", "families"),
    [
        (NO_IPV6, "IPv6", "there are no AF_INET6 sockets: EAFNOSUPPORT", ["-4"]),
        (NO_IPV6, "dual-stack", "'dualstack:' serves IPv4 alone", ["-4"]),
        (NO_OPTION, "dual-stack", "'dualstack:' serves IPv4 alone", ["-4"]),
        pytest.param(
            NO_DUAL_STACK,
            "dual-stack",
            "no socket serves both: EINVAL (IPV6_V6ONLY can't be cleared (Invalid argument)); "
            "'dualstack:' opens a pair",
            ["-4", "-6"],
            marks=needs_root,
        ),
    ],
)
def test_what_is_lacking_is_advice_that_works(
    denial: str, subject: str, what: str, families: list[str]
) -> None:
    report = examined(SOCKETS, prefix=without(denial))
    assert report.status == 0
    row = report.row("socket", subject)
    assert row["mark"] == "advice"
    assert what in row["fact"]
    [command] = row["remedy"]
    assert served(command, without(denial)) == families
    assert examined("--strict", SOCKETS, prefix=without(denial)).status == 1


def test_ipv4_that_is_denied_still_comes() -> None:
    report = examined(SOCKETS, "8080", prefix=without(NO_IPV4))
    row = report.row("socket", "IPv4")
    assert row["mark"] == "ok"
    assert "no AF_INET sockets: EAFNOSUPPORT" in row["fact"]
    assert "in a sandbox (seccomp" in row["fact"]
    assert report.row("port.tcp")["mark"] == "ok"
    assert report.status == 0


def test_a_machine_without_any_socket_is_a_problem() -> None:
    report = examined(SOCKETS, "8080", prefix=without(NO_IPV4, NO_IPV6))
    assert report.status == 1
    assert report.row("socket", "dual-stack")["mark"] == "problem"
    assert report.row("listener")["mark"] == "problem"
    assert report.row("port.tcp")["mark"] == "problem"


def test_descriptors_that_stay_mapped() -> None:
    assert ADDRESS_FORM.number is not None
    denial = f"--deny-option={ADDRESS_FORM.level},{ADDRESS_FORM.number}=EPERM"
    row = examined(SOCKETS, prefix=without(denial)).row("address-form")
    assert row["mark"] == "advice"
    [command] = row["remedy"]
    assert served(command) == ["-4", "-6"]


@pytest.fixture
def machine() -> Namespace:
    with namespace() as made:
        yield made


def follow(place: Namespace, row: dict[str, object]) -> None:
    for command in row["remedy"]:
        place.run("sh", "-c", command)


@needs_root
def test_ipv6_that_is_switched_off(machine: Namespace) -> None:
    switch_off_ipv6(machine)

    def report() -> Report:
        return examined(SOCKETS, "8080", prefix=machine.prefix)

    row = report().row("socket", "IPv6")
    assert row["mark"] == "advice"
    assert "it is switched off by sysctl; dual-stack listeners serve IPv4" in row["fact"]
    assert report().row("listener")["fact"].startswith("one socket serves 127.0.0.1,")
    assert report().status == 0
    follow(machine, row)
    assert report().marks() == {}
    assert "serves 127.0.0.1 and ::1," in report().row("listener")["fact"]


@needs_root
def test_a_default_of_v6_only(machine: Namespace) -> None:
    machine.run("sysctl", "-qw", "net.ipv6.bindv6only=1")
    report = examined(SOCKETS, prefix=machine.prefix)
    assert report.marks() == {"v6only.default": "advice"}
    follow(machine, report.row("v6only.default"))
    assert examined(SOCKETS, prefix=machine.prefix).marks() == {}


@needs_root
def test_a_loopback_that_is_down(machine: Namespace) -> None:
    only = "--only=listener,packet-information"
    machine.run("ip", "link", "set", "lo", "down")
    report = examined(only, prefix=machine.prefix)
    assert report.status == 0
    assert report.row("packet-information", "IPv6")["fact"].startswith("not tried, ::1")
    row = report.row("packet-information", "IPv4")
    assert (row["mark"], row["fact"]) == ("advice", "a datagram to 127.0.0.1 does not arrive")
    follow(machine, row)
    report = examined(only, prefix=machine.prefix)
    assert report.marks() == {}
    assert report.row("packet-information", "IPv4")["fact"] == (
        "a datagram says which address it came to"
    )


@needs_root
def test_a_port_without_the_right_to_it(machine: Namespace) -> None:
    nobody = (*machine.prefix, *WITHOUT_RIGHTS)
    report = examined(SOCKETS, "80", prefix=nobody)
    assert report.status == 1
    row = report.row("port.tcp")
    assert "'dualstack:80' fails with EACCES" in row["fact"]
    follow(machine, row)
    assert examined(SOCKETS, "80", prefix=nobody).row("port.tcp")["mark"] == "ok"
    assert examined(SOCKETS, "80", prefix=machine.prefix).row("port.tcp")["mark"] == "ok"


@needs_root
def test_rules_for_ipv6_alone(machine: Namespace) -> None:
    machine.run("nft", "add table ip6 web")
    machine.run("nft", "add chain ip6 web in { type filter hook input priority 0; }")
    machine.run("nft", "add rule ip6 web in tcp dport { 22, 8000-9000 } reject")

    def rows() -> Report:
        return examined("--only=tool.firewall", "8080", "443", prefix=machine.prefix)

    assert rows().row("tool.firewall", "nft 443")["mark"] == "ok"
    row = rows().row("tool.firewall", "nft 8080")
    assert row["mark"] == "advice"
    assert row["fact"] == "table ip6 web denies it to IPv6 alone: IPv4 clients pass"
    server = "import socket; s = socket.create_server(('::', 8080), family=10, dualstack_ipv6=1)"
    client = "socket.create_connection(('127.0.0.1', 8080), 2)"
    assert machine.run(sys.executable, "-c", f"{server}; {client}") == ""
    follow(machine, row)
    assert rows().row("tool.firewall", "nft 8080")["mark"] == "ok"
    refused = f"{server}\ntry: {client}\nexcept ConnectionRefusedError: print('refused')"
    assert machine.run(sys.executable, "-c", refused) == "refused\n"


def test_tools_that_list_by_family_are_tried() -> None:
    row = examined("--only=tool.listing", "8080").row("tool.listing", "ss")
    assert re.fullmatch(r"'ss .*4' lists no dual-stack listener, .*", row["fact"])
    port = free_port()
    command = row["remedy"][0].replace(ADVISED_PORT, str(port))
    with socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True):
        shown = subprocess.run(command, shell=True, capture_output=True, text=True, check=True)
    assert f"*:{port}" in shown.stdout
