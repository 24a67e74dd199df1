"""Objects that stand for plain ones, in the hands of what only knows the plain ones."""

from __future__ import annotations

import contextlib
import copy
import json
import marshal
import socket
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.datagrams import Informed, Recorder, listen, peer
from support.foreign_reactor import ForeignReactor
from support.listeners import RecordingFactory, stop
from support.reactors import Reactor
from twisted.spread.jelly import jelly, unjelly

from dsadapter.frameworks.twisted import DualStackClientEndpoint, DualStackServerEndpoint

HOSTS = pytest.mark.parametrize("host", ["127.0.0.1", "::1"])


@contextlib.contextmanager
def address_of(reactor: Reactor, host: str, recorder: Any) -> Iterator[tuple[Any, Any]]:
    """The address of a datagram's sender as a protocol gets it, and the sender's own."""
    port = listen(reactor, recorder)
    try:
        with peer(host) as client:
            client.sendto(b"x", (host, port.getHost().port))
            reactor.until(lambda: recorder.got)
            yield recorder.got[0][1], tuple(client.getsockname()[:2])
    finally:
        stop(reactor, port)


def marshalled(addr: Any) -> Any:
    return marshal.loads(marshal.dumps(addr))


def jellied(addr: Any) -> Any:
    return unjelly(jelly(addr))


def as_json(addr: Any) -> Any:
    return tuple(json.loads(json.dumps(addr)))


@HOSTS
@pytest.mark.parametrize("protocol", [Recorder, Informed])
@pytest.mark.parametrize("through", [as_json, marshalled, jellied])
def test_a_senders_address_is_serialized_as_a_plain_tuple(
    reactor: Reactor, host: str, protocol: Callable[[], Any], through: Callable[[Any], Any]
) -> None:
    with address_of(reactor, host, protocol()) as (addr, plain):
        # marshal and jelly ask for the exact type, which remembers nothing.
        made = through(addr if through is as_json else tuple(addr))
        assert made == plain
        assert type(made) is tuple


def test_what_wants_the_exact_type_has_no_use_for_an_address_that_remembers(
    reactor: Reactor,
) -> None:
    with address_of(reactor, "::1", Recorder()) as (addr, plain):
        with pytest.raises(ValueError, match="unmarshallable"):
            marshalled(addr)
        try:
            made = jellied(addr)
        except AttributeError:
            # Older releases ask for a dictionary that it has not.
            return
        assert made != plain


@HOSTS
def test_a_senders_address_shows_nothing_but_itself(reactor: Reactor, host: str) -> None:
    with address_of(reactor, host, Recorder()) as (addr, plain):
        shown = repr(getattr(addr, "__dict__", {}))
        assert "::ffff:" not in shown
        assert str(plain[1]) not in shown


@contextlib.contextmanager
def connected(reactor: Any, host: str) -> Iterator[Any]:
    """A listening port with a connection."""
    factory = RecordingFactory()
    port = reactor.result_of(DualStackServerEndpoint(reactor, 0).listen(factory))
    with socket.create_connection((host, port.getHost().port)):
        reactor.until(lambda: factory.made)
        yield port
        factory.made[0].transport.abortConnection()
        reactor.until(lambda: factory.lost)
    stop(reactor, port)


@HOSTS
@pytest.mark.parametrize("reactors", [Reactor, ForeignReactor])
def test_a_transport_can_be_copied(reactors: Any, host: str) -> None:
    reactor = reactors()
    with connected(reactor, host) as port:
        transport = port.factory.made[0].transport
        copied = copy.copy(transport)
        assert copied.getPeer() == transport.getPeer()
        assert copied.getPeer().host == host
        assert copied.getHost().host == host
    reactor.close()


@pytest.mark.parametrize("reactors", [Reactor, ForeignReactor])
def test_a_listening_port_can_be_copied(reactors: Any) -> None:
    reactor = reactors()
    with connected(reactor, "127.0.0.1") as port:
        assert copy.copy(port).getHost() == port.getHost()
    reactor.close()


def listening_socket(reactor: Reactor) -> type[socket.socket]:
    port = reactor.result_of(DualStackServerEndpoint(reactor, 0).listen(RecordingFactory()))
    kind = type(port.socket)
    stop(reactor, port)
    return kind  # type: ignore[no-any-return]


def accepted_socket(reactor: Reactor) -> type[socket.socket]:
    with connected(reactor, "127.0.0.1") as port:
        return type(port.factory.made[0].transport.getHandle())


def connected_socket(reactor: Reactor) -> type[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        endpoint = DualStackClientEndpoint(reactor, "127.0.0.1", server.getsockname()[1])
        transport = reactor.result_of(endpoint.connect(RecordingFactory())).transport
        kind = type(transport.getHandle())
        transport.abortConnection()
        reactor.until(lambda: not transport.connected)
    return kind


def datagram_socket(reactor: Reactor) -> type[socket.socket]:
    port = listen(reactor, Recorder())
    kind = type(port.socket)
    stop(reactor, port)
    return kind


KINDS = pytest.mark.parametrize(
    "kind_of", [listening_socket, accepted_socket, connected_socket, datagram_socket]
)


@KINDS
@pytest.mark.parametrize("named", ["file", "abstract", "none"])
@pytest.mark.not_on_windows("Python has no AF_UNIX there")
def test_a_socket_of_the_same_class_passes_names_of_another_family_through(
    reactor: Reactor, kind_of: Callable[[Reactor], type[socket.socket]], named: str
) -> None:
    """What libraries make of a handle: ``type(handle)(fileno=descriptor)``."""
    kind = kind_of(reactor)
    with tempfile.TemporaryDirectory() as folder:
        names: dict[str, Any] = {
            "file": str(Path(folder) / "socket"),
            "abstract": b"\0dsadapter-test",
            "none": "",
        }
        name = names[named]
        with socket.socket(socket.AF_UNIX) as plain:
            if name:
                plain.bind(name)
            with kind(fileno=plain.fileno()) as same:
                try:
                    assert same.getsockname() == plain.getsockname() == name
                finally:
                    same.detach()


@KINDS
@pytest.mark.not_on_windows("Python has no AF_UNIX there")
def test_it_accepts_connections_of_another_family(
    reactor: Reactor, kind_of: Callable[[Reactor], type[socket.socket]]
) -> None:
    kind = kind_of(reactor)
    with tempfile.TemporaryDirectory() as folder:
        name = str(Path(folder) / "socket")
        with kind(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as client:
            listener.bind(name)
            listener.listen()
            client.connect(name)
            accepted, address = listener.accept()
            with accepted:
                assert address == client.getsockname() == ""
                assert accepted.getsockname() == name
