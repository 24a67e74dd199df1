"""Twisted's drop-in where something hides it: what the doctor says, and whether that helps."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
from typing import Any

import pytest
from support.builds import Distributions
from support.environments import Environment, clean_environment, create_environment

STALE = """
import pickle, sys
from twisted.plugin import getPlugins
from twisted.internet.interfaces import IStreamServerEndpointStringParser as Server
assert list(getPlugins(Server))
path = sys.argv[1]
with open(path, "rb") as stream:
    known = pickle.load(stream)
known["dsadapter_endpoints"].plugins = [
    plugin for plugin in known["dsadapter_endpoints"].plugins if plugin.name == "dualstackClient"
]
with open(path, "wb") as stream:
    pickle.dump(known, stream)
"""


@pytest.fixture(scope="module")
def environment(
    distributions: Distributions, tmp_path_factory: pytest.TempPathFactory
) -> Environment:
    made = create_environment(tmp_path_factory.mktemp("drop-in") / "environment", "pip")
    made.install(distributions.wheel)
    return made


def look(environment: Environment) -> dict[str, Any]:
    done = subprocess.run(
        [environment.program("dsadapter"), "doctor", "--json", "--only=drop-in"],
        env=clean_environment(),
        cwd="/",
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.stderr == ""
    said = json.loads(done.stdout)
    [row] = said["rows"]
    assert said["status"] == (row["mark"] == "problem")
    return row  # type: ignore[no-any-return]


def follow(row: dict[str, Any], distributions: Distributions) -> None:
    """Type what is advised; packages come from what the test has built."""
    sources = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(distributions.wheel.parent)}
    for command in row["remedy"]:
        environment = clean_environment(**sources)
        subprocess.run(command, shell=True, check=True, env=environment, capture_output=True)


def served(environment: Environment) -> str:
    """What comes of a string; Twisted writes its cache, and logs what it likes."""
    code = (
        "from twisted.internet import endpoints, reactor\n"
        "try: print(type(endpoints.serverFromString(reactor, 'dualstack:0')).__name__)\n"
        "except ValueError as error: print(error)"
    )
    return environment.run("-c", code, stderr=None).strip()


def test_a_good_one_is_left_as_it_is(environment: Environment) -> None:
    cache = environment.plugins / "dropin.cache"
    cache.unlink(missing_ok=True)
    before = sorted(environment.plugins.rglob("*"))
    row = look(environment)
    assert (row["mark"], row["fact"]) == ("ok", "Twisted knows 'dualstack:' and 'canonical:'")
    assert sorted(environment.plugins.rglob("*")) == before


def test_a_stale_cache(environment: Environment, distributions: Distributions) -> None:
    cache = environment.plugins / "dropin.cache"
    environment.run("-c", STALE, str(cache))
    assert "Unknown endpoint type" in served(environment)
    before = cache.read_bytes()
    row = look(environment)
    assert row["mark"] == "problem"
    assert row["fact"].startswith(f"{cache} is stale: it hides dualstack:, canonical: of ")
    assert cache.read_bytes() == before
    follow(row, distributions)
    assert look(environment)["mark"] == "ok"
    assert served(environment) == "DualStackServerEndpoint"


JUNK = [b"", b"junk", pickle.dumps([1]), pickle.dumps({"dsadapter_endpoints": 7})]


@pytest.mark.parametrize("content", JUNK)
def test_a_cache_that_is_none(
    environment: Environment, distributions: Distributions, content: bytes
) -> None:
    cache = environment.plugins / "dropin.cache"
    cache.write_bytes(content)
    row = look(environment)
    if row["mark"] == "problem":
        # Twisted believes it, and fails.
        follow(row, distributions)
        assert look(environment)["mark"] == "ok"
    assert served(environment) == "DualStackServerEndpoint"


@pytest.mark.parametrize(
    ("source", "says"),
    [
        (None, "it is not installed: Twisted knows no 'dualstack:'"),
        ("1 / 0\n", "it can't be imported, which Twisted tells nobody: ZeroDivisionError"),
        ("import nothing\n", "it can't be imported, which Twisted tells nobody: ModuleNotFound"),
        ("dualstackServer = None\n", "has no dualstackClient, canonicalServer"),
    ],
)
def test_one_that_is_missing_or_broken(
    environment: Environment, distributions: Distributions, source: str | None, says: str
) -> None:
    file = environment.plugins / "dsadapter_endpoints.py"
    file.unlink()
    if source is not None:
        file.write_text(source)
        # Not what is remembered of the one before.
        os.utime(file)
    row = look(environment)
    assert row["mark"] == "problem"
    assert says in row["fact"]
    follow(row, distributions)
    assert look(environment)["mark"] == "ok"
    assert served(environment) == "DualStackServerEndpoint"
