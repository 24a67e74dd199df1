"""What real programs read of endpoints that is of no interface; their names stand beside it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.certificates import Files, older_pyopenssl_api
from support.environments import clean_environment
from support.reactors import Reactor
from support.windows import starts_programs
from twisted.application import strports
from twisted.internet.endpoints import TCP4ClientEndpoint, serverFromString
from twisted.internet.protocol import Factory
from twisted.web.client import URI

from dsadapter.frameworks.twisted import (
    DualStackAgentEndpointFactory,
    DualStackServerEndpoint,
)

OPTIONS: list[tuple[dict[str, Any], Any, Any]] = [
    ({}, None, 30),
    ({"timeout": 7}, None, 7),
    ({"bindAddress": "127.0.0.2"}, "127.0.0.2", 30),
    ({"bindAddress": ("127.0.0.2", 0), "timeout": 5}, ("127.0.0.2", 0), 5),
]


@pytest.mark.parametrize(("options", "bind_address", "timeout"), OPTIONS)
def test_an_agents_factory_tells_how_it_connects(
    reactor: Reactor, options: dict[str, Any], bind_address: Any, timeout: float
) -> None:
    """Scrapy's tunnelling agent (``scrapy/core/downloader/handlers/http11.py``) and its HTTP/2
    agent (``scrapy/core/_http2/agent.py``) pass both on: the key of a pool, and an endpoint of
    Twisted's."""
    factory: Any = DualStackAgentEndpointFactory(reactor, **options)
    assert factory._connectTimeout == timeout
    given = factory._bindAddress
    assert given == bind_address
    assert hash(("https", "a.example", 443, given)) is not None
    TCP4ClientEndpoint(reactor, "127.0.0.1", 80, timeout=factory._connectTimeout, bindAddress=given)
    factory.endpointForURI(URI.fromBytes(b"http://127.0.0.1:80/"))


def in_python(reactor: Reactor) -> Any:
    return DualStackServerEndpoint(reactor, 4001)


def by_string(reactor: Reactor) -> Any:
    return serverFromString(reactor, "dualstack:4001")


def on_localhost(reactor: Reactor) -> Any:
    return serverFromString(reactor, "dualstack:4001:interface=localhost")


def twisteds(reactor: Reactor) -> Any:
    return serverFromString(reactor, "tcp:4001")


@pytest.mark.parametrize("make", [twisteds, in_python, by_string, on_localhost])
def test_a_server_endpoint_tells_its_port(reactor: Reactor, make: Callable[[Reactor], Any]) -> None:
    """magic-wormhole-transit-relay (``wormhole_transit_relay/server_tap.py``) makes the URL of its
    WebSocket of it."""
    assert make(reactor)._port == 4001


@starts_programs
@pytest.mark.parametrize(
    "description", ["dualstack:0", r"dualstack:0:interface=127.0.0.1", "canonical:tcp:0"]
)
def test_strports_listen_says_what_to_use(description: str) -> None:
    """buildbot's port for workers (``buildbot/worker/protocols/manager/base.py``) takes its string
    that way, which takes no plugin's prefix."""
    # In a process of its own: it takes the global reactor.
    program = (
        "import sys\n"
        "from twisted.application.strports import listen\n"
        "from twisted.internet.protocol import Factory\n"
        "listen(sys.argv[1], Factory())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, description],
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode != 0
    error = done.stderr.splitlines()[-1]
    assert "strports.service" in error
    assert "serverFromString" in error


@older_pyopenssl_api
@pytest.mark.parametrize("way", ["tls={directory}", "privateKey={key}:certKey={certificate}"])
def test_an_endpoint_for_TLS_is_known_by_its_class(
    reactor: Reactor, tmp_path: Path, way: str
) -> None:
    """tahoe-lafs (``allmydata/webish.py``) says ``https`` in its URL where the name of the class
    begins with ``SSL``; the transit relay reads the port of such a one, too."""
    files = Files.written_to(tmp_path / "tls")
    service: Any = strports.service(
        f"dualstack:3456:{files.filled(way)}", Factory(), reactor=reactor
    )
    assert type(service.endpoint).__name__.startswith("SSL")
    assert service.endpoint._port == 3456


def test_one_without_TLS_is_not(reactor: Reactor) -> None:
    service: Any = strports.service("dualstack:3456", Factory(), reactor=reactor)
    assert not type(service.endpoint).__name__.startswith("SSL")
