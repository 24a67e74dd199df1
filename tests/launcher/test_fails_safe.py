"""Whatever can't be done leaves the program as it was, with one line."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from support.environments import clean_environment, open_to_everybody
from support.launched import finished, launch, said
from support.namespaces import needs_root
from support.seccomp import without

BOUND = """
import os, socket, sys
sock = socket.socket(socket.AF_INET6)
sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
"""
SERVES = """
port = sock.getsockname()[1]
assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR) == 1
with socket.create_connection(("::1", port)) as client:
    print(sock.accept()[1] == client.getsockname())
try:
    socket.create_connection(("127.0.0.1", port))
except ConnectionRefusedError:
    print("IPv6 alone")
"""
AS_IT_WAS = "True\nIPv6 alone\n"
# So many that they aren't looked at one by one; some numbers come again.
AMONG_MANY = """
import socket
many = [socket.create_server(("::", 0), family=socket.AF_INET6) for _ in range(100)]
many[40].detach(), many.pop(60).close()
dropped = socket.socket(); dropped.bind(("127.0.0.1", 0)); del dropped
"""
AMONG = pytest.mark.parametrize("others", ["", AMONG_MANY], ids=["alone", "among many"])


@needs_root
def test_privileges_gone_between_bind_and_listen() -> None:
    source = (
        BOUND
        + (
            "for port in range(1000, 500, -1):\n"
            "    try:\n        sock.bind(('::', port))\n        break\n"
            "    except OSError: pass\n"
            "socket.getaddrinfo('::1', 1)\n"
            "os.setgid(65534); os.setuid(65534)\n"
            "sock.listen()\n"
        )
        + SERVES
    )
    done = finished(launch(sys.executable, "-c", source))
    assert done.stdout == AS_IT_WAS, done.stderr
    (line,) = said(done)
    assert line.endswith("stays IPv6 only: Permission denied")


def test_a_filter_on_the_socket() -> None:
    source = (
        BOUND
        + (
            "import ctypes, struct\n"
            "code = ctypes.create_string_buffer(struct.pack('=HBBI', 6, 0, 0, 0xFFFFFFFF))\n"
            "program = struct.pack('HL', 1, ctypes.addressof(code))\n"
            "sock.bind(('::', 0))\n"
            "sock.setsockopt(socket.SOL_SOCKET, 26, program)\n"
            "sock.listen()\n"
        )
        + SERVES
    )
    done = finished(launch(sys.executable, "-c", source))
    assert done.stdout == AS_IT_WAS, done.stderr
    assert "stays IPv6 only: a packet filter is attached to its socket" in said(done)[0]


def test_a_socket_that_another_process_has_bound() -> None:
    source = (
        BOUND
        + (
            "sock.bind(('::', 0))\n"
            "if os.fork():\n    os._exit(os.waitstatus_to_exitcode(os.wait()[1]))\n"
            "sock.listen()\n"
        )
        + SERVES
        + "sys.stdout.flush()\n"
    )
    done = finished(launch(sys.executable, "-c", source))
    assert done.stdout == AS_IT_WAS, done.stderr
    assert "stays IPv6 only: another process has bound it" in said(done)[0]


@AMONG
def test_a_socket_that_the_program_has_twice(others: str) -> None:
    source = (
        others
        + BOUND
        + "sock.bind(('::', 0)); other = sock.dup()\nsock.listen(); sock = other\n"
        + SERVES.replace("with socket", "sock.setblocking(True)\nwith socket", 1)
    )
    done = finished(launch(sys.executable, "-c", source))
    assert done.stdout == AS_IT_WAS, done.stderr
    assert "stays IPv6 only: the program has another descriptor of its socket" in said(done)[-1]


@AMONG
def test_a_socket_that_a_loop_watches_already(others: str) -> None:
    """Before it listens, as pyftpdlib does: it is watched still."""
    source = (
        others
        + BOUND
        + (
            "import select\n"
            "epoll = select.epoll(); other = select.epoll(); epoll.register(sock, select.EPOLLIN)\n"
            "other.register(sock, select.EPOLLIN | select.EPOLLET)\n"
            "sock.bind(('::', 0)); sock.listen()\n"
            "for host in '::1', '127.0.0.1':\n"
            "    with socket.create_connection((host, sock.getsockname()[1])):\n"
            "        events = [(fd, event & select.EPOLLIN) for each in (epoll, other)\n"
            "                  for fd, event in each.poll(10)]\n"
            "        print(events == [(sock.fileno(), select.EPOLLIN)] * 2)\n"
            "        sock.accept()\n"
        )
    )
    done = finished(launch(sys.executable, "-c", source))
    assert done.stdout == "True\nTrue\n", done.stderr


@AMONG
def test_a_socket_that_a_foreign_loop_watches_already(others: str) -> None:
    source = (
        others
        + BOUND
        + (
            "import ctypes, select, struct\n"
            "epoll = select.epoll(); c = ctypes.CDLL(None)\n"
            "event = ctypes.create_string_buffer(struct.pack('=IQ', 1, 0x7F0000001234))\n"
            "sock.bind(('::', 0))\n"
            "assert c.epoll_ctl(epoll.fileno(), 1, sock.fileno(), event) == 0\n"
            "sock.listen()\n"
        )
        + SERVES
    )
    done = finished(launch(sys.executable, "-c", source))
    assert done.stdout == AS_IT_WAS, done.stderr
    assert "stays IPv6 only: an event loop watches it already" in said(done)[-1]


def test_a_loop_that_has_the_number_of_a_socket_that_nobody_closed() -> None:
    source = (
        AMONG_MANY
        + BOUND
        + (
            "import select\n"
            "dropped = socket.socket(); dropped.bind(('127.0.0.1', 0)); number = dropped.fileno()\n"
            "del dropped\n"
            "epoll = select.epoll()\n"
            "assert epoll.fileno() == number\n"
            "sock.bind(('::', 0)); epoll.register(sock, select.EPOLLIN); sock.listen()\n"
            "with socket.create_connection(('127.0.0.1', sock.getsockname()[1])):\n"
            "    print(len(epoll.poll(10)))\n"
        )
    )
    done = finished(launch(sys.executable, "-c", source))
    assert done.stdout == "1\n", done.stderr


@pytest.mark.parametrize("pairs", [False, True])
def test_a_listener_costs_what_it_costs_beside_few_others(pairs: bool) -> None:
    source = """
