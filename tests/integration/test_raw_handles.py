"""What ``getHandle()`` of a connection gives, and what becomes of its copies."""

from __future__ import annotations

import contextlib
import errno
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from support.certificates import Files, older_pyopenssl_api
from support.reactors import Reactor, open_descriptors
from support.windows import WINDOWS, nothing_is_mapped
from twisted.internet.endpoints import TCP6ServerEndpoint
from twisted.internet.protocol import Factory, Protocol

from dsadapter.addressing import unmap
from dsadapter.frameworks.twisted import DualStackServerEndpoint
from dsadapter.frameworks.twisted.tls import connectionCreatorFromFiles, wrapServerTLS
from dsadapter.sockets.canonical import CanonicalSocket

IPV6_ADDRFORM = 1
CLIENTS = [
    ("::", "127.0.0.1", socket.AF_INET6),
    ("::", "::1", socket.AF_INET6),
    ("127.0.0.1", "127.0.0.1", socket.AF_INET),
    ("::1", "::1", socket.AF_INET6),
]


class Connection(NamedTuple):
    client: socket.socket
    transport: Any

    @property
    def handle(self) -> Any:
        return self.transport.getHandle()

    @property
    def names(self) -> tuple[Any, Any]:
        """What the copies have to show: the peer's name and their own."""
        return self.client.getsockname(), self.client.getpeername()


class Keeping(Protocol):
    def connectionMade(self) -> None:
        self.factory.made.append(self)


@contextlib.contextmanager
def connected(reactor: Reactor, endpoint: Any, host: str) -> Iterator[Connection]:
    factory = Factory.forProtocol(Keeping)
    factory.noisy = False
    factory.made = []
    port = reactor.result_of(endpoint.listen(factory))
    with socket.create_connection((host, port.getHost().port)) as client:
        reactor.until(lambda: factory.made)
        [protocol] = factory.made
        before = open_descriptors()
        yield Connection(client, protocol.transport)
        assert open_descriptors() <= before
        protocol.transport.abortConnection()
    reactor.result_of(port.stopListening())


def names(skt: socket.socket) -> tuple[Any, Any]:
    return skt.getpeername(), skt.getsockname()


def kernels_family(sock: socket.socket) -> int:
    """Whatever Python calls it."""
    with socket.socket(fileno=socket.dup(sock.fileno())) as plain:
        return plain.family


@pytest.mark.parametrize(("interface", "host", "family"), CLIENTS)
def test_the_handle_has_canonical_names_and_the_family_of_the_kernel(
    interface: str, host: str, family: int, reactor: Reactor
) -> None:
    endpoint = DualStackServerEndpoint(reactor, 0, interface=interface)
    with connected(reactor, endpoint, host) as connection:
        assert names(connection.handle) == connection.names
        assert connection.handle.family == family
        assert kernels_family(connection.handle) == family


@pytest.mark.parametrize(("interface", "host", "family"), CLIENTS)
def test_a_dup_is_canonical_too_and_stays_so_when_the_connection_is_gone(
    interface: str, host: str, family: int, reactor: Reactor
) -> None:
    endpoint = DualStackServerEndpoint(reactor, 0, interface=interface)
    with connected(reactor, endpoint, host) as connection:
        with connection.handle.dup() as copy, copy.dup() as copy_of_copy:
            for each in (copy, copy_of_copy):
                assert type(each) is CanonicalSocket
                assert names(each) == connection.names
                assert each.family == family
                assert each.fileno() != connection.handle.fileno()
                assert each.gettimeout() == connection.handle.gettimeout()
                assert not each.get_inheritable()
            copy.sendall(b"by the copy")
            assert connection.client.recv(20) == b"by the copy"
            connection.transport.abortConnection()
            reactor.until(lambda: not connection.transport.connected)
            assert names(copy) == connection.names


def test_the_listening_socket_and_what_its_dup_accepts_are_canonical(reactor: Reactor) -> None:
    port = reactor.result_of(DualStackServerEndpoint(reactor, 0).listen(Factory()))
    with port.socket.dup() as listening:
        port.stopReading()
        listening.settimeout(10)
        with socket.create_connection(("127.0.0.1", port.getHost().port)) as client:
            accepted, address = listening.accept()
            with accepted:
                assert address == client.getsockname() == accepted.getpeername()
    reactor.result_of(port.stopListening())


