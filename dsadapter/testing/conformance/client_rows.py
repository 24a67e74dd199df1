"""Rows about connections that are made."""

from __future__ import annotations

import socket
from typing import Any, NamedTuple

import pytest

from dsadapter.testing.conformance.judging import (
    BOTH,
    IPV4,
    IPV6,
    MAPPED,
    Name,
    name_of,
    require_address,
    require_own_kind,
    require_text,
)
from dsadapter.testing.driver_process import PATIENCE, DriverError, DriverProcess, Places
from dsadapter.testing.driver_worker import MAPPED_NAME

SOURCE = "127.0.0.9"


class Met(NamedTuple):
    """A client as a plain server saw it, and what it showed of itself."""

    client: Name
    server: Name
    places: Places


def plain_server(host: str) -> socket.socket:
    """Of one family."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    server = socket.create_server((host, 0), family=family)
    server.settimeout(PATIENCE)
    return server


def meet(process: DriverProcess, target: str, at: str, **options: Any) -> Met:
    """Have the driver connect to a target, which is an address that a plain server has."""
    with plain_server(at) as server:
        address = name_of(server.getsockname())
        connecting = process.start("connect", host=target, port=address[1], **options)
        # What fails at once says more than a server that waits.
        process.wait_until(
            lambda: connecting.outcome is not None or bool(connecting.reports),
            "the driver neither connects nor fails",
        )
        if connecting.outcome is not None:
            connecting.returned()
        accepted, name = server.accept()
        with accepted:
            accepted.settimeout(PATIENCE)
            accepted.sendall(accepted.recv(7, socket.MSG_WAITALL))
            connecting.returned()
        return Met(name_of(name), address, connecting.report())


def require_names(met: Met) -> None:
    """Check every name that a connection shows."""
    for place, expected in (
        ("peer", met.server),
        ("local", met.client),
        ("handle_peer", met.server),
        ("handle_local", met.client),
    ):
        require_address(place, met.places.get(place), expected)


class ClientRows:
    """Where a client shows its peers and itself, and what it takes for an address."""

    def test_connect(self, process: DriverProcess) -> None:
        """A plain address of either family."""
        made = {host: meet(process, host, host) for host in BOTH}
        for met in made.values():
            require_names(met)
        for place in ("peer", "local"):
            require_own_kind(place, {host: met.places[place] for host, met in made.items()})

    def test_connect_to_mapped(self, process: DriverProcess) -> None:
        """A mapped address, from wherever the application has it."""
        for target in MAPPED:
            require_names(meet(process, target, IPV4))

    def test_connecting_texts(self, process: DriverProcess) -> None:
        """Texts that show a connection, as those of a server."""
        for host in BOTH:
            require_text("texts", meet(process, host, host).places.get("texts"), host)

    def test_source(self, process: DriverProcess) -> None:
        """A local address to connect from."""
        for source in (SOURCE, f"::ffff:{SOURCE}"):
            met = meet(process, IPV4, IPV4, source=source)
            assert met.client[0] == SOURCE, f"source {source} connects from {met.client[0]}"
            require_names(met)
        require_names(meet(process, IPV6, IPV6, source=IPV6))

    def test_resolved_address(self, process: DriverProcess) -> None:
        """A name whose only address is a mapped one."""
        if not process.allowed:
            pytest.skip("needs a mount namespace for a hosts file: Linux has them, for some")
        require_names(meet(process, MAPPED_NAME, IPV4))

    def test_connecting_error(self, process: DriverProcess) -> None:
        """The text of an error about an address to connect to."""
        for target in (IPV4, *MAPPED, IPV6):
            host = IPV6 if target == IPV6 else IPV4
            with plain_server(host) as gone:
                port = gone.getsockname()[1]
            with pytest.raises(DriverError) as raised:
                process.call("connect", host=target, port=port)
            require_text("the error", {"texts": raised.value.texts}, host)
