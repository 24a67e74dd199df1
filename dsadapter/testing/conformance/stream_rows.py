"""Rows about connections that are accepted."""

from __future__ import annotations

import socket
import ssl
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from dsadapter.testing.conformance.judging import (
    BOTH,
    IPV4,
    IPV6,
    MAPPED,
    Name,
    forbid_mapped_anywhere,
    name_of,
    require_address,
    require_own_kind,
    require_text,
)
from dsadapter.testing.driver_process import PATIENCE, DriverError, DriverProcess, Places, Running

CERTIFICATE = str(Path(__file__).with_name("certificate.pem"))
REQUEST = b"request"


class Visit(NamedTuple):
    """A client's own names, and what the server showed of it."""

    client: Name
    server: Name
    places: Places


def connect(host: str, port: int) -> socket.socket:
    """A plain client."""
    return socket.create_connection((host, port), timeout=PATIENCE)


def exchange(client: socket.socket) -> None:
    """Have a request answered."""
    client.sendall(REQUEST)
    require_answer(client)


def require_answer(client: socket.socket) -> None:
    """Check that the request comes back."""
    answer = b""
    while len(answer) < len(REQUEST):
        more = client.recv(len(REQUEST) - len(answer))
        assert more, f"the server ends after {answer!r}; it should send {REQUEST!r} back"
        answer += more
    assert answer == REQUEST, f"the server answers {answer!r}"


def is_about(port: int) -> Callable[[Places], bool]:
    """Whether a report shows a client's port somewhere."""

    def fits(places: Places) -> bool:
        return any(seen and seen.get("address", [0, 0])[1] == port for seen in places.values())

    return fits


def visit(listening: Running, port: int, host: str, tls: bool = False) -> Visit:
    """Connect, have a request answered, and take the report."""
    # A client of the other family may have had the same port.
    before = len(listening.reports)
    with connect(host, port) as client:
        names = name_of(client.getsockname()), name_of(client.getpeername())
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
            with context.wrap_socket(client) as wrapped:
                exchange(wrapped)
        else:
            exchange(client)
        return Visit(*names, listening.report(is_about(names[0][1]), since=before))


def listen(
    process: DriverProcess, host: str = "::", method: str = "listen", **options: Any
) -> tuple[Running, list[Any], int]:
    """Have the driver serve; the command, the addresses that the port shows, and its number."""
    listening = process.start(method, host=host, port=0, **options)
    addresses = listening.returned()
    assert addresses, "listen() returns no address"
    return listening, addresses, addresses[0]["address"][1]


def visits(process: DriverProcess, **options: Any) -> dict[str, Visit]:
    """A visit from each family to a server of both, by the client's host."""
    listening, _, port = listen(process, **options)
    return {host: visit(listening, port, host, tls="tls" in options) for host in BOTH}


def require_client(made: dict[str, Visit], place: str) -> None:
    """Check that a place shows the client, in its family's type."""
    for each in made.values():
        require_address(place, each.places.get(place), each.client)
    require_own_kind(place, {host: each.places[place] for host, each in made.items()})


def require_server(made: dict[str, Visit], place: str) -> None:
    """Check that a place shows the server's address that the client has connected to."""
    for each in made.values():
        require_address(place, each.places.get(place), each.server)
    require_own_kind(place, {host: each.places[place] for host, each in made.items()})


def half_close(client: socket.socket) -> None:
    """Send nothing more."""
    client.shutdown(socket.SHUT_WR)


def reset(client: socket.socket) -> None:
    """End without FIN."""
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()


DEEDS: dict[str, Callable[[socket.socket], None]] = {
    "half-closes": half_close,
    "closes": socket.socket.close,
    "resets": reset,
}


def mapped_header(version: int) -> bytes:
    """A PROXY header of a proxy that takes 192.0.2.1 for an IPv6 client, as a proxy on a dual-stack
    socket does (proxy-protocol.txt, sections 2.1 and 2.2)."""
    source, destination = "::ffff:192.0.2.1", "::ffff:192.0.2.2"
    if version == 1:
        return f"PROXY TCP6 {source} {destination} 4711 80\r\n".encode()
    addresses = b"".join(socket.inet_pton(socket.AF_INET6, each) for each in (source, destination))
    body = addresses + struct.pack("!HH", 4711, 80)
    return b"\r\n\r\n\0\r\nQUIT\n\x21\x21" + struct.pack("!H", len(body)) + body


