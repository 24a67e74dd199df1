"""``dsadapter run`` where no process becomes another one, and no socket takes another's place."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from support.builds import CHECKOUT
from support.environments import clean_environment
from support.launched import finished, launch, run_script, said

SEE = (
    "import json, sys; print(json.dumps([sys.argv[1:], 'Watcher' in str(sys.meta_path)]));"
    "sys.exit(7)"
)
AWKWARD = ["a b", 'a"b', "back\\", 'both\\" ', "", "%PATH%", "ü"]


def console_script(folder: Path, name: str, first_line: str, source: str) -> Path:
    """A program as pip installs it: what starts Python, the first line, and an archive."""
    [starter] = (CHECKOUT.parent / "tools").glob("lib/*/site-packages/pip/_vendor/distlib/t64.exe")
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as written:
        written.writestr("__main__.py", source)
    path = folder / f"{name}.exe"
    path.write_bytes(starter.read_bytes() + f"{first_line}\r\n".encode() + archive.getvalue())
    return path


@pytest.mark.parametrize("launched", [False, True])
def test_words_and_status_are_the_programs(tmp_path: Path, launched: bool) -> None:
    path = tmp_path / "see it.py"
    path.write_text(SEE, encoding="utf-8")
    words = launch(str(path), *AWKWARD) if launched else [sys.executable, str(path), *AWKWARD]
    done = finished(words, env=clean_environment(PYTHONUTF8="1"))
    assert (json.loads(done.stdout), done.returncode) == ([AWKWARD, launched], 7)


def test_a_batch_file_gets_its_words_as_text(tmp_path: Path) -> None:
    (tmp_path / "see it.py").write_text(SEE, encoding="utf-8")
    path = tmp_path / "a batch.cmd"
    path.write_text(f'@"{sys.executable}" "{tmp_path / "see it.py"}" %*\n')
    words = ["a b", "a&b", "c|d", "e^f", "(g)", "back\\", "1>2"]
    done = finished(launch(str(path), *words))
    assert (json.loads(done.stdout), done.returncode) == ([words, True], 7), done.stderr


@pytest.mark.parametrize("status", [0, 255, 256, 2**31 - 1, -1, -1073741819])
def test_every_status_there_is(status: int) -> None:
    done = finished(launch("-c", f"import os; os._exit({status})"))
    assert done.returncode == status % 2**32


def test_standard_input_is_the_programs() -> None:
    done = finished(launch("-c", "print(input())"), input="line\n")
    assert done.stdout == "line\n", done.stderr


def test_a_console_script_on_path(tmp_path: Path) -> None:
    console_script(tmp_path, "some-server", f'#!"{sys.executable}"', SEE)
    path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    done = finished(launch("some-server", "x y"), env=clean_environment(PATH=path))
    assert (json.loads(done.stdout), done.returncode) == ([["x y"], True], 7)


def test_a_console_script_of_an_isolated_python_is_refused_with_the_line_to_type(
    tmp_path: Path,
) -> None:
    path = console_script(tmp_path, "isolated", f"#!{sys.executable} -I", SEE)
    done = finished(launch(str(path), "x y"))
    assert done.returncode == 2
    said_of, _, line = done.stderr.strip().rpartition("; type: dsadapter ")
    assert "-I isolates Python from PYTHONPATH" in said_of
    # The line as it is, as a shell passes it on.
    typed = subprocess.list2cmdline([sys.executable, "-m", "dsadapter"]) + f" {line}"
    again = subprocess.run(
        typed, capture_output=True, text=True, timeout=60, check=False, env=clean_environment()
    )
    assert (json.loads(again.stdout), again.returncode) == ([["x y"], True], 7), again.stderr


def test_a_console_script_of_another_python_is_refused(tmp_path: Path) -> None:
    other = tmp_path / "other"
    (other / "Scripts").mkdir(parents=True)
    shutil.copy(sys.executable, other / "Scripts" / "python.exe")
    (other / "pyvenv.cfg").write_text("home = C:\\nowhere\n")
    path = console_script(tmp_path, "foreign", f"#!{other / 'Scripts' / 'python.exe'}", SEE)
    done = finished(launch(str(path)))
    assert done.returncode == 2
    assert f"runs by the Python of {other}" in done.stderr
    assert "-m pip install dsadapter" in done.stderr


def test_a_python_with_a_path_file_is_refused(tmp_path: Path) -> None:
    python = Path(shutil.copy(sys.executable, tmp_path / "python.exe"))
    (tmp_path / "python313._pth").write_text(".\n")
    done = finished(launch(str(python), "-c", "0"))
    assert done.returncode == 2
    assert "python313._pth has Python ignore PYTHONPATH" in done.stderr


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("no-such-program", "there is no program 'no-such-program' on PATH"),
        ("data.bin", "can't be executed; name a file that Python runs, or one of .com, .exe"),
    ],
)
def test_what_can_not_be_run(tmp_path: Path, name: str, says: str) -> None:
    (tmp_path / "data.bin").write_text("data")
    done = finished(launch(name), cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert says in done.stderr


@pytest.mark.parametrize("option", ["--merge-pairs", "--reuse-port"])
def test_what_sockets_lack_is_refused(option: str) -> None:
    done = finished(launch("-c", "print('runs')", options=(option,)))
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        f"dsadapter run: {option} needs what sockets lack on this platform; leave it away\n"
    )


def test_a_child_that_is_kept_out_is_said(tmp_path: Path) -> None:
    source = (
        "import os, subprocess, sys\n"
        "look = 'import sys; print(\"Watcher\" in str(sys.meta_path))'\n"
        "subprocess.run([sys.executable, '-c', look])\n"
        "subprocess.run([sys.executable, '-I', '-c', look])\n"
        "root = {'SYSTEMROOT': os.environ['SYSTEMROOT']}\n"
        "subprocess.run([sys.executable, '-c', look], env=root)\n"
        "os.spawnv(os.P_WAIT, sys.executable, ['python', '-E', '-V'])\n"
    )
    path = tmp_path / "script.py"
    path.write_text(source)
    done = finished(launch(str(path)))
    assert done.stdout.split()[:3] == ["True", "False", "False"]
    isolated, elsewhere, spawned = said(done)
    assert "-I isolates Python from PYTHONPATH" in isolated
    assert "its environment leaves out PYTHONPATH or DSADAPTER_RUN" in elsewhere
    assert "-E has Python ignore PYTHONPATH" in spawned


WIDENED = """
import socket
first = socket.socket(socket.AF_INET6)
first.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
first.bind(("::", 0))
first.settimeout(7)
port = first.getsockname()[1]
"""


def test_a_widened_listener_is_the_same_object(tmp_path: Path) -> None:
    source = WIDENED + (
        "first.set_inheritable(True); first.listen(5)\n"
        "assert first.getsockname()[1] == port and first.gettimeout() == 7\n"
        "assert first.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)\n"
        "assert first.get_inheritable()\n"
        "for host in '127.0.0.1', '::1':\n"
        "    client = socket.create_connection((host, port))\n"
        "    accepted, name = first.accept()\n"
        "    assert name == accepted.getpeername() == client.getsockname()\n"
        "    print(name[0])\n"
        "first.close()\n"
        "again = socket.create_server(('0.0.0.0', port))\n"
    )
    assert run_script(source, tmp_path) == "127.0.0.1\n::1\n"


@pytest.mark.parametrize("holder", ["another", "this"])
def test_a_port_whose_other_half_is_held_stays_as_it_is(tmp_path: Path, holder: str) -> None:
    hold = "import socket, sys; s = socket.create_server(('0.0.0.0', int(sys.argv[1])))"
    source = (
        WIDENED
        + {
            "another": (
                "import subprocess, sys\n"
                f"hold = {hold + '; print(flush=True); input()'!r}\n"
                "held = subprocess.Popen([sys.executable, '-c', hold, str(port)], "
                "stdin=subprocess.PIPE, stdout=subprocess.PIPE)\n"
                "held.stdout.readline()\n"
            ),
            "this": "held = socket.create_server(('0.0.0.0', port))\n",
        }[holder]
        + (
            "first.listen()\n"
            "client = socket.create_connection(('::1', port)); print(first.accept()[1][0])\n"
            "print(first.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY))\n"
        )
    )
    if holder == "another":
        source += "held.communicate(b'\\n')\n"
    path = tmp_path / "script.py"
    path.write_text(source)
    done = finished(launch(str(path), options=("--explain",)))
    assert done.stdout == "::1\n1\n", done.stderr
    stays = [line for line in said(done) if "stays IPv6 only" in line]
    assert len(stays) == (holder == "another"), done.stderr
    why = "left" if holder == "another" else "the program has 0.0.0.0:"
    assert any(why in line for line in said(done)), done.stderr


def test_the_other_half_of_a_pair_that_comes_late_fails_and_is_said(tmp_path: Path) -> None:
    source = WIDENED + (
        "first.listen()\n"
        "try:\n    socket.create_server(('0.0.0.0', port))\nexcept OSError as error:\n"
        "    print(error.errno in (13, 10013, 10048), port)\n"
    )
    path = tmp_path / "script.py"
    path.write_text(source)
    done = finished(launch(str(path)))
    failed, port = done.stdout.split()
    assert failed == "True"
    assert f"start it with --except={port}" in said(done)[-1]


STREAMS = """
import asyncio
async def main():
    served = asyncio.Queue()
    async def serve(reader, writer):
        info = writer.get_extra_info
        await served.put([info("peername"), info("socket").getpeername(), info("sockname")[0]])
        writer.close()
    server = await asyncio.start_server(serve, "::", 0)
    port = server.sockets[0].getsockname()[1]
    for host in "127.0.0.1", "::1", "::ffff:127.0.0.1":
        reader, writer = await asyncio.open_connection(host, port)
        name = writer.get_extra_info("sockname")
        assert await served.get() == [name, name, name[0]], name
        print(name[0], writer.get_extra_info("peername")[0])
        writer.close()
    print(type(asyncio.get_running_loop()).__name__)
