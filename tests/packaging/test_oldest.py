"""The oldest releases that the package declares, really installed."""

from __future__ import annotations

from importlib.metadata import requires
from pathlib import Path

import pytest
from support.builds import Distributions
from support.environments import Environment, create_environment
from support.versions import runs_twisted_22

pytestmark = runs_twisted_22

SCRIPTS = Path(__file__).parent / "scripts"


@pytest.fixture(scope="module")
def oldest(distributions: Distributions, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    declared = requires("dsadapter") or []
    environment = create_environment(tmp_path_factory.mktemp("oldest") / "environment", "uv")
    environment.install(distributions.wheel, *(text.replace(">=", "==") for text in declared))
    return environment


def test_parsers_are_found_and_one_listens(oldest: Environment) -> None:
    seen = oldest.query(SCRIPTS / "listen.py")
    assert seen["server"] == {"dualstackServer": "dualstack", "canonicalServer": "canonical"}
    assert seen["peers"] == ["127.0.0.1", "::1"]


def test_plugins_are_told_and_broken_ones_refused(oldest: Environment) -> None:
    seen = oldest.query(SCRIPTS / "watch.py")
    assert seen["hooks"] == [
        "before_bind",
        *["connection_lost"] * 2,
        *["connection_made"] * 2,
        "listener_closed",
        "listener_opened",
    ]
    assert seen["peers"] == ["127.0.0.1", "::1"]
    assert "did you mean 'dsadapter_connection_made'?" in seen["refused"]


def test_tls_without_its_packages_names_what_to_install(oldest: Environment) -> None:
    program = (
        "from twisted.internet.endpoints import serverFromString\n"
        "from twisted.internet.testing import MemoryReactor\n"
        "try: serverFromString(MemoryReactor(), 'dualstack:8443:tls=/etc')\n"
        "except ValueError as error: print(error)\n"
    )
    said = oldest.run("-W", "ignore", "-c", program).splitlines()[-1]
    assert said.startswith(
        "dualstack:8443:tls=/etc: tls can't be used: TLS needs packages that are not installed"
    )
    assert said.endswith("install 'twisted[tls]'")
