"""``dsadapter-gevent``, built, installed, judged by the suite and run as its page says."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
from pathlib import Path

import pytest
from support.builds import CHECKOUT, Distributions, environment_with
from support.environments import Environment, clean_environment
from support.processes import PATIENCE, running_command
from support.programs import free_port, until_listening

SUITE = Path(__file__).parent / "scripts" / "gevent_conformance.py"


@pytest.fixture(scope="module")
def environment(
    distributions: Distributions, tmp_path_factory: pytest.TempPathFactory
) -> Environment:
    made = environment_with(
        "plugins/dsadapter-gevent", distributions, tmp_path_factory.mktemp("gevent")
    )
    made.install("pytest")
    return made


def test_the_suite_for_adapters(environment: Environment, tmp_path: Path) -> None:
    shutil.copy(SUITE, tmp_path / "test_conformance.py")
    command = [environment.python, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    done = subprocess.run(
        command, cwd=tmp_path, env=clean_environment(), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout
    passed = int(done.stdout.splitlines()[-1].partition(" passed")[0])
    assert passed >= 59


def test_the_program_of_the_page(environment: Environment) -> None:
    page = (CHECKOUT / "plugins" / "dsadapter-gevent" / "README.md").read_text()
    port = free_port()
    program = page.split("```python\n")[1].split("```")[0].replace("8080", str(port))
    with running_command(
        [str(environment.python), "-c", program], env=clean_environment()
    ) as server:
        until_listening(port, server)
        for host in ("127.0.0.1", "::1"):
            with socket.create_connection((host, port), timeout=PATIENCE) as client:
                got = b"".join(iter(lambda client=client: client.recv(100), b""))
                assert got == f"hello {host}\n".encode()


def test_the_registry_has_it(environment: Environment) -> None:
    program = (
        "from dsadapter.frameworks import get_framework\n"
        "from dsadapter.policy import ConnectPolicy, ListenPolicy\n"
        "adapter = get_framework('gevent')\n"
        "server = adapter.server(None, ListenPolicy('::', 0))\n"
        "server.start(lambda sock, peer: sock.sendall(peer[0].encode()))\n"
        "target = '127.0.0.1', server.addresses()[0][1]\n"
        "print(adapter.client(None, target, ConnectPolicy())().recv(100))\n"
        "server.stop()\n"
    )
    done = subprocess.run(
        [environment.python, "-c", program],
        env=clean_environment(),
        capture_output=True,
        text=True,
    )
    assert done.stdout == "b'127.0.0.1'\n", done.stderr


def test_the_doctor_waits_on_a_hub(environment: Environment) -> None:
    command = [environment.program("dsadapter"), "doctor", "--json", "--only=plugin"]
    done = subprocess.run(
        command, cwd="/", env=clean_environment(), capture_output=True, text=True, check=True
    )
    facts = {row["id"]: row["fact"] for row in json.loads(done.stdout)["rows"]}
    assert facts["plugin"].startswith("dsadapter-gevent ")
    assert " waits by gevent.libev." in facts["gevent:hub"]


WAITING = """
import os, socket, gevent
from dsadapter.policy import ListenPolicy
from dsadapter_gevent import Server, bind, create_connection

datagrams = bind("", 0)
waiting = gevent.spawn(datagrams.receive_datagram)
gevent.sleep(0.01)
datagrams.close()
waiting.join(10)
print(waiting.exception.strerror)
try:
    datagrams.receive_datagram()
except OSError as error:
    print(error.strerror)

with socket.create_server(("127.0.0.1", 0)) as silent:
    connection = create_connection(silent.getsockname(), timeout=0.05)
    try:
        connection.recv(1)
    except TimeoutError:
        print("timed out")
    connection.close()

server = Server(ListenPolicy("", 0))
port = server.addresses()[0][1]
clients = [socket.create_connection(("127.0.0.1", port)) for _ in range(250)]
opened = lambda: len(os.listdir("/proc/self/fd"))
before, accepted = opened(), []
server.start(lambda sock, peer: accepted.append(opened() - before))
while len(accepted) < 250:
    gevent.sleep(0.01)
print(accepted[0] <= 100)
"""


def test_who_waits_is_told_timed_out_and_served(environment: Environment) -> None:
    done = subprocess.run(
        [environment.python, "-c", WAITING],
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stdout.splitlines() == [
        *("Bad file descriptor", "Bad file descriptor", "timed out", "True")
    ], done.stderr
