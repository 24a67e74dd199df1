from __future__ import annotations

import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pytest
from support.builds import DROP_IN, Distributions, copy_checkout
from support.environments import INSTALLERS, Environment, Installer, create_environment
from support.programs import (
    FAMILIES,
    LOOPBACK,
    curl,
    leaks,
    listening_sockets,
    serving,
    until_served,
)

SCRIPTS = Path(__file__).parent / "scripts"

Form = Literal["wheel", "sdist", "editable"]
FORMS: tuple[Form, ...] = ("wheel", "sdist", "editable")


@dataclass
class Installation:
    """An environment, what was installed into it, and where the drop-in has to be."""

    environment: Environment
    arguments: tuple[str | Path, ...]
    drop_in: Path
    is_there: bool = False

    def install(self) -> None:
        if not self.is_there:
            self.environment.install(*self.arguments)
            self.is_there = True


def prepare(
    folder: Path, distributions: Distributions, form: Form, installer: Installer
) -> Installation:
    environment = create_environment(folder / "environment", installer)
    if form == "editable":
        # A copy for each: Twisted writes its plugin cache into it.
        checkout = folder / "checkout"
        copy_checkout(checkout)
        return Installation(environment, ("--editable", checkout), checkout / DROP_IN)
    archive = {"wheel": distributions.wheel, "sdist": distributions.sdist}[form]
    drop_in = environment.site_packages / "twisted" / "plugins" / Path(DROP_IN).name
    return Installation(environment, (archive,), drop_in)


@pytest.fixture(
    scope="module",
    params=itertools.product(FORMS, INSTALLERS),
    ids=lambda pair: f"{pair[0]}-{pair[1]}",
)
def shared(
    request: pytest.FixtureRequest,
    distributions: Distributions,
    tmp_path_factory: pytest.TempPathFactory,
) -> Installation:
    form, installer = request.param
    folder = tmp_path_factory.mktemp(f"{form}-{installer}")
    installation = prepare(folder, distributions, form, installer)
    if installer == "pip" and form != "wheel":
        # That pip finds them is seen once; uv has them at hand.
        known = Environment(installation.environment.path, "uv")
        known.install("twisted", "zope.interface", "pluggy")
    return installation


@pytest.fixture
def installation(shared: Installation) -> Installation:
    shared.install()
    return shared


def test_parsers_are_found_and_one_listens(installation: Installation) -> None:
    seen = installation.environment.query(SCRIPTS / "listen.py")
    assert seen["server"] == {"dualstackServer": "dualstack", "canonicalServer": "canonical"}
    assert seen["client"] == {"dualstackClient": "dualstack"}
    assert Path(seen["drop_in"]) == installation.drop_in
    assert seen["peers"] == ["127.0.0.1", "::1"]


def test_twist_serves_both_families(installation: Installation) -> None:
    twist = installation.environment.program("twist")
    with serving(lambda port: [twist, "web", "--listen", f"dualstack:{port}"]) as (server, port):
        for family in FAMILIES:
            assert curl(family, port).startswith("HTTP/1.1 200")
            until_served(LOOPBACK[family], server)
        assert len(listening_sockets(port)) == 1
        log = server.stop()
    assert leaks(log) == []
    assert "Traceback" not in log


def test_nothing_is_imported_before_it_is_needed(installation: Installation) -> None:
    for module in ("dsadapter", "dsadapter.addressing"):
        brought = installation.environment.query(SCRIPTS / "imports.py", module)
        assert module in brought
        packages = {name.partition(".")[0] for name in brought}
        assert packages & {"twisted", "zope", "pluggy", "ipaddress"} == set()


def test_hookimpl_is_there_without_pluggy(installation: Installation) -> None:
    program = (
        "import sys; before = set(sys.modules); from dsadapter import hookimpl; "
        "assert set(sys.modules) - before <= {'dsadapter', '__future__'}; "
        "hookimpl(lambda: None); assert 'pluggy' in sys.modules"
    )
    assert installation.environment.run("-c", program) == ""


def test_drop_in_chooses_no_reactor_and_loads_no_plugin_manager(installation: Installation) -> None:
    drop_in = "twisted.plugins.dsadapter_endpoints"
    brought = installation.environment.query(SCRIPTS / "imports.py", drop_in)
    assert drop_in in brought
    unwanted = {"twisted.internet.reactor", "twisted.internet.tcp", "pluggy"}
    assert set(brought) & unwanted == set()


def test_connecting_needs_no_web_client(installation: Installation) -> None:
    connecting = "dsadapter.frameworks.twisted.client.client_endpoint"
    brought = installation.environment.query(SCRIPTS / "imports.py", connecting)
    assert connecting in brought
    assert [name for name in brought if name.startswith("twisted.web")] == []


def test_uninstalling_leaves_nothing(installation: Installation) -> None:
    environment = installation.environment
    # A start of Twisted leaves compiled modules and a plugin cache behind.
    assert "dsadapter_endpoints" in environment.query(SCRIPTS / "scan.py")
    environment.uninstall("dsadapter")
    # For other tests, which share the environment, it is installed again.
    installation.is_there = False
    assert "dsadapter_endpoints" not in environment.query(SCRIPTS / "scan.py")
    assert list(environment.site_packages.rglob("*dsadapter*")) == []
    assert b"dsadapter" not in (environment.plugins / "dropin.cache").read_bytes()


def test_core_installs_three_packages_and_what_they_need(
    distributions: Distributions, tmp_path: Path
) -> None:
    ours = create_environment(tmp_path / "ours", "uv")
    ours.install(distributions.wheel)
    bare = create_environment(tmp_path / "bare", "uv")
    bare.install("twisted", "zope.interface", "pluggy")
    assert ours.distributions() - bare.distributions() == {"dsadapter"}