asyncio.run(main())
"""


def test_streams_on_the_proactor_loop(tmp_path: Path) -> None:
    path = tmp_path / "script.py"
    path.write_text(STREAMS)
    done = finished(launch(str(path), options=("--explain", "--guard=log")))
    assert done.stdout.splitlines() == [
        "127.0.0.1 127.0.0.1",
        "::1 ::1",
        "127.0.0.1 127.0.0.1",
        "ProactorEventLoop",
    ], done.stderr
    rows = [line.split() for line in said(done)]
    # Its own pair of sockets is not among them.
    [listener] = [row for row in rows if row[0] == "listener"]
    assert listener[2:5] == ["dual-stack", "widened", "2"]
    assert any(row[:3] == ["handed", "over", "connect"] and "script.py" in row[5] for row in rows)


READY = """
import asyncio
from dsadapter.sockets.listening import listening_socket
async def main():
    served = asyncio.Queue()
    async def serve(reader, writer):
        served.put_nowait(writer.get_extra_info("peername")[0])
        writer.close()
    sock = listening_socket("::", 0)
    server = await asyncio.start_server(serve, sock=sock)
    for host in "127.0.0.1", "::1":
        reader, writer = await asyncio.open_connection(host, sock.getsockname()[1])
        print(await served.get())
        writer.close()
