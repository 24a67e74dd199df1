"""A TLS web server by string, as an operator runs it, on machines of every kind."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.certificates import Files
from support.environments import clean_environment
from support.machines import saying
from support.namespaces import Namespace, namespace, needs_root
from support.processes import Server, running_command
from support.programs import LOOPBACK, leaks, until_served
from support.seccomp import without

TWIST = str(Path(sys.executable).with_name("twist"))
PORT = 8443
NO_IPV4 = f"--deny-family={int(socket.AF_INET)}=EAFNOSUPPORT"
NO_IPV6 = f"--deny-family={int(socket.AF_INET6)}=EAFNOSUPPORT"

Options = Callable[[Files], str]


def by_directory(files: Files) -> str:
    return f"tls={files.directory}"


def by_files(files: Files) -> str:
    return f"privateKey={files.key}:certKey={files.certificate}:extraCertChain={files.chain}"


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    return Files.written_to(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def place() -> Iterator[Namespace]:
    with namespace() as made:
        yield made


@contextlib.contextmanager
def serving(place: Namespace, description: str, folder: Path, *prefix: str) -> Iterator[Server]:
    """``twist web`` on the machine."""
    command = [*place.prefix, *prefix, TWIST, "--log-format=text", "web", "--listen", description]
    with running_command(command, cwd=folder, env=clean_environment()) as server:
        server.wait_for_log("starting on")
        yield server


def curl(place: Namespace, family: str, *options: str, host: str = "localhost") -> int:
    """What curl ends with."""
    url = f"https://{host}:{PORT}/"
    command = [*place.prefix, "curl", family, "-sS", "--fail", "--globoff", *options, url]
    return subprocess.run(command, env=clean_environment(), capture_output=True).returncode


REFUSED = 7
"""curl: failed to connect to the host."""


def served(place: Namespace, server: Server, *families: str) -> None:
    """Ask by each family, and find its plain address in the access log."""
    for family in families:
        assert curl(place, family, "-k") == 0, server.log()
        until_served(LOOPBACK[family], server)  # type: ignore[index]


@needs_root
@pytest.mark.parametrize("options", [by_directory, by_files])
def test_a_plain_machine(options: Options, files: Files, place: Namespace, tmp_path: Path) -> None:
    with serving(place, f"dualstack:{PORT}:{options(files)}", tmp_path) as server:
        served(place, server, "-4", "-6")
        for family in ("-4", "-6"):
            assert curl(place, family, "--cacert", str(files.root)) == 0
        assert len(place.run("ss", "-H", "-ltn", f"sport = :{PORT}").splitlines()) == 1
        assert leaks(server.stop()) == []


@needs_root
def test_twisteds_own_string_leaks_there(files: Files, place: Namespace, tmp_path: Path) -> None:
    with serving(place, f"tls:{files.directory}:port={PORT}", tmp_path) as server:
        assert curl(place, "-4", "-k") == 0
        server.wait_for_log('"::ffff:127.0.0.1" - -')


@needs_root
@pytest.mark.parametrize("options", [by_directory, by_files])
def test_IPv6_switched_off(
    options: Options, files: Files, place: Namespace, tmp_path: Path
) -> None:
    for scope in ("all", "default", "lo"):
        place.run("sysctl", "-qw", f"net.ipv6.conf.{scope}.disable_ipv6=1")
    with serving(place, f"dualstack:{PORT}:{options(files)}", tmp_path) as server:
        served(place, server, "-4")
        assert curl(place, "-6", "-k", host="[::1]") == REFUSED
        assert leaks(server.stop()) == []


@needs_root
def test_IPv6_denied(files: Files, place: Namespace, tmp_path: Path) -> None:
    description = f"dualstack:{PORT}:{by_files(files)}"
    with serving(place, description, tmp_path, *without(NO_IPV6)) as server:
        server.wait_for_log("IPv4 only, because")
        served(place, server, "-4")
        assert curl(place, "-6", "-k", host="[::1]") == REFUSED


@needs_root
def test_IPv6_denied_with_another_error(files: Files, place: Namespace, tmp_path: Path) -> None:
    description = f"dualstack:{PORT}:{by_files(files)}"
    with serving(place, description, tmp_path, *without(saying("ENOSYS", NO_IPV6))) as server:
        server.wait_for_log("IPv4 only, because")
        served(place, server, "-4")


@needs_root
@pytest.mark.parametrize("options", [by_directory, by_files])
def test_IPv4_denied(options: Options, files: Files, place: Namespace, tmp_path: Path) -> None:
    """The denial is of IPv4 sockets: IPv4 still comes through the IPv6 one."""
    description = f"dualstack:{PORT}:{options(files)}"
    with serving(place, description, tmp_path, *without(NO_IPV4)) as server:
        served(place, server, "-4", "-6")
        assert leaks(server.stop()) == []


@needs_root
def test_localhost_without_IPv4(files: Files, place: Namespace, tmp_path: Path) -> None:
    description = f"dualstack:{PORT}:interface=localhost:{by_files(files)}"
    with serving(place, description, tmp_path, *without(NO_IPV4)) as server:
        server.wait_for_log("IPv6 only, because")
        served(place, server, "-6")
        assert curl(place, "-4", "-k", host="127.0.0.1") == REFUSED


@needs_root
@pytest.mark.parametrize("options", [by_directory, by_files])
def test_localhost_alone(options: Options, files: Files, place: Namespace, tmp_path: Path) -> None:
    elsewhere = {"-4": "192.0.2.7", "-6": "2001:db8::7"}
    place.add_addresses("lo", "192.0.2.7/32", "2001:db8::7/128")
    description = f"dualstack:{PORT}:interface=localhost:{options(files)}"
    with serving(place, description, tmp_path) as server:
        served(place, server, "-4", "-6")
        for family, host in elsewhere.items():
            url_host = f"[{host}]" if ":" in host else host
            assert curl(place, family, "-k", host=url_host) == REFUSED
        assert leaks(server.stop()) == []


@needs_root
def test_the_keys_are_read_before_root_is_dropped(
    files: Files, place: Namespace, tmp_path: Path
) -> None:
    tmp_path.chmod(0o777)
    files.key.chmod(0o600)
    twistd = str(Path(sys.executable).with_name("twistd"))
    command = [
        *(*place.prefix, twistd, "--nodaemon", "--pidfile=", f"--rundir={tmp_path}"),
        *("--uid=65534", "--gid=65534", "web", "--listen", f"dualstack:443:{by_files(files)}"),
    ]
    with running_command(command, env=clean_environment()) as server:
        server.wait_for_log("set uid/gid")
        for family in ("-4", "-6"):
            run = ["curl", family, "-ksS", "--fail", "https://localhost/"]
            assert "Twisted Web" in place.run(*run)


@pytest.mark.parametrize("options", ["tls=/nowhere", "privateKey=/nowhere"])
def test_what_the_operator_sees_of_a_missing_file(options: str, tmp_path: Path) -> None:
    command = [TWIST, "web", "--listen", f"dualstack:0:{options}"]
    done = subprocess.run(
        command, cwd=tmp_path, env=clean_environment(), capture_output=True, text=True, timeout=60
    )
    assert done.returncode != 0
    assert "'/nowhere'" in done.stdout + done.stderr
