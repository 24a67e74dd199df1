"""The unit in ``examples/systemd``: what systemd says of it, and the server under its limits.

No service manager runs where tests run: what the unit takes away is taken away by the same means,
capabilities and seccomp filters.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from support.builds import CHECKOUT, Distributions
from support.environments import create_environment, open_to_everybody
from support.namespaces import namespace, needs_root
from support.processes import running_command
from support.seccomp import without

UNIT = CHECKOUT / "examples" / "systemd" / "dsadapter-web.service"
INSTALLED = "/opt/dsadapter"
NOBODY = "65534"
FAMILIES = {"AF_UNIX": 1, "AF_INET": 2, "AF_INET6": 10, "AF_NETLINK": 16, "AF_PACKET": 17}
EXPOSURE = "20"
"""Tenths of systemd's points, of 100; above it systemd calls a service more than OK."""


@pytest.fixture(scope="module")
def service() -> dict[str, list[str]]:
    """The values of each setting of the unit's service."""
    settings: dict[str, list[str]] = {}
    _, _, section = UNIT.read_text().partition("[Service]\n")
    for line in section.partition("\n[")[0].splitlines():
        if line and not line.startswith("#"):
            name, _, value = line.partition("=")
            settings.setdefault(name, []).extend(value.split())
    return settings


def systemd_analyze(*arguments: str | Path) -> None:
    done = subprocess.run(
        ["systemd-analyze", *map(str, arguments)], capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr


def test_systemd_has_nothing_to_say_against_it(tmp_path: Path) -> None:
    # It looks for the program, too.
    here = str(Path(sys.executable).parents[1])
    copy = tmp_path / UNIT.name
    copy.write_text(UNIT.read_text().replace(INSTALLED, here))
    systemd_analyze("verify", copy)


def test_systemd_notices_a_setting_that_does_not_exist(tmp_path: Path) -> None:
    copy = tmp_path / UNIT.name
    copy.write_text(UNIT.read_text().replace("DynamicUser", "DynamicUsers"))
    with pytest.raises(AssertionError, match="DynamicUsers"):
        systemd_analyze("verify", copy)


def with_interface(written: str, folder: Path) -> Path:
    unit = folder / "written.service"
    command = f"{sys.executable} dualstack:8080:interface={written}"
    unit.write_text(f"[Service]\nExecStart={command}\n")
    return unit


def test_the_backslashes_of_an_address_are_doubled(tmp_path: Path) -> None:
    """As ``docs/twisted.md`` says."""
    systemd_analyze("verify", with_interface(r"\\:\\:1", tmp_path))
    with pytest.raises(AssertionError, match="unknown escape sequences"):
        systemd_analyze("verify", with_interface(r"\:\:1", tmp_path))


def test_its_exposure_is_low() -> None:
    systemd_analyze("security", "--offline=yes", f"--threshold={EXPOSURE}", UNIT)


@needs_root
def test_the_server_runs_with_what_it_grants(
    service: dict[str, list[str]], distributions: Distributions, tmp_path: Path
) -> None:
    # Not the environment of the tests, which may lie where only its owner may look.
    environment = create_environment(tmp_path / "environment", "uv")
    environment.install(distributions.wheel)
    [capability] = service["AmbientCapabilities"]
    assert service["CapabilityBoundingSet"] == [capability]
    granted = f"-all,+{capability.removeprefix('CAP_').lower()}"
    privileges = [
        *("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "--no-new-privs"),
        *(f"--{kind}={granted}" for kind in ("bounding-set", "inh-caps", "ambient-caps")),
    ]
    denied = [
        f"--deny-family={number}=EAFNOSUPPORT"
        for name, number in FAMILIES.items()
        if name not in service["RestrictAddressFamilies"]
    ]
    assert denied
    (tmp_path / "hello.txt").write_text("hello")
    open_to_everybody(tmp_path)
    program, *options = service["ExecStart"]
    twist = environment.program(Path(program).name)
    options = [option.replace("/srv/www", str(tmp_path)) for option in options]
    with namespace() as place:
        prefix = [*place.prefix, *without(*denied), *privileges]
        with running_command([*prefix, twist, *options]) as server:
            server.wait_for_log("starting on 80")
            for host, family in (("127.0.0.1", "-4"), ("[::1]", "-6")):
                url = f"http://{host}/hello.txt"
                assert place.run("curl", "-sS", "--noproxy", "*", family, url) == "hello"
                server.wait_for_log(f'"{host.strip("[]")}" - -')
            status = Path(f"/proc/{server.process.pid}/status").read_text()
            log = server.stop()
    lines = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    assert set(lines["Uid"].split()) == {NOBODY}
    assert lines["CapEff"] == f"{1 << 10:016x}"
    assert "::ffff:" not in log