import socket, sys
steps, sockets = [], []
def step(frame, event, what):
    if event == "c_call":
        steps[-1] += 1
def listening(family, host, port):
    sock = socket.socket(family)
    sockets.append(sock)
    if family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    sock.bind((host, port))
    sock.listen()
    return sock
while len(steps) < 300:
    steps.append(0)
    sys.setprofile(step)
    port = listening(socket.AF_INET6, "::", 0).getsockname()[1]
    try:
        if PAIRS:
            listening(socket.AF_INET, "0.0.0.0", port)
    except OSError:
        steps.pop()
    finally:
        sys.setprofile(None)
print(max(steps[-20:]) < 1.5 * min(steps[80:100]))
""".replace("PAIRS", str(pairs))
    done = finished(launch(sys.executable, "-c", source))
    assert done.stdout == "True\n", done.stderr


def test_no_descriptor_is_left() -> None:

    source = BOUND + (
        "import resource\n"
        "sock.bind(('::', 0))\n"
        "before = set(os.listdir('/proc/self/fd'))\n"
        "import dsadapter.launcher.listening\n"
        "limit = len(before) - 1\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))\n"
        "sock.listen()\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit + 0))\n"
        "print(sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))\n"
    )
    done = finished(launch(sys.executable, "-c", source))
    assert done.stdout == "1\n", done.stderr


def test_a_hook_that_fails_lets_the_import_go_on(tmp_path: Path) -> None:
    # A package that hides the real one.
    (tmp_path / "dsadapter").mkdir()
    (tmp_path / "dsadapter" / "__init__.py").write_text("raise RuntimeError('broken')\n")
    done = finished(
        launch(
            sys.executable,
            "-c",
            f"import sys; sys.path.insert(0, {str(tmp_path)!r}); "
            "import socket; print(socket.socket.listen)",
        ),
    )
    assert done.stdout.startswith("<method 'listen'"), done.stderr
    assert said(done) == ["socket is left as it is: RuntimeError: broken"]


@needs_root
def test_a_child_of_another_user_that_can_not_read_the_hook(tmp_path: Path) -> None:
    open_to_everybody(tmp_path)
    hook = tmp_path / "hook"
    hook.mkdir(mode=0o700)
    env = clean_environment(PYTHONPATH=str(hook), DSADAPTER_RUN="3.11 /x")
    (hook / "sitecustomize.py").write_text("print('read')\n")
    done = finished(["/usr/bin/env", "python3", "-c", "print(1)"], env=env, user=65534)
    if done.returncode and "denied" in done.stderr:
        pytest.skip("no Python that everybody can run")
    assert (done.stdout, done.stderr) == ("1\n", "")


def test_closed_standard_error_and_odd_streams() -> None:
    source = (
        "import os, sys; os.close(2); sys.stderr = None\n"
        "import socket; s = socket.create_server(('::', 0), family=socket.AF_INET6); print(1)\n"
    )
    done = finished(launch(sys.executable, "-c", source, options=("--explain",)))
    assert (done.returncode, done.stdout) == (0, "1\n")


def test_a_listing_that_can_not_be_written_is_said(tmp_path: Path) -> None:
    path = tmp_path / "gone" / "listing"
    done = finished(launch("true", options=(f"--explain={path}",)))
    assert done.returncode == 2
    assert f"{path} can't be written: No such file or directory" in done.stderr
    path = tmp_path / "listing"
    source = (
        f"import os; os.unlink({str(path)!r}); os.mkdir({str(path)!r})\n"
        "import socket; s = socket.create_server(('::1', 0), family=socket.AF_INET6)\n"
    )
    done = finished(launch(sys.executable, "-c", source, options=(f"--explain={path}",)))
    assert (done.returncode, said(done)) == (0, [f"{path} can't be written: Is a directory"])


LAST = """
import _socket, builtins, os, socket
server = _socket.socket(_socket.AF_INET6)
server.bind(("::1", 0))
server.listen()