class TestLimits:
    """A bare descriptor has lost the translation; each has a way to keep it."""

    def test_a_plain_socket_of_the_descriptor_leaks(self, reactor: Reactor) -> None:
        with connected(reactor, DualStackServerEndpoint(reactor, 0), "127.0.0.1") as connection:
            with socket.socket(fileno=socket.dup(connection.handle.fileno())) as plain:
                assert plain.getpeername()[0] == plain.getsockname()[0] == "::ffff:127.0.0.1"
                assert tuple(unmap(name) for name in names(plain)) == connection.names
                with CanonicalSocket(fileno=plain.detach()) as canonical:
                    assert names(canonical) == connection.names
                    assert canonical.family == socket.AF_INET6

    @pytest.mark.not_on_windows("has no IPV6_ADDRFORM")
    @pytest.mark.skipif(sys.platform != "linux", reason="IPV6_ADDRFORM is Linux's")
    def test_a_detached_descriptor_is_IPv4_for_every_reader(self, reactor: Reactor) -> None:
        with connected(reactor, DualStackServerEndpoint(reactor, 0), "127.0.0.1") as connection:
            with socket.socket(fileno=connection.handle.dup().detach()) as plain:
                assert plain.family == socket.AF_INET
                assert names(plain) == names(connection.handle) == connection.names
            assert connection.transport.getPeer().host == "127.0.0.1"

    def test_fromfd_leaks_with_the_right_family(self, reactor: Reactor) -> None:
        with connected(reactor, DualStackServerEndpoint(reactor, 0), "127.0.0.1") as connection:
            handle = connection.handle
            with socket.fromfd(handle.fileno(), handle.family, handle.type) as plain:
                assert plain.getpeername()[0] == "::ffff:127.0.0.1"
                assert unmap(plain.getpeername()) == connection.names[0]

    def test_fromfd_with_the_wrong_family_gives_no_address_at_all(self, reactor: Reactor) -> None:
        """The kernel cuts the name to the length of an IPv4 one; Python reads what is behind it."""
        with connected(reactor, DualStackServerEndpoint(reactor, 0), "127.0.0.1") as connection:
            fileno = connection.handle.fileno()
            with socket.fromfd(fileno, socket.AF_INET, socket.SOCK_STREAM) as wrong:
                # Winsock has no room for it, and says so.
                with contextlib.suppress(OSError) if WINDOWS else contextlib.nullcontext():
                    assert unmap(wrong.getpeername()) != connection.names[0]
                assert kernels_family(wrong) == connection.handle.family

    def test_detach_takes_the_descriptor_from_the_connection(self, reactor: Reactor) -> None:
        with connected(reactor, DualStackServerEndpoint(reactor, 0), "127.0.0.1") as connection:
            connection.transport.stopReading()
            descriptor = connection.handle.detach()
            assert connection.handle.fileno() == -1
            with pytest.raises(OSError) as refused:
                connection.handle.getpeername()
            assert refused.value.errno in (errno.EBADF, errno.ENOTSOCK)
            with CanonicalSocket(fileno=descriptor) as canonical:
                assert names(canonical) == connection.names
                assert connection.transport.getPeer().host == "127.0.0.1"

    @pytest.mark.not_on_windows("has no IPV6_ADDRFORM")
    @pytest.mark.skipif(sys.platform != "linux", reason="IPV6_ADDRFORM is Linux's")
    def test_the_kernel_can_make_it_IPv4_for_every_reader(self, reactor: Reactor) -> None:
        with connected(reactor, DualStackServerEndpoint(reactor, 0), "127.0.0.1") as connection:
            handle = connection.handle
            handle.setsockopt(socket.IPPROTO_IPV6, IPV6_ADDRFORM, socket.AF_INET)
            with socket.socket(fileno=handle.dup().detach()) as plain:
                assert plain.family == socket.AF_INET
                assert names(plain) == connection.names
            handle.send(b"still")
            assert connection.client.recv(10) == b"still"
            assert names(handle) == connection.names
            assert connection.transport.getPeer().host == "127.0.0.1"
            assert connection.transport.getHost().host == "127.0.0.1"

    @pytest.mark.not_on_windows("has no IPV6_ADDRFORM")
    @pytest.mark.skipif(sys.platform != "linux", reason="IPV6_ADDRFORM is Linux's")
    def test_the_kernel_refuses_that_for_IPv6(self, reactor: Reactor) -> None:
        with connected(reactor, DualStackServerEndpoint(reactor, 0), "::1") as connection:
            with pytest.raises(OSError) as refused:
                connection.handle.setsockopt(socket.IPPROTO_IPV6, IPV6_ADDRFORM, socket.AF_INET)
            assert refused.value.errno == errno.EADDRNOTAVAIL
            assert names(connection.handle) == connection.names

    @older_pyopenssl_api
    def test_with_tls_the_handle_has_no_names(self, reactor: Reactor, tmp_path: Path) -> None:
        files = Files.written_to(tmp_path)
        creator = connectionCreatorFromFiles(str(files.key), str(files.certificate))
        endpoint = wrapServerTLS(creator, DualStackServerEndpoint(reactor, 0), reactor)
        with connected(reactor, endpoint, "127.0.0.1") as connection:
            with pytest.raises(AttributeError):
                connection.handle.getpeername()
            assert connection.transport.getPeer().host == "127.0.0.1"


@nothing_is_mapped
def test_the_handle_of_twisteds_own_endpoint_leaks(reactor: Reactor) -> None:
    endpoint = TCP6ServerEndpoint(reactor, 0, interface="::")
    with connected(reactor, endpoint, "127.0.0.1") as connection:
        with connection.handle.dup() as copy:
            assert copy.getpeername()[0] == "::ffff:127.0.0.1"
