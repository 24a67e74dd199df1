"""What errors advise on Windows: its own commands, as its command prompt takes them."""

from __future__ import annotations

import errno
import json
import os
import re
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from support.environments import clean_environment
from support.launched import finished
from support.windows import own_udp_address

from dsadapter.command_lines import joined
from dsadapter.connector.story import FailedAttempt, all_failed
from dsadapter.policy import DatagramPolicy, ListenPolicy
from dsadapter.sockets.binding import open_datagram_socket, open_listening_socket
from dsadapter.sockets.ifaddrs import interface_addresses, interface_with
from dsadapter.sockets.remedies import remedy

OF_UNIX = re.compile(
    r"\b(ip (route|address|link)|ss -|sysctl|lsof|ifconfig|export|unset|rm|kill|sudo)\b|/proc|'"
)
DOCTOR = [sys.executable, "-m", "dsadapter", "doctor"]


@pytest.mark.parametrize("word", ["a&b", "a b|c", "a<b>c", "back\\ slash\\", "(a)", "a^b", "'"])
def test_the_command_prompt_passes_words_on(word: str, tmp_path: Path) -> None:
    script = tmp_path / "a script.py"
    script.write_text("import sys; print(sys.argv[1:])")
    line = joined([sys.executable, str(script), word])
    # With /s it takes away the first and the last quote of its own.
    typed = f'cmd /s /c "{line}"'
    done = subprocess.run(typed, capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout.strip() == repr([word]), done.stderr


def test_the_addresses_of_this_machine() -> None:
    found = interface_addresses()
    names = {name for _, name in socket.if_nameindex()}
    assert {name for name, _ in found} <= names
    packed = [address for _, address in found]
    assert socket.inet_aton("127.0.0.1") in packed
    assert socket.inet_pton(socket.AF_INET6, "::1") in packed
    assert interface_with(socket.inet_pton(socket.AF_INET6, "::1")) == 1


@pytest.mark.parametrize(
    ("opened", "policy"),
    [
        (open_listening_socket, ListenPolicy("192.0.2.1", 0)),
        (open_listening_socket, ListenPolicy("2001:db8::1", 0)),
        pytest.param(open_datagram_socket, DatagramPolicy("192.0.2.1", 0), marks=own_udp_address),
        (open_datagram_socket, DatagramPolicy("2001:db8::1", 0)),
    ],
)
def test_an_address_of_another_machine_is_told_from_this_ones(opened: Any, policy: Any) -> None:
    own = "::1" if ":" in policy.host else "127.0.0.1"
    with pytest.raises(OSError, match=rf"it is no address of this machine, which has .*{own}"):
        opened(policy).close()


def test_a_link_local_address_wants_its_interface() -> None:
    with pytest.raises(OSError, match=r"needs its interface: give 'fe80::9%\w+'"):
        open_listening_socket(ListenPolicy("fe80::9", 0))


@pytest.mark.parametrize("zone", ["lo", "99999", "no such one", "-1", "0"])
@pytest.mark.parametrize("policy", [ListenPolicy, DatagramPolicy])
def test_a_zone_that_is_none_of_this_machine_is_refused(policy: type, zone: str) -> None:
    opened = open_listening_socket if policy is ListenPolicy else open_datagram_socket
    with pytest.raises((OSError, ValueError)) as told:
        opened(policy(f"fe80::1%{zone}", 0)).close()
    assert "fe80::1%" in str(told.value)
    assert not isinstance(told.value, socket.gaierror)


@pytest.mark.parametrize(
    ("number", "command"),
    [
        (errno.ENETUNREACH, "route print"),
        (errno.EACCES, "netsh advfirewall firewall show rule name=all dir=out"),
    ],
)
def test_where_a_route_is_looked_for(number: int, command: str) -> None:
    failed = FailedAttempt(("192.0.2.1", 80), 0.1, OSError(number, os.strerror(number)))
    assert f"look at '{command}'" in all_failed("192.0.2.1:80", [failed]).text


def test_a_low_port_takes_no_right() -> None:
    told = remedy(OSError(errno.EACCES, "forbidden"), local=("::", 80))
    assert told is not None
    assert "superuser" not in told
    assert "netsh interface ipv4 show excludedportrange protocol=tcp" in told


def test_the_doctor_advises_nothing_of_unix(tmp_path: Path) -> None:
    """Where much is wrong: an extra is missing, and plugins are kept out, required and broken."""
    variables = {
        "DSADAPTER_BLOCK_PLUGINS": "twisted,unheard-of",
        "DSADAPTER_REQUIRE_PLUGINS": "missing",
    }
    words = ["--json", "--only=extra,framework,plugin,tool.listing,port.tcp", "8080"]
    done = finished([*DOCTOR, *words], env=clean_environment(**variables))
    rows = json.loads(done.stdout)["rows"]
    remedies = [line for row in rows for line in row["remedy"]]
    assert any("-m pip install dsadapter[migrate]" in line for line in remedies)
    assert 'set "DSADAPTER_REQUIRE_PLUGINS="' in remedies
    assert 'set "DSADAPTER_BLOCK_PLUGINS=twisted"' in remedies
    assert [line for line in remedies if OF_UNIX.search(line)] == []


def test_the_doctor_takes_a_path_of_windows(tmp_path: Path) -> None:
    program = tmp_path / "a folder" / "server.py"
    program.parent.mkdir()
    program.write_text("raise SystemExit('started')")
    for words in (["--", str(program), "a b"], [f'--program="{program}" "a b"']):
        done = finished([*DOCTOR, "--json", "--only=program", *words])
        report = json.loads(done.stdout)
        assert report["program"] == [str(program), "a b"]
        [row] = [row for row in report["rows"] if row["id"] == "program"]
        assert (row["mark"], row["fact"]) == ("ok", "it would be covered")
        assert row["remedy"] == [joined(["dsadapter", "run", "--", str(program), "a b"])]


def test_what_is_not_installed_is_named_as_it_is_typed(tmp_path: Path) -> None:
    (tmp_path / "shtab.py").write_text("raise ImportError")
    done = finished(
        [sys.executable, "-m", "dsadapter", "--print-completion", "bash"],
        env=clean_environment(PYTHONPATH=str(tmp_path)),
    )
    assert "pip install dsadapter[cli]" in done.stderr