class Last:
    write, name, datagrams = os.write, server.getsockname(), socket.SOCK_DGRAM

    def __init__(self, call):
        self.call = call
        self.sock = socket.socket(socket.AF_INET6, self.datagrams if "to" in call else 1)

    def __del__(self):
        try:
            getattr(self.sock, self.call)(*self.given())
        except OSError as error:
            self.write(1, f"{self.call} {type(error).__name__}\\n".encode())
        else:
            self.write(1, f"{self.call}\\n".encode())

    def given(self):
        return {"sendto": (b"x", self.name), "listen": (), "bind": (("::", 0),)}.get(
            self.call, (self.name,)
        )

# What modules hold is gone by then.
builtins.last = [Last(call) for call in ("connect", "connect_ex", "bind", "listen", "sendto")]
"""


@pytest.mark.parametrize("required", [False, True])
def test_what_is_first_done_when_the_interpreter_ends(required: bool) -> None:
    env = clean_environment(**({"DSADAPTER_REQUIRE_PLUGINS": "some"} if required else {}))
    done = finished(launch(sys.executable, "-c", LAST), env=env)
    refused = " PermissionError" if required else ""
    calls = ["bind", "connect", "connect_ex", "listen"]
    assert sorted(done.stdout.splitlines()) == [
        *(f"{call}{'' if call == 'connect_ex' else refused}" for call in calls),
        "sendto",
    ]
    assert "Exception ignored" not in done.stderr


SANDBOXED = """
import socket, sys
sock = socket.socket(socket.AF_INET6)
sock.bind(("::", 0))
sock.listen()
with socket.create_connection(("::1", sock.getsockname()[1])): print(sock.accept()[1][0])
if len(sys.argv) > 1: sys.exit()
server = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
server.bind(("::", 0))
for family, host in (socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1"):
    with socket.socket(family, socket.SOCK_DGRAM) as client:
        client.sendto(b"x", (host, server.getsockname()[1]))
        data, sender = server.recvfrom(9)
        server.sendto(data, sender)
        print(sender[0], client.recvfrom(9)[0])
"""


@pytest.mark.parametrize(
    ("calls", "says"),
    [
        (["getsockopt"], "a listener stays as the program makes it: Operation not permitted"),
        (["recvmsg", "recvmmsg"], "forged datagrams aren't told from IPv4 ones: recvmsg: "),
        (["sendmsg"], ""),
    ],
    ids=str,
)
def test_calls_that_a_sandbox_denies(calls: list[str], says: str) -> None:
    denials = [f"--deny-call={call}=EPERM" for call in calls]
    streams = ["streams"] if "getsockopt" in calls else []
    done = finished([*without(*denials), *launch(sys.executable, "-c", SANDBOXED, *streams)])
    datagrams = "" if streams else "127.0.0.1 b'x'\n::1 b'x'\n"
    assert done.stdout == f"::1\n{datagrams}", done.stderr
    assert says in "".join(said(done))
