"""Plugins under the launcher: they refuse, are required and blocked, and watch, as everywhere."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from support.builds import CHECKOUT
from support.environments import clean_environment
from support.launched import finished, launch

EGRESS = CHECKOUT / "examples" / "plugin_egress"


def installed(folder: Path, name: str, source: str | None = None) -> dict[str, str]:
    """The variables of a program that finds a plugin on its path, as if it were installed."""
    if source is not None:
        (folder / f"{name}.py").write_text(source, encoding="utf-8")
    info = folder / f"{name}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[dsadapter]\n{name} = {name}\n")
    return clean_environment(PYTHONPATH=f"{folder}:{EGRESS}")


SEE = """
from dsadapter import hookimpl

@hookimpl
def dsadapter_listener_opened(listener): print("opened", listener.mode, listener.framework)
@hookimpl
def dsadapter_listener_closed(listener): print("closed")
@hookimpl
def dsadapter_connection_made(connection):
    print("made", connection.peer[0], connection.local[0], connection.translated)
@hookimpl
def dsadapter_connection_lost(connection): print("lost", connection.peer[0])
@hookimpl
def dsadapter_operation_refused(refusal): print("refused", refusal.operation, refusal.plugin)
"""

SERVE = """
import socket
server = socket.socket(socket.AF_INET6)
server.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
server.bind(("::", 0))
server.listen()
for host in "127.0.0.1", "::1":
    with socket.create_connection((host, server.getsockname()[1])):
        accepted, _ = server.accept()
        accepted.close()
server.close()
"""

SEEN = (
    "opened dual-stack socket\n"
    "made 127.0.0.1 127.0.0.1 True\nlost 127.0.0.1\n"
    "made ::1 ::1 False\nlost ::1\n"
    "closed\n"
)


def test_what_is_accepted_is_watched(tmp_path: Path) -> None:
    env = installed(tmp_path, "some_seeing", SEE)
    done = finished(launch(sys.executable, "-c", SERVE), env=env)
    assert done.stdout == SEEN, done.stderr


def test_one_that_is_wrapped_in_tls_or_detached_is_lost_at_its_end(tmp_path: Path) -> None:
    env = installed(tmp_path, "some_seeing", SEE)
    detached = "again = socket.socket(fileno=accepted.detach()); print('open'); again.close()"
    done = finished(
        launch(sys.executable, "-c", SERVE.replace("accepted.close()", detached)), env=env
    )
    assert done.stdout == SEEN.replace("lost", "open\nlost"), done.stderr


def test_a_plugin_that_is_blocked_sees_nothing(tmp_path: Path) -> None:
    env = installed(tmp_path, "some_seeing", SEE) | {"DSADAPTER_BLOCK_PLUGINS": "some_seeing"}
    assert finished(launch(sys.executable, "-c", SERVE), env=env).stdout == ""


@pytest.mark.parametrize(
    "call",
    [
        "socket.create_server(('::', 0), family=socket.AF_INET6)",
        "socket.create_server(('127.0.0.1', 0))",
        "socket.create_connection(('127.0.0.1', 9))",
    ],
)
def test_a_required_plugin_that_is_missing_opens_nothing(call: str) -> None:
    env = clean_environment(DSADAPTER_REQUIRE_PLUGINS="not-there")
    done = finished(launch(sys.executable, "-c", f"import socket; {call}"), env=env)
    assert done.returncode == 1
    assert "PermissionError: [Errno 1] plugin 'not-there' is required" in done.stderr


REFUSE = (
    "from dsadapter import hookimpl\n"
    "@hookimpl\n"
    "def dsadapter_before_bind(sock, policy): raise PermissionError('not here')\n"
) + SEE.partition("hookimpl\n")[2]


@pytest.mark.parametrize("v6only", [0, 1])
def test_a_listener_is_refused(tmp_path: Path, v6only: int) -> None:
    env = installed(tmp_path, "some_refusing", REFUSE)
    source = (
        "import socket\n"
        "sock = socket.socket(socket.AF_INET6)\n"
        f"sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, {v6only})\n"
        "sock.bind(('::', 0))\n"
        "try:\n    sock.listen()\n"
        "except PermissionError as error:\n    print('not here' in str(error))\n"
        "print(sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN),"
        " sock.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY))\n"
    )
    done = finished(launch(sys.executable, "-c", source), env=env)
    assert done.stdout == f"refused listen some_refusing\nTrue\n0 {v6only}\n", done.stderr


CONNECTS = {
    "socket": "socket.create_connection((host, 9))",
    "urllib": "urllib.request.urlopen(f'http://[{host}]:9/' if ':' in host else "
    "f'http://{host}:9/')",
    "asyncio": "asyncio.run(asyncio.open_connection(host, 9))",
    "uvloop": "uvloop.run(asyncio.open_connection(host, 9))",
    "connect_ex": "check(socket.socket().connect_ex(('127.0.0.1', 9)))",
}


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "::ffff:127.0.0.1", "localhost"])
@pytest.mark.parametrize("way", CONNECTS)
def test_the_egress_example_holds(tmp_path: Path, way: str, host: str) -> None:
    env = installed(tmp_path, "dsadapter_egress")
    source = (
        "import asyncio, errno, os, socket, urllib.error, urllib.request, uvloop\n"
        "def check(number):\n"
        "    if number: raise OSError(number, os.strerror(number))\n"
        f"host = {host!r}\n"
        f"try:\n    {CONNECTS[way]}\n"
        "except OSError as error:\n"
        "    reason = getattr(error, 'reason', error)\n"
        "    print(type(reason).__name__)\n"
    )
    done = finished(launch(sys.executable, "-c", source), env=env | {"no_proxy": "*"})
    # asyncio has one error for all addresses of a name, where it has several.
    several = way == "asyncio" and host == "localhost"
    wanted = {"PermissionError\n"} | ({"OSError\n"} if several else set())
    assert done.stdout in wanted, done.stderr


def test_plugins_are_read_at_the_first_listener_alone(tmp_path: Path) -> None:
    env = installed(tmp_path, "some_seeing", "print('read')\n" + SEE)
    source = "import socket; a, b = socket.socketpair(); a.send(b'x'); print('idle')\n" + SERVE
    done = finished(launch(sys.executable, "-c", source), env=env)
    assert done.stdout.startswith("idle\nread\nopened"), done.stderr


DATAGRAMS = {
    "socket": "sock = socket.socket(family, socket.SOCK_DGRAM); sock.bind((host, 0))",
    "asyncio": "run(asyncio, asyncio.new_event_loop)",
    "uvloop": "import uvloop; run(uvloop, uvloop.new_event_loop)",
    "twisted": (
        "from twisted.internet import protocol, reactor; "
        "reactor.listenUDP(0, protocol.DatagramProtocol(), host)"
    ),
}
EXCHANGE = """
import asyncio, socket
family = socket.AF_INET6 if ":" in host else socket.AF_INET
def run(module, new_event_loop):
    async def main():
        made = await loop.create_datagram_endpoint(asyncio.DatagramProtocol, (host, 0))
        made[0].close()
        await asyncio.sleep(0)
    loop = new_event_loop()
    loop.run_until_complete(main())
