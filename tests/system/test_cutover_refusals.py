"""What ``dsadapter cutover`` refuses, without having changed anything, and what to do then."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.cutovers import PORT, PROGRAM, Cutovers, ask_line, line_server, parked
from support.environments import clean_environment
from support.namespaces import namespace, needs_root
from support.processes import Server, running_command
from support.programs import listening_sockets
from support.under_load import BOTH, Load, gentle

pytestmark = [needs_root, pytest.mark.usefixtures("alone")]
PASSING_ON = PROGRAM.with_name("passing_on.py")
# Processes of their own, the first of which has process number 1.
OWN_PROCESSES = ("unshare", "--pid", "--fork", "--mount-proc", "--kill-child")
# No rights but over what is in there: not over the network, which was made outside.
NOBODY = ("unshare", "--user", "--map-user=1000", "--map-group=1000")
NOBODY_ALONE = (*NOBODY, *OWN_PROCESSES[1:])
needs_user_namespaces = pytest.mark.skipif(
    subprocess.run((*NOBODY, "true"), capture_output=True, check=False).returncode != 0,
    reason="this kernel has no user namespaces for a process in a chroot",
)
NEW = line_server("dual")


def run(*words: str) -> tuple[int, str]:
    done = subprocess.run(
        words,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=clean_environment(),
        timeout=120,
        check=False,
    )
    return done.returncode, done.stdout


@contextlib.contextmanager
def serving(*shapes: str, prefix: tuple[str, ...] = ()) -> Iterator[Server]:
    words = [*prefix, *line_server(*shapes), "old"]
    with running_command(words, env=clean_environment()) as server:
        server.wait_for_log("listening")
        yield server


def test_process_1_has_the_sockets(cutovers: Cutovers) -> None:
    command = cutovers.words("--pid", "PID", "--", *NEW)
    status, said = run(*OWN_PROCESSES, sys.executable, str(PASSING_ON), "keep", *command)
    assert status == 2, said
    assert re.search(r"process 1 \(.*\) has the sockets, too; if it is systemd", said)
    assert "'systemctl list-sockets' shows the unit, stop and disable it, and repeat" in said
    assert not cutovers.log.read_text()


def test_another_process_has_the_sockets(cutovers: Cutovers) -> None:
    command = cutovers.words("--pid", "PID", "--", *NEW)
    status, said = run(sys.executable, str(PASSING_ON), "keep", *command)
    assert status == 2, said
    assert "has the sockets, too, and would have them parked" in said
    assert "if it is the server's parent, name it with --pid instead" in said
    assert not cutovers.log.read_text()


@needs_user_namespaces
def test_a_process_that_can_not_be_seen_may_have_the_sockets(cutovers: Cutovers) -> None:
    command = cutovers.words("--pid", "PID", "--one-way", "--", *NEW)
    hiding = [sys.executable, str(PASSING_ON), "hide", *command]
    status, said = run(*NOBODY_ALONE, "sh", "-c", f"{shlex.join(hiding)}; exit $?")
    assert status == 2, said
    assert "may have the sockets, too, and can't be seen; run this as root" in said
    assert not cutovers.log.read_text()


@needs_user_namespaces
def test_a_server_that_can_not_be_traced(cutovers: Cutovers) -> None:
    with serving("pair") as server:
        status, said = cutovers.run("--pid", str(server.process.pid), "--", *NEW, prefix=NOBODY)
        assert status == 2, said
        assert "can't be reached, for want of the right to trace it (ptrace)" in said
        assert len(said.splitlines()) == 1


@needs_user_namespaces
def test_without_the_right_it_goes_one_way_only(cutovers: Cutovers, tmp_path: Path) -> None:
    """And loses nothing either."""
    words = [*line_server("pair"), "old"]
    script = tmp_path / "script"
    cutover = shlex.join(cutovers.words("--drain=1"))
    script.write_text(
        f"{shlex.join(words)} &\n"
        "read -r line\n"
        f"{cutover} --pid $! -- {shlex.join(NEW)}; echo status $?\n"
        f"{cutover} --pid $! --one-way -- {shlex.join(NEW)}; echo status $?\n"
        "read -r line\n"
    )
    with running_command([*NOBODY_ALONE, "bash", str(script)], env=clean_environment()) as inside:
        inside.wait_for_log("listening")
        load = Load(PORT, ask=ask_line, pause=gentle())
        load.until_total(100)
        inside.say("go")
        inside.wait_for_log("status 2")
        assert "can't be undone without the right CAP_NET_RAW" in inside.log()
        assert "add --one-way" in inside.log()
        assert "new server" not in inside.log()
        inside.wait_for_log("status 0")
        assert "the old sockets are parked" in inside.log()
        assert len(listening_sockets(PORT)) == 1
        load.until_total(load.total + 100)
        load.end()
        inside.say("end")
    assert load.lost == []


def test_a_server_of_another_user(cutovers: Cutovers) -> None:
    child = os.fork()
    if not child:
        os.setresuid(65534, 65534, 65534)
        sockets = [
            socket.create_server(("0.0.0.0", PORT)),
            socket.create_server(("::", PORT), family=socket.AF_INET6),
        ]
        assert sockets
        signal.pause()
    try:
        while len(listening_sockets(PORT)) < 2:
            assert os.waitpid(child, os.WNOHANG) == (0, 0)
        pid = ("--pid", str(child), "--timeout=5")
        status, said = cutovers.run(*pid, "--", *NEW)
        assert status == 2
        assert "user 65534 made the sockets of process" in said
        assert "only the same user can share a port; add --user=65534" in said
        # Whose program is started as that user.
        status, said = cutovers.run(*pid, "--user=65534", "--", "sh", "-c", "id -u; exit 4")
        assert "ended with status 4" in said
        assert cutovers.log.read_text() == "65534\n"
        assert parked() == 0
    finally:
        os.kill(child, 9)
        os.waitpid(child, 0)


def test_a_server_in_another_network(cutovers: Cutovers) -> None:
    with namespace() as place:
        with serving("pair", prefix=place.prefix) as server:
            pid = str(server.process.pid)
            status, said = cutovers.run("--pid", pid, "--", *NEW)
            assert status == 2
            advice = said.split("type: ")[1].strip().removesuffix("...").split()
            assert advice[-4:] == ["dsadapter", "cutover", "--pid", pid]
            status, said = cutovers.run("--pid", pid, "--", *NEW, prefix=tuple(advice[:-4]))
            assert status == 0, said
        cutovers.end()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--pid", "1", "--", "true"], "process 1 can't be replaced"),
        (["--pid", "4194305", "--", "true"], "there is no process 4194305"),
        (["--pid", "OLD", "--only=81", "--", "true"], "does not listen on port 81"),
        (["--pid", "SLEEP", "--", "true"], "listens on no TCP port; 'ss -ltnp' shows who does"),
        (["--pid", "OLD", "--back"], "are not parked; there is nothing to put back"),
        (["--pid", "OLD"], "name the new server: dsadapter cutover --pid OLD -- NEW"),
        (["--pid", "OLD", "--back", "--", "true"], "--back starts nothing; leave NEW away"),
        (["--pid", "OLD", "--user=nobody-knows", "--", "true"], "there is no user"),
        (["--pid", "none", "--", "true"], "'none' is not the number of a process"),
        (["--pid", "OLD", "--drain=-1", "--", "true"], "'-1' is not a number of seconds"),
    ],
)
def test_what_is_asked_for_makes_no_sense(
    arguments: list[str], said: str, cutovers: Cutovers
) -> None:
    with serving("pair") as server:
        with running_command(["sleep", "100"]) as sleep:
            names = {"OLD": str(server.process.pid), "SLEEP": str(sleep.process.pid)}
            status, text = cutovers.run(*(names.get(word, word) for word in arguments))
        assert status == 2
        assert said in text
        assert all(ask_line(host, PORT) for host in BOTH)


def test_a_socket_of_one_interface(cutovers: Cutovers) -> None:
    source = (
        "import socket, time\n"
        f"sock = socket.create_server(('0.0.0.0', {PORT}))\n"
        "sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b'lo')\n"
        "print('listening', flush=True)\n"
        "time.sleep(1000)\n"
    )
    with running_command([sys.executable, "-c", source]) as server:
        server.wait_for_log("listening")
        status, said = cutovers.run("--pid", str(server.process.pid), "--", *NEW)
    assert status == 2
    assert "is bound to an interface, which parking would take away" in said


def test_a_port_that_somebody_else_is_bound_to_as_well(cutovers: Cutovers) -> None:
    with socket.socket() as other, serving("ipv6") as server:
        other.bind(("127.0.0.1", PORT))
        status, said = cutovers.run("--pid", str(server.process.pid), "--timeout=3", "--", *NEW)
        assert status == 2
        assert "port 8080 can't be shared" in said
        assert ask_line("::1", PORT)


def test_a_parked_server_is_not_parked_again(cutovers: Cutovers) -> None:
    with serving("pair") as server:
        pid = str(server.process.pid)
        assert cutovers.run("--pid", pid, "--keep", "--", *NEW)[0] == 0
        status, said = cutovers.run("--pid", pid, "--", *NEW)
        assert status == 2
        assert f"put it back: dsadapter cutover --back --pid {pid}" in said


CONTROL_GROUPS = Path("/sys/fs/cgroup/systemd")


@pytest.fixture
def unit() -> Iterator[Path]:
    """A control group as systemd makes one for a service."""
    for folder in (CONTROL_GROUPS, CONTROL_GROUPS.parent):
        made = folder / "dsadapter-test.service"
        try:
            made.mkdir()
        except OSError:
            continue
        if not (made / "cgroup.procs").exists():
            made.rmdir()
            continue
        yield made
        made.rmdir()
        return
    pytest.skip("control groups can't be made here")


def test_a_unit_that_looks_after_the_server_is_named_first(unit: Path, cutovers: Cutovers) -> None:
    with serving("pair") as server:
        (unit / "cgroup.procs").write_text(str(server.process.pid))
        status, said = cutovers.run("--pid", str(server.process.pid), "--drain=0", "--", *NEW)
        assert status == 0, said
        server.process.wait(60)
    note = said.index("note: dsadapter-test.service looks after it")
    assert note < said.index("new server is process")
    assert "systemctl daemon-reload" in said