asyncio.run(main())
"""


def test_a_ready_socket_on_the_proactor_loop(tmp_path: Path) -> None:
    assert run_script(READY, tmp_path) == "127.0.0.1\n::1\n"


DATAGRAMS = """
import asyncio, socket
async def main():
    loop = asyncio.get_running_loop()
    class Echo(asyncio.DatagramProtocol):
        def connection_made(self, transport):
            self.transport = transport
        def datagram_received(self, data, addr):
            self.transport.sendto(b"%d %s" % (len(data), addr[0].encode()), addr)
    sock = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    sock.bind(("::", 0))
    transport, _ = await loop.create_datagram_endpoint(Echo, sock=sock)
    port = sock.getsockname()[1]
    for host in "127.0.0.1", "::1":
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        client = socket.socket(family, socket.SOCK_DGRAM)
        client.settimeout(10)
        for size in 1, 3000:
            client.sendto(bytes(size), (host, port))
            data, peer = await asyncio.to_thread(client.recvfrom, 99)
            print(data.decode(), peer[0])
    transport.close()
asyncio.run(main())
"""


def test_datagrams_on_the_proactor_loop(tmp_path: Path) -> None:
    seen = run_script(DATAGRAMS, tmp_path).splitlines()
    each = [(1, "127.0.0.1"), (3000, "127.0.0.1"), (1, "::1"), (3000, "::1")]
    assert seen == [f"{size} {host} {host}" for size, host in each]


def test_datagrams_of_blocking_sockets(tmp_path: Path) -> None:
    source = (
        "import socket\n"
        "server = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)\n"
        "server.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)\n"
        "server.bind(('::', 0)); server.settimeout(10); port = server.getsockname()[1]\n"
        "for host in '127.0.0.1', '::1':\n"
        "    family = socket.AF_INET6 if ':' in host else socket.AF_INET\n"
        "    client = socket.socket(family, socket.SOCK_DGRAM); client.settimeout(10)\n"
        "    client.sendto(b'x', (host, port)); data, name = server.recvfrom(9)\n"
        "    server.sendto(b'answer', name); print(name[0], *client.recvfrom(9)[1][:1])\n"
    )
    assert run_script(source, tmp_path) == "127.0.0.1 127.0.0.1\n::1 ::1\n"


def test_a_cut_over_says_that_it_is_for_linux() -> None:
    done = finished([sys.executable, "-m", "dsadapter", "cutover", "--pid", "4", "--", "x"])
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "dsadapter cutover: it is for Linux, where one process can borrow another's sockets\n"
    )


def test_the_doctor_finds_loops_reactor_and_sockets_well() -> None:
    done = finished([sys.executable, "-m", "dsadapter", "doctor", "--json"])
    rows = json.loads(done.stdout)["rows"]
    found = {row["id"]: row for row in rows}
    for check in "listener", "packet-information", "v6only.default", "reactor", "loop.asyncio":
        assert found[check]["mark"] == "ok", found[check]
    assert "127.0.0.1 is shown as 127.0.0.1" in found["loop.asyncio"]["fact"]
    # What a check has registered is no plugin of another.
    assert "doctor" not in [row["subject"] for row in rows if row["id"] == "plugin"]
    assert not [row for row in rows if row["failed"]]


def test_the_doctor_says_who_else_tells_of_a_port() -> None:
    done = finished([sys.executable, "-m", "dsadapter", "doctor", "--only=port.tcp", "8080"])
    assert done.returncode == 2
    assert "netstat -ano | findstr :8080" in done.stdout


@pytest.mark.parametrize("command", ["run", "doctor", "scan", "migrate", "cutover"])
def test_every_command_explains_itself(command: str) -> None:
    done = finished([sys.executable, "-m", "dsadapter", command, "--help"])
    assert done.returncode == 0
    assert done.stdout.startswith(f"usage: dsadapter {command}")