try:
    {way}
except Exception as error:
    print(type(error).__name__, "not here" in str(error))
"""


@pytest.mark.parametrize("host", ["::", "::1", "127.0.0.1", "0.0.0.0"])
@pytest.mark.parametrize("way", DATAGRAMS)
def test_a_socket_for_datagrams_is_refused(tmp_path: Path, way: str, host: str) -> None:
    refuse = REFUSE.replace("not here", "not here: ' + str(policy) + '")
    env = installed(tmp_path, "some_refusing", refuse)
    source = f"host = {host!r}\n" + EXCHANGE.replace("{way}", DATAGRAMS[way])
    done = finished(launch(sys.executable, "-c", source), env=env)
    kind = "CannotListenError" if way == "twisted" else "PermissionError"
    refused, caught = done.stdout.splitlines()
    assert refused == "refused listen some_refusing"
    assert caught == f"{kind} True", done.stderr


@pytest.mark.parametrize(
    ("host", "seen"),
    [
        ("::", "opened dual-stack socket\nclosed\n"),
        ("localhost", "opened ipv4 socket\nclosed\n"),
        ("::ffff:127.0.0.1", "opened ipv4 socket\nclosed\n"),
    ],
)
def test_a_socket_for_datagrams_is_watched(tmp_path: Path, host: str, seen: str) -> None:
    env = installed(tmp_path, "some_seeing", SEE)
    source = (
        f"import socket\nfamily = socket.AF_INET6 if ':' in {host!r} else socket.AF_INET\n"
        f"with socket.socket(family, socket.SOCK_DGRAM) as sock: sock.bind(({host!r}, 0))\n"
    )
    done = finished(launch(sys.executable, "-c", source), env=env)
    assert done.stdout == seen, done.stderr


def test_what_is_no_address_fails_as_it_does_without_plugins(tmp_path: Path) -> None:
    env = installed(tmp_path, "some_seeing", SEE)
    source = (
        "import socket\n"
        "for address in ('::',), 'x', ('::', '80'), ('::', 70000), ('::', -1), (b'::1', 0), "
        "('::', 0, 0, 0, 0), None, ('fe80::1%nope', 0), ('\\0', 0), ('::ffff:1.2.3.4.5', 0), "
        "('::', True), (bytearray(b'::1'), 0):\n"
        "    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:\n"
        "        try: sock.bind(address)\n"
        "        except Exception as error: print(address, type(error).__name__)\n"
        "        else: print(address, sock.getsockname()[0])\n"
    )
    without = finished([sys.executable, "-c", source])
    covered = finished(launch(sys.executable, "-c", source), env=env)
    lines = covered.stdout.splitlines()
    told = ("opened ipv6 socket", "opened dual-stack socket", "closed")
    assert [line for line in lines if line not in told] == without.stdout.splitlines()
    assert covered.stdout.count("opened") == covered.stdout.count("closed") == 3


def test_a_required_plugin_that_is_missing_binds_nothing() -> None:
    env = clean_environment(DSADAPTER_REQUIRE_PLUGINS="not-there")
    source = "import socket; socket.socket(type=socket.SOCK_DGRAM).bind(('127.0.0.1', 0))"
    done = finished(launch(sys.executable, "-c", source), env=env)
    assert done.returncode == 1
    assert "PermissionError: [Errno 1] plugin 'not-there' is required" in done.stderr
