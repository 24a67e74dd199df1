from __future__ import annotations

import os
from pathlib import Path

import pytest
from support.builds import Distributions
from support.environments import INSTALLERS, Environment, Installer, create_environment
from support.programs import FAMILIES, LOOPBACK, curl, serving, until_served

SCRIPTS = Path(__file__).parent / "scripts"

# Permission bits don't stop root as long as it may override them.
UNPRIVILEGED = ["setpriv", "--bounding-set=-dac_override"] if os.geteuid() == 0 else []


def with_a_cache_without_ours(folder: Path, installer: Installer) -> Environment:
    environment = create_environment(folder / "environment", installer)
    environment.install("twisted")
    assert "dsadapter_endpoints" not in environment.query(SCRIPTS / "scan.py")
    assert (environment.plugins / "dropin.cache").exists()
    return environment


@pytest.mark.parametrize("installer", INSTALLERS)
def test_older_cache_does_not_hide_the_parsers(
    distributions: Distributions, tmp_path: Path, installer: Installer
) -> None:
    environment = with_a_cache_without_ours(tmp_path, installer)
    environment.install(distributions.wheel)
    seen = environment.query(SCRIPTS / "listen.py")
    assert seen["server"].keys() == {"dualstackServer", "canonicalServer"}
    assert seen["client"].keys() == {"dualstackClient"}


@pytest.mark.parametrize("older_cache", [False, True], ids=["no cache", "older cache"])
def test_unwritable_cache_makes_no_traceback(
    distributions: Distributions, tmp_path: Path, older_cache: bool
) -> None:
    environment = with_a_cache_without_ours(tmp_path, "uv")
    environment.install(distributions.wheel)
    cache = environment.plugins / "dropin.cache"
    if not older_cache:
        cache.unlink()
    before = cache.read_bytes() if older_cache else None
    command = [*UNPRIVILEGED, environment.program("twist"), "web", "--listen"]
    environment.plugins.chmod(0o555)
    try:
        with serving(lambda port: [*command, f"dualstack:{port}"]) as (server, port):
            for family in FAMILIES:
                assert curl(family, port).startswith("HTTP/1.1 200")
                until_served(LOOPBACK[family], server)
            log = server.stop()
    finally:
        environment.plugins.chmod(0o755)
    assert "Traceback" not in log
    # It was not Twisted's choice: the cache is out of date.
    assert (cache.read_bytes() if cache.exists() else None) == before
