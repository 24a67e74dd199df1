"""What importing one framework's adapter loads, in a fresh interpreter."""

from __future__ import annotations

import subprocess
import sys

import pytest

FIRST = {
    "anyio": "create_tcp_listener, connect_tcp, create_udp_socket",
    "asyncio": "create_server, create_connection, create_datagram_endpoint",
    "blocking": "create_server, create_connection, DualStackMixin",
    "trio": "open_tcp_listeners, open_tcp_stream",
    "twisted": "DualStackServerEndpoint, DualStackClientEndpoint, DualStackDatagramEndpoint",
}
LOADED = """
import sys
{statement}
adapters = {{
    ".".join(name.split(".")[:3])
    for name in sys.modules
    if name.startswith({adapters})
}}
print(*sorted(adapters | {packages} & sys.modules.keys()))
"""


def loaded(statement: str, packages: set[str]) -> list[str]:
    """The adapters, and those of some packages."""
    adapters = tuple(f"dsadapter.frameworks.{name}" for name in FIRST)
    program = LOADED.format(statement=statement, adapters=adapters, packages=packages)
    done = subprocess.run(
        [sys.executable, "-I", "-c", program], check=True, capture_output=True, text=True
    )
    return done.stdout.split()


@pytest.mark.parametrize("name", FIRST)
def test_the_names_of_one_load_no_other(name: str) -> None:
    package = f"dsadapter.frameworks.{name}"
    others = {"anyio", "trio", "twisted", "uvloop", "gevent"} - {name}
    assert loaded(f"from {package} import {FIRST[name]}", others) == [package]


@pytest.mark.parametrize("name", FIRST)
def test_what_the_plugin_manager_imports_loads_no_framework(name: str) -> None:
    package = f"dsadapter.frameworks.{name}"
    frameworks = {"anyio", "trio", "twisted", "uvloop", "gevent", "asyncio", "ssl"}
    assert loaded(f"import {package}.adapter", frameworks) == [package]


@pytest.mark.parametrize("name", FIRST)
def test_the_package_alone_loads_no_pluggy(name: str) -> None:
    package = f"dsadapter.frameworks.{name}"
    assert loaded(f"import {package}", {"pluggy", "zope", "twisted"}) == [package]
