"""What is to blame for an error of bind, connect or sendto, found out on machines that fail so."""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterator

import pytest
from support.machines import switch_off_ipv6
from support.namespaces import Namespace, namespace, needs_root

from dsadapter.sockets.remedies import is_broadcast, remedy

pytestmark = needs_root


@pytest.fixture(scope="module")
def place() -> Iterator[Namespace]:
    with namespace() as made:
        made.run("ip", "link", "add", "wire", "type", "veth", "peer", "name", "far")
        for end in ("wire", "far"):
            made.run("ip", "link", "set", end, "up")
        made.add_addresses("wire", "10.5.0.1", "fd00:5::1")
        made.run("ip", "route", "add", "prohibit", "10.6.0.1/32")
        made.run("ip", "-6", "route", "add", "prohibit", "fd00:6::1/128")
        yield made


def failure(host: str, call: str, kind: int = socket.SOCK_DGRAM) -> OSError:
    """What binding or connecting to an address fails with."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, kind) as sock, pytest.raises(OSError) as caught:
        getattr(sock, call)((host, 9))
    return caught.value


@pytest.mark.parametrize("call", ["bind", "connect"])
def test_a_missing_zone(place: Namespace, call: str) -> None:
    where = "local" if call == "bind" else "remote"
    with place.entered():
        text = remedy(failure("fe80::9", call), **{where: ("fe80::9", 9)})
    assert text == "a link-local address needs its interface: give 'fe80::9%far'" or (
        text == "a link-local address needs its interface: give 'fe80::9%wire'"
    )


@pytest.mark.parametrize(
    ("host", "own"), [("192.0.2.1", "127.0.0.1, 10.5.0.1"), ("2001:db8::1", "::1, fd00:5::1")]
)
def test_an_address_of_another_machine(place: Namespace, host: str, own: str) -> None:
    with place.entered():
        text = remedy(failure(host, "bind"), local=(host, 9))
    assert text == f"it is no address of this machine, which has {own}"


@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM])
@pytest.mark.parametrize("host", ["10.6.0.1", "fd00:6::1"])
def test_a_route_that_prohibits(place: Namespace, host: str, kind: int) -> None:
    with place.entered():
        text = remedy(failure(host, "connect", kind), remote=(host, 9))
        assert not is_broadcast(host, 9)
    assert text is not None
    assert f"prohibits {host}" in text


@pytest.mark.parametrize("host", ["10.77.0.1", "fd00:77::1"])
def test_no_route(place: Namespace, host: str) -> None:
    with place.entered():
        text = remedy(failure(host, "connect"), remote=(host, 9))
    assert text is not None
    assert text.startswith(f"this machine has no route to {host}")


def test_a_broadcast_address(place: Namespace) -> None:
    with place.entered():
        assert failure("10.5.0.255", "connect").errno == errno.EACCES
        assert is_broadcast("10.5.0.255", 9)


@pytest.mark.parametrize(
    ("source", "blamed"), [("fd00:5::1", "no route"), ("2001:db8::1", "no address of this")]
)
def test_of_a_source_and_a_destination_the_one_to_blame(
    place: Namespace, source: str, blamed: str
) -> None:
    with place.entered():
        error = failure("fd00:77::1", "connect")
        text = remedy(error, local=(source, 0), remote=("fd00:77::1", 9))
    assert text is not None
    assert blamed in text


@pytest.mark.parametrize("call", ["bind", "connect"])
def test_IPv6_that_is_switched_off(call: str) -> None:
    where = "local" if call == "bind" else "remote"
    with namespace() as place, place.entered():
        switch_off_ipv6(place)
        text = remedy(failure("::1", call), **{where: ("::1", 9)})
    assert text is not None
    assert "net.ipv6.conf.all.disable_ipv6" in text


def test_what_is_not_known() -> None:
    assert remedy(OSError(errno.EIO, "Input/output error"), local=("127.0.0.1", 9)) is None
    assert remedy(OSError("no number"), remote=("127.0.0.1", 9)) is None
    assert remedy(OSError(errno.EADDRNOTAVAIL, "no"), remote=("127.0.0.1", 9)) is None