class StreamRows:
    """Where a server shows its peers and itself."""

    def test_accepted_address(self, process: DriverProcess) -> None:
        """The address that comes with a connection."""
        require_client(visits(process), "accepted")

    def test_peer(self, process: DriverProcess) -> None:
        """Whom the transport names as its peer."""
        require_client(visits(process), "peer")

    def test_local(self, process: DriverProcess) -> None:
        """What the transport names as its own address."""
        require_server(visits(process), "local")

    def test_handle_peer(self, process: DriverProcess) -> None:
        """The peer by the socket in the transport."""
        require_client(visits(process), "handle_peer")

    def test_handle_local(self, process: DriverProcess) -> None:
        """The local address by the socket in the transport."""
        require_server(visits(process), "handle_local")

    def test_texts(self, process: DriverProcess) -> None:
        """Log prefixes, ``repr``, and other texts that show a connection."""
        for host, made in visits(process).items():
            require_text("texts", made.places.get("texts"), host)

    def test_tls(self, process: DriverProcess) -> None:
        """The names of a connection inside TLS."""
        made = visits(process, tls=CERTIFICATE)
        for place in ("accepted", "peer"):
            require_client(made, place)
        require_server(made, "local")

    def test_listening_address(self, process: DriverProcess) -> None:
        """The listening port's own address."""
        for host in (*MAPPED, IPV4):
            _, addresses, port = listen(process, host)
            assert len(addresses) == 1, f"{host} is listened on at {addresses}"
            require_address("the listening port", addresses[0], (IPV4, port))
        _, addresses, port = listen(process, IPV6)
        require_address("the listening port", addresses[0], (IPV6, port))

    def test_bind_argument(self, process: DriverProcess) -> None:
        """A mapped address to listen on, from wherever the application has it, is the IPv4 one: it
        serves IPv4 alone."""
        for host in (*MAPPED, IPV4):
            listening, _, port = listen(process, host)
            made = visit(listening, port, IPV4)
            require_address("peer", made.places.get("peer"), made.client)
            with pytest.raises(ConnectionRefusedError):
                connect(IPV6, port)
        # Or one of these ports may be the next one's, too.
        process.close()
        listening, _, port = listen(process, IPV6)
        made = visit(listening, port, IPV6)
        require_address("peer", made.places.get("peer"), made.client)
        with pytest.raises(ConnectionRefusedError):
            connect(IPV4, port)

    def test_listening_error(self, process: DriverProcess) -> None:
        """The text of an error about a mapped address to listen on."""
        with socket.create_server((IPV4, 0)) as holder:
            port = holder.getsockname()[1]
            for host in (*MAPPED, IPV4):
                with pytest.raises(DriverError) as raised:
                    process.call("listen", host=host, port=port)
                require_text("the error", {"texts": raised.value.texts}, IPV4)

    @pytest.mark.parametrize("deed", DEEDS)
    def test_early_peer(self, process: DriverProcess, deed: str) -> None:
        """A peer that sends a request and half-closes, closes or resets before it is accepted
        chooses no other name by that."""
        listening, _, port = listen(process)
        for host in BOTH:
            before = len(listening.reports)
            with process.stopped():
                early = connect(host, port)
                name, server = name_of(early.getsockname()), name_of(early.getpeername())
                early.sendall(REQUEST)
                DEEDS[deed](early)
            with early:
                if deed == "half-closes":
                    require_answer(early)
                    listening.report(is_about(name[1]), since=before)
            # One behind it: it has been accepted.
            visit(listening, port, host)
            for places in filter(is_about(name[1]), listening.reports[before:]):
                for place, expected in (
                    *((each, name) for each in ("accepted", "peer", "handle_peer")),
                    *((each, server) for each in ("local", "handle_local")),
                ):
                    # A reset connection has no names any more.
                    if deed == "half-closes" or places.get(place) is not None:
                        require_address(place, places.get(place), expected)
        process.close()
        for places in listening.reports:
            forbid_mapped_anywhere(places)

    def test_adopted_descriptor(self, process: DriverProcess) -> None:
        """A descriptor from elsewhere, of a socket that serves both families already."""
        listening, _, port = listen(process, method="adopt")
        made = {host: visit(listening, port, host) for host in BOTH}
        for place in ("accepted", "peer", "handle_peer"):
            require_client(made, place)
        for place in ("local", "handle_local"):
            require_server(made, place)
        for host, each in made.items():
            require_text("texts", each.places.get("texts"), host)

    def test_proxy_header(self, process: DriverProcess) -> None:
        """Mapped addresses in a PROXY header of either version."""
        listening, _, port = listen(process, proxy=True)
        for count, version in enumerate((1, 2), start=1):
            with connect(IPV4, port) as client:
                client.sendall(mapped_header(version))
                exchange(client)
            process.wait_until(lambda: len(listening.reports) == count, "no report comes")  # noqa: B023
            places = listening.reports[-1]
            require_address("peer", places.get("peer"), ("192.0.2.1", 4711))
            require_address("local", places.get("local"), ("192.0.2.2", 80))
