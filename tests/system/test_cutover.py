"""``dsadapter cutover``: running servers that know nothing of it are replaced under load."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.cutovers import (
    PORT,
    Cutovers,
    ask_by_curl,
    ask_line,
    line_server,
    parked,
    running_old,
)
from support.environments import clean_environment
from support.namespaces import needs_root
from support.processes import running_command
from support.programs import listening_sockets
from support.under_load import BOTH, Load, connections, gentle

pytestmark = [needs_root, pytest.mark.usefixtures("alone")]
LEGACY = Path(__file__).parents[2] / "examples" / "legacy"
COOKIES = Path("/proc/sys/net/ipv4/tcp_syncookies")


@pytest.fixture
def load() -> Iterator[Load]:
    """Clients that connect all the time, once there is a server; none of them may be lost."""
    clients: list[Load] = []

    class Later(Load):
        def __init__(self) -> None:
            pass

        def start(self) -> None:
            super().__init__(PORT, ask=ask_line, clients=1, pause=gentle())
            clients.append(self)

    yield Later()
    for each in clients:
        each.end()


@pytest.mark.parametrize("name", sorted(path.name for path in LEGACY.glob("*_echo.py")))
def test_servers_of_before_are_replaced_and_put_back(
    name: str, cutovers: Cutovers, tmp_path: Path
) -> None:
    """As they are; the new ones are what ``dsadapter migrate`` makes of them. Of 10,000 by
    CUTOVER_CONNECTIONS=10000."""
    # Twisted's needs it.
    Path("/proc/sys/net/ipv6/bindv6only").write_text("1")
    wanted = connections(400) // 4
    new = tmp_path / name
    new.write_text((LEGACY / name).read_text())
    migrate = [sys.executable, "-m", "dsadapter", "migrate", "--write", str(new)]
    subprocess.run(migrate, env=clean_environment(), check=False, capture_output=True)
    launch = [sys.executable, "-m", "dsadapter", "run", "--reuse-port", "--"]
    program = [*launch, sys.executable, str(new), str(PORT)]
    old = [sys.executable, str(LEGACY / name), str(PORT)]
    with running_command(old, env=clean_environment()) as server:
        server.wait_for_log("listening")
        pid = str(server.process.pid)
        load = Load(PORT, ask=ask_line, clients=1, pause=gentle())
        curl = Load(PORT, ask=ask_by_curl, clients=1, pause=gentle())
        try:
            load.until_total(wanted)
            assert cutovers.run("--pid", pid, "--keep", "--", *program)[0] == 0
            assert (len(listening_sockets(PORT)), parked()) == (3, 2)
            load.until_total(2 * wanted)
            status, said = cutovers.run("--pid", pid, "--back")
            assert status == 0, said
            assert (len(listening_sockets(PORT)), parked()) == (2, 0)
            load.until_total(3 * wanted)
            status, said = cutovers.run("--pid", pid, "--", *program)
            assert status == 0, said
            assert server.process.wait(60) == -signal.SIGTERM or name.startswith("twisted")
            assert len(listening_sockets(PORT)) == 1
            load.until_total(4 * wanted)
        finally:
            load.end()
            curl.end()
    assert load.lost == []
    assert curl.lost == []
    assert curl.answers[b"curl"] > 10


@pytest.mark.parametrize("cookies", ["0", "2"])
@pytest.mark.parametrize(
    ("before", "after"), [("pair", "dual"), ("dual", "pair"), ("dual", "dual")]
)
def test_nothing_is_lost_whatever_replaces_what(
    before: str, after: str, cookies: str, cutovers: Cutovers, load: Load
) -> None:
    COOKIES.write_text(cookies)
    wanted = connections(300)
    with running_old(before) as server:
        server.wait_for_log("listening")
        load.start()
        load.until_total(wanted // 2)
        status, said = cutovers.run("--pid", str(server.process.pid), "--", *line_server(after))
        assert status == 0, said
        assert ("parked" in said) == (before != after)
        load.until_total(wanted)
    load.end()
    # IPv4 comes to a pair from the moment it listens, which is before anybody can tell it to take
    # the cookie that a client may hold.
    held = (before, after, cookies) == ("dual", "pair", "2") and load.lost[:1]
    assert load.lost in ([], held)
    assert not held or held[0].startswith("127.0.0.1: ConnectionResetError")


def test_many_that_wait_are_served_before_the_old_server_ends(cutovers: Cutovers) -> None:
    with running_old("pair") as server:
        server.wait_for_log("listening")
        os.kill(server.process.pid, signal.SIGSTOP)
        waiting = [socket.create_connection((host, PORT), 20) for host in BOTH * 200]
        new = line_server("dual")
        with cutovers.running("--pid", str(server.process.pid), "--drain=20", "--", *new) as run:
            run.wait_for_log("parked")
            assert all(ask_line(host, PORT) for host in BOTH)
            os.kill(server.process.pid, signal.SIGCONT)
            run.wait_for_log("400 connections are", "left")
            for client in waiting:
                client.sendall(b"\r\n")
            for client in waiting:
                assert client.recv(100).strip().decode() in BOTH
                client.close()
            assert run.process.wait(60) == 0
        assert server.process.wait(60) == -signal.SIGTERM


def test_all_workers_are_replaced(cutovers: Cutovers, load: Load) -> None:
    with running_old("pair", "workers=12") as server:
        server.wait_for_log("listening")
        load.start()
        load.until_total(100)
        new = line_server("dual", "workers=3")
        status, said = cutovers.run("--pid", str(server.process.pid), "--", *new)
        assert status == 0, said
        assert server.process.wait(60) == 0
        load.until_total(200)
    load.end()
    assert load.lost == []
    assert len(listening_sockets(PORT)) == 1


def test_connections_are_left_to_the_old_server_for_a_while(cutovers: Cutovers) -> None:
    with running_old("pair") as server:
        server.wait_for_log("listening")
        with socket.create_connection(("::1", PORT), 20) as client:
            client.sendall(b"\r\n")
            assert client.recv(100) == b"::1\n"
            new = line_server("dual")
            pid = str(server.process.pid)
            with cutovers.running("--pid", pid, "--drain=1", "--", *new) as run:
                run.wait_for_log("1 connection is of the old server left, for 1 s at most")
                client.sendall(b"\r\n")
                assert client.recv(100) == b"::1\n"
                run.wait_for_log("1 connection is left, which it ends with")
                assert client.recv(100) == b""
                assert run.process.wait(60) == 0


@pytest.mark.parametrize(
    "moment", ["new server is process", "it listens on", "parked", "was empty twice", "at most"]
)
def test_interrupted_anywhere_the_machine_serves_as_before(
    moment: str, cutovers: Cutovers, load: Load
) -> None:
    with running_old("pair") as server:
        server.wait_for_log("listening")
        with socket.create_connection(("::1", PORT), 20):
            load.start()
            new = line_server("dual")
            with cutovers.running("--pid", str(server.process.pid), "--", *new) as run:
                run.wait_for_log(moment)
                run.process.send_signal(signal.SIGINT)
                assert run.process.wait(60) == 130
            load.until_total(load.total + 20)
            load.end()
            assert load.lost == []
            assert (len(listening_sockets(PORT)), parked()) == (2, 0)


def shared_socket() -> None:
    with socket.socket(socket.AF_INET6) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sock.bind(("::", PORT))


@pytest.mark.parametrize(
    ("new", "said"),
    [
        (["/nowhere/new"], "/nowhere/new can't be started: No such file or directory"),
        ([sys.executable, "-c", "raise SystemExit(3)"], "ended with status 3 before it listened"),
        (line_server("alone"), "ended with status 1 before it listened on 0.0.0.0:8080 and"),
        (line_server("dual", port=8081), "does not listen on 0.0.0.0:8080 and [::]:8080 after 5 s"),
        (line_server("ipv4"), "does not listen on [::]:8080 after 5 s"),
    ],
)
def test_where_the_new_server_fails_all_is_as_it_was(
    new: list[str], said: str, cutovers: Cutovers, load: Load
) -> None:
    with running_old("pair") as server:
        server.wait_for_log("listening")
        load.start()
        status, text = cutovers.run("--timeout=5", "--pid", str(server.process.pid), "--", *new)
        assert (status, said in text) == (2, True), text
        load.until_total(load.total + 20)
        load.end()
        assert load.lost == []
        assert (len(listening_sockets(PORT)), parked()) == (2, 0)
        assert listening_sockets(8081) == []


@pytest.mark.parametrize("moment", ["it listens on", "parked", "at most"])
def test_where_the_new_server_dies_the_old_one_serves_again(
    moment: str, cutovers: Cutovers
) -> None:
    with running_old("pair") as server:
        server.wait_for_log("listening")
        with socket.create_connection(("::1", PORT), 20) as client:
            new = line_server("dual")
            with cutovers.running("--pid", str(server.process.pid), "--", *new) as run:
                run.wait_for_log(moment)
                cutovers.remember(run.log())
                os.kill(cutovers.newest, signal.SIGKILL)
                assert run.process.wait(60) == 2
                run.wait_for_log("the new server has ended; the old one goes on")
            assert parked() == 0
            assert all(ask_line(host, PORT) for host in BOTH)
            client.sendall(b"\r\n")
            assert client.recv(100) == b"::1\n"


def test_an_old_server_that_accepts_nothing_stays_and_serves_what_waited(
    cutovers: Cutovers,
) -> None:
    with running_old("pair") as server:
        server.wait_for_log("listening")
        os.kill(server.process.pid, signal.SIGSTOP)
        with socket.create_connection(("::1", PORT), 20) as client:
            pid = str(server.process.pid)
            status, said = cutovers.run("--pid", pid, "--timeout=6", "--", *line_server("dual"))
            assert status == 2
            assert "does not accept what waits in its queue; is it stuck?" in said
            os.kill(server.process.pid, signal.SIGCONT)
            client.sendall(b"\r\n")
            assert client.recv(100) == b"::1\n"
        assert (len(listening_sockets(PORT)), parked()) == (2, 0)


def test_an_old_server_that_ignores_sigterm_is_said_to_be_left(cutovers: Cutovers) -> None:
    ignoring = ["sh", "-c", 'trap "" TERM; exec "$@"', "sh", *line_server("pair"), "old"]
    with running_command(ignoring, env=clean_environment()) as server:
        server.wait_for_log("listening")
        pid = str(server.process.pid)
        status, said = cutovers.run("--pid", pid, "--timeout=6", "--", *line_server("dual"))
        assert status == 1
        advice = said.strip().rpartition("to end it: ")[2]
        assert advice == f"kill -9 {pid}"
        subprocess.run(advice.split(), check=True)
    assert all(ask_line(host, PORT) for host in BOTH)


def test_workers_that_come_later_get_connections_too(cutovers: Cutovers) -> None:
    """Nothing is steered any more when the old server has gone."""
    with running_old("dual") as server:
        server.wait_for_log("listening")
        pid = str(server.process.pid)
        assert cutovers.run("--pid", pid, "--", *line_server("dual"))[0] == 0
    with socket.socket(socket.AF_INET6) as later:
        later.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        later.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        later.bind(("::", PORT))
        later.listen()
        later.setblocking(False)
        clients = [socket.create_connection(("127.0.0.1", PORT), 20) for _ in range(40)]
        accepted, _ = later.accept()
        for each in (accepted, *clients):
            each.close()


def test_an_old_server_that_ends_by_itself_leaves_the_new_one(cutovers: Cutovers) -> None:
    with running_old("pair") as server:
        server.wait_for_log("listening")
        with socket.create_connection(("::1", PORT), 20):
            new = line_server("dual")
            with cutovers.running("--pid", str(server.process.pid), "--", *new) as run:
                run.wait_for_log("at most")
                server.process.kill()
                assert run.process.wait(60) == 0
        assert all(ask_line(host, PORT) for host in BOTH)


@pytest.mark.parametrize("before", ["pair", "dual"])
def test_sockets_are_passed_on_to_a_server_that_can_not_share_them(
    before: str, cutovers: Cutovers, load: Load
) -> None:
    with running_old(before, "graceful") as server:
        server.wait_for_log("listening")
        load.start()
        load.until_total(100)
        pid = str(server.process.pid)
        status, said = cutovers.run("--adopt", "--pid", pid, "--", *line_server("passed"))
        assert status == 0, said
        assert server.process.wait(60) == 0
        load.until_total(load.total + 100)
    load.end()
    assert load.lost == []


def test_the_sockets_of_another_user_are_passed_on_to_twisted(cutovers: Cutovers) -> None:
    child = os.fork()
    if not child:
        os.setresuid(65534, 65534, 65534)
        sockets = [socket.create_server(("0.0.0.0", PORT))]
        sockets.append(socket.create_server(("::", PORT), family=socket.AF_INET6))
        assert sockets
        signal.pause()
        os._exit(0)
    try:
        while len(listening_sockets(PORT)) < 2:
            assert os.waitpid(child, os.WNOHANG) == (0, 0)
        twist = [sys.executable, "-m", "twisted", "web", "--listen=dualstack:systemd=0,1"]
        run = ["--adopt", "--pid", str(child), "--", *twist]
        status, said = cutovers.run(*run)
        assert "it waits for connections on the same sockets" in said, (
            said + cutovers.log.read_text()
        )
        assert status == 0
        for host in ("127.0.0.1", "[::1]"):
            curl = ["curl", "-sSi", "--noproxy", "*", f"http://{host}:{PORT}/"]
            page = subprocess.run(curl, capture_output=True, text=True, check=True)
            assert "Server: TwistedWeb" in page.stdout
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


@pytest.mark.parametrize(
    ("new", "said"),
    [
        (["sleep", "100"], "does not wait for connections on what it was passed after 3 s"),
        (["/nowhere/new"], "ended with status 1 before it waited"),
        (line_server("fd=3"), "does not wait for connections on what it was passed after 3 s"),
    ],
)
def test_where_passing_on_fails_all_is_as_it_was(
    new: list[str], said: str, cutovers: Cutovers
) -> None:
    with running_old("pair") as server:
        server.wait_for_log("listening")
        pid = str(server.process.pid)
        status, text = cutovers.run("--adopt", "--timeout=3", "--pid", pid, "--", *new)
        assert (status, said in text) == (2, True), text
        assert all(ask_line(host, PORT) for host in BOTH)
        assert server.process.poll() is None


def test_a_dry_run_changes_nothing(cutovers: Cutovers) -> None:
    with running_old("pair") as server:
        server.wait_for_log("listening")
        pid = str(server.process.pid)
        with socket.create_connection(("::1", PORT), 20):
            status, said = cutovers.run("--dry-run", "--pid", pid, "--", *line_server("dual"))
        assert status == 0
        assert "listens on 0.0.0.0:8080 and [::]:8080, with 1 connection" in said
        assert f"SIGTERM to {pid}" in said
        assert (len(listening_sockets(PORT)), parked()) == (2, 0)
        with pytest.raises(OSError, match="in use"):
            shared_socket()


def test_a_server_of_two_processes_is_replaced_by_one_that_goes_to_the_background(
    cutovers: Cutovers,
) -> None:
    daemon = ["sh", "-c", 'setsid "$@" & exit 0', "sh", *line_server("dual")]
    with running_old("ipv4") as one, running_old("ipv6") as other:
        pids = [str(each.process.pid) for each in (one, other)]
        for server in (one, other):
            server.wait_for_log("listening")
        status, said = cutovers.run("--pid", pids[0], "--pid", pids[1], "--", *daemon)
        assert status == 0, said
        assert [each.process.wait(60) for each in (one, other)] == [-signal.SIGTERM] * 2
    assert all(ask_line(host, PORT) for host in BOTH)
    [line] = listeners_with_processes()
    os.kill(int(line.split("pid=")[1].split(",")[0]), signal.SIGKILL)


def listeners_with_processes() -> list[str]:
    command = ["ss", "-Hltnp", f"sport = :{PORT}"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()


def test_a_command_that_is_killed_leaves_a_serving_machine_and_a_way_back(
    cutovers: Cutovers,
) -> None:
    with running_old("pair") as server:
        server.wait_for_log("listening")
        pid = str(server.process.pid)
        with socket.create_connection(("::1", PORT), 20):
            with cutovers.running("--pid", pid, "--", *line_server("dual")) as run:
                run.wait_for_log("at most")
                run.process.kill()
        assert all(ask_line(host, PORT) for host in BOTH)
        status, said = cutovers.run("--back", "--pid", pid)
        assert status == 0, said
        assert all(ask_line(host, PORT) for host in BOTH)
        assert (len(listening_sockets(PORT)), parked()) == (2, 0)


def test_the_new_server_has_a_session_of_its_own(cutovers: Cutovers) -> None:
    with running_old("pair") as server:
        server.wait_for_log("listening")
        status, said = cutovers.run(
            "--drain=0", "--pid", str(server.process.pid), "--", *line_server("dual")
        )
        assert status == 0, said
    assert os.getsid(cutovers.newest) == cutovers.newest
    assert cutovers.log.read_text() == "listening\n"
