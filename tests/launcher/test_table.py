"""The table of patches: what is put in is taken out again, whatever the order."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import pytest
from support.builds import CHECKOUT
from support.launched import finished, launch, run_script, said

from dsadapter.launcher.table import GROUPS

CHECKER = CHECKOUT / "tests" / "system" / "programs" / "table_checker.py"
HERE = [group.name for group in GROUPS if group.name in ("socket", "dsadapter", "twisted")]
PAGE = CHECKOUT / "docs" / "run.md"


@pytest.mark.parametrize("order", ["before", "after"])
@pytest.mark.parametrize("group", [*HERE, "uvloop", "trio"])
def test_a_group_is_put_in_once_and_taken_out(group: str, order: str) -> None:
    done = finished([sys.executable, str(CHECKER), group, order])
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    state = "on"
    if group == "trio" and order == "before":
        state = "it was imported first; call dsadapter.launcher.install() before it is"
        assert said(done) == [f"trio stays as it is: {state}"]
    assert found == {
        "states": [state, state],
        "in": True,
        "twice": True,
        "named": True,
        "left": [],
        "same": True,
    }


@pytest.mark.parametrize(
    ("moved", "says"),
    [
        ("del Loop.create_server", "has no attribute 'create_server'"),
        ("Loop = None", "has no attribute 'create_server'"),
        ("Loop.connect_accepted_socket = print", "is not inherited any more"),
    ],
)
def test_a_name_that_has_moved_switches_off_its_whole_group(
    tmp_path: Path, moved: str, says: str
) -> None:
    methods = "create_server create_connection connect_accepted_socket create_datagram_endpoint"
    (tmp_path / "uvloop.py").write_text(
        "class Base: pass\n"
        f"for name in {methods.split()!r}:\n"
        "    setattr(Base, name, lambda self: 'original')\n"
        "class Loop(Base): pass\n" + moved.replace("del Loop", "del Base") + "\n",
        encoding="utf-8",
    )
    source = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
        "import socket, uvloop\n"
        "if uvloop.Loop: print({m for m in vars(uvloop.Loop) if not m.startswith('_')})\n"
    )
    done = finished(launch(sys.executable, "-c", source))
    assert done.returncode == 0, done.stderr
    assert "create_datagram_endpoint" not in done.stdout
    (line,) = said(done)
    assert line.startswith("uvloop stays as it is: uvloop")
    assert says in line


def test_a_patch_that_someone_has_wrapped_stays() -> None:
    source = (
        "import socket, dsadapter.launcher\n"
        "dsadapter.launcher.install()\n"
        "mine = lambda self: 'mine'\n"
        "socket.socket.getpeername = mine\n"
        "from dsadapter.launcher.installing import uninstall\n"
        "uninstall()\n"
        "print(socket.socket.getpeername is mine, 'listen' in vars(socket.socket))\n"
    )
    assert finished([sys.executable, "-c", source]).stdout == "True False\n"


def test_install_covers_a_process_from_inside(tmp_path: Path) -> None:
    source = (
        "import dsadapter.launcher\n"
        "dsadapter.launcher.install(widen=True)\n"
        "import socket\n"
        "server = socket.create_server(('0.0.0.0', 0))\n"
        "port = server.getsockname()[1]\n"
        "for host in '::1', '127.0.0.1':\n"
        "    client = socket.create_connection((host, port))\n"
        "    print(server.accept()[1][0])\n"
    )
    done = finished([sys.executable, "-c", source])
    assert done.stdout == "::1\n127.0.0.1\n", done.stderr


def test_the_page_has_the_table() -> None:
    """``python -m dsadapter.launcher.table`` prints it."""
    printed = finished([sys.executable, "-m", "dsadapter.launcher.table"]).stdout
    assert printed.count("|") > 50
    assert printed in PAGE.read_text(encoding="utf-8")


def test_explaining_names_the_groups(tmp_path: Path) -> None:
    source = "import asyncio, trio, socket; s = socket.create_server(('::1', 0), family=10)"
    done = finished(launch(sys.executable, "-c", source, options=("--explain",)))
    assert re.search(r"^covered: .*socket.*trio", said(done)[-1]), done.stderr


@pytest.mark.parametrize(
    ("name", "group"),
    [
        ("twisted.internet.reactor", "twisted"),
        ("twisted.internet.posixbase", "twisted"),
        ("uvloop", "uvloop"),
        ("trio", "trio"),
    ],
)
def test_a_framework_that_a_program_imports_first(name: str, group: str) -> None:
    """It imports socket itself, halfway."""
    source = f"import {name}, socket; s = socket.create_server(('::1', 0), family=10)"
    done = finished(launch(sys.executable, "-c", source, options=("--explain",)))
    assert re.search(rf"^covered: [^;]*\b{group}\b", said(done)[-1]), done.stderr


def test_a_second_copy_of_socket_is_covered(tmp_path: Path) -> None:
    """eventlet makes one of its own."""
    source = (
        "import sys, socket\n"
        "first = sys.modules.pop('socket')\n"
        "import socket as second\n"
        "assert first is not second\n"
        "server = second.create_server(('::', 0), family=second.AF_INET6, dualstack_ipv6=True)\n"
        "client = first.create_connection(('127.0.0.1', server.getsockname()[1]))\n"
        "print(server.accept()[1][0])\n"
    )
    assert run_script(source, tmp_path) == "127.0.0.1\n"
