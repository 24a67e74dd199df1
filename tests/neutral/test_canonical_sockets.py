"""The socket with canonical names, in the hands of servers of any kind."""

from __future__ import annotations

import contextlib
import copy
import errno
import multiprocessing
import pickle
import socket
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from support.certificates import Files
from support.descriptors import open_descriptors
from support.early_peers import DEEDS, Peer, early_peer
from support.ready_workers import accept_one, serve_one, serve_what_comes
from support.seccomp import deny_option_in_this_thread

from dsadapter.policy import ListenPolicy
from dsadapter.sockets.canonical import CanonicalSocket
from dsadapter.sockets.listening import open_listening_sockets

IPV6_ADDRFORM = 1
PATIENCE = 30

HOSTS = pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
RESET = pytest.param("resets", marks=pytest.mark.not_on_windows("accept fails for a reset peer"))
WITH_DEEDS = pytest.mark.parametrize(
    "deed", [RESET if deed == "resets" else deed for deed in DEEDS]
)


@pytest.fixture(
    params=[
        "kernel helps",
        pytest.param("kernel refuses", marks=pytest.mark.not_on_windows("seccomp is Linux's")),
    ]
)
def by_kernel(request: pytest.FixtureRequest) -> Callable[..., Any]:
    """Calls a function where ``IPV6_ADDRFORM`` works, or in a thread for which it fails always."""
    if request.param == "kernel helps":
        return lambda function: function()

    def refused(function: Callable[[], Any]) -> Any:
        def run() -> Any:
            deny_option_in_this_thread(socket.IPPROTO_IPV6, IPV6_ADDRFORM, errno.ENOPROTOOPT)
            return function()

        with ThreadPoolExecutor(1) as thread:
            return thread.submit(run).result()

    return refused


@contextlib.contextmanager
def listening(host: str = "::") -> Iterator[CanonicalSocket]:
    [sock] = open_listening_sockets(ListenPolicy(host, 0)).sockets
    with sock:
        sock.settimeout(PATIENCE)
        yield sock


def port_of(sock: socket.socket) -> int:
    port: int = sock.getsockname()[1]
    return port


def assert_canonical(accepted: socket.socket, address: Any, peer: Peer, deed: str) -> None:
    assert address == peer.name
    assert accepted.getsockname() == peer.server
    if deed == "resets":
        # The kernel has forgotten whom.
        with pytest.raises(OSError):
            accepted.getpeername()
    else:
        assert accepted.getpeername() == peer.name
    assert "::ffff:" not in repr(accepted)


@HOSTS
@WITH_DEEDS
def test_an_accepted_socket_has_canonical_names_whatever_its_peer_did_before(
    host: str, deed: str, by_kernel: Callable[..., Any]
) -> None:
    with listening() as server, early_peer(host, port_of(server), deed) as peer:
        accepted, address = by_kernel(server.accept)
        with accepted, accepted.dup() as duplicate:
            assert_canonical(accepted, address, peer, deed)
            assert_canonical(duplicate, address, peer, deed)
            assert accepted.gettimeout() is None
            if deed != "resets":
                assert accepted.recv(100) == b"request"


@HOSTS
@WITH_DEEDS
def test_who_makes_a_socket_of_its_own_gets_a_canonical_address(
    host: str, deed: str, by_kernel: Callable[..., Any]
) -> None:
    """As gevent does, which calls ``_accept``."""
    with listening() as server, early_peer(host, port_of(server), deed) as peer:
        server.settimeout(0)
        descriptor, address = by_kernel(server._accept)
        with CanonicalSocket(fileno=descriptor) as accepted:
            assert_canonical(accepted, address, peer, deed)


@pytest.mark.not_on_windows("IPV6_ADDRFORM is Linux's")
@HOSTS
@pytest.mark.parametrize("way", ["_accept", "detach"])
def test_a_bare_descriptor_shows_canonical_names_to_every_reader(host: str, way: str) -> None:
    with listening() as server, early_peer(host, port_of(server)) as peer:
        if way == "_accept":
            descriptor, _ = server._accept()
        else:
            accepted, _ = server.accept()
            descriptor = accepted.detach()
            assert accepted.fileno() == -1
        with socket.socket(fileno=descriptor) as plain:
            assert_canonical(plain, plain.getpeername(), peer, "stays")
            assert len(plain.getpeername()) == (2 if host == "127.0.0.1" else 4)
            assert plain.family == (socket.AF_INET if host == "127.0.0.1" else socket.AF_INET6)
            assert plain.recv(100) == b"request"
            plain.sendall(b"answer")
            assert peer.client.recv(100) == b"answer"
        # The socket that listens is what it was.
        with socket.create_connection(("::1", port_of(server))):
            server.accept()[0].close()


def test_a_detached_datagram_socket_stays_dual_stack() -> None:
    """Also one that is connected: it may be connected to another address later."""
    with socket.create_server(("127.0.0.1", 0)) as busy:
        sock = CanonicalSocket(socket.AF_INET6, socket.SOCK_DGRAM)
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        sock.connect(("::ffff:127.0.0.1", busy.getsockname()[1]))
        with socket.socket(fileno=sock.detach()) as plain:
            assert plain.family == socket.AF_INET6


@pytest.mark.parametrize(
    "family",
    [
        pytest.param("AF_UNIX", marks=pytest.mark.not_on_windows("Python has no AF_UNIX there")),
        pytest.param("AF_NETLINK", marks=pytest.mark.not_on_windows("netlink is Linux's")),
        "AF_INET",
    ],
)
def test_names_of_other_families_pass_through(family: str, tmp_path: Path) -> None:
    names: dict[str, Any] = {"AF_UNIX": str(tmp_path / "socket"), "AF_NETLINK": (0, 0)}
    with socket.socket(getattr(socket, family), socket.SOCK_RAW if "LINK" in family else 1) as sock:
        sock.bind(names.get(family, ("127.0.0.1", 0)))
        with CanonicalSocket(fileno=socket.dup(sock.fileno())) as canonical:
            assert canonical.getsockname() == sock.getsockname()


@HOSTS
def test_an_accepted_socket_says_what_it_is_as_a_plain_one_does(host: str) -> None:
    with listening() as server, socket.create_connection((host, port_of(server))):
        accepted, _ = server.accept()
        with accepted, socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as plain:
            for sock in (server, accepted):
                assert sock.family is plain.family
                assert sock.type is plain.type
                assert f"family={plain.family}, type={plain.type}" in repr(sock)


def test_a_socket_of_a_kind_without_a_name_says_its_number() -> None:
    with socket.socket() as plain:
        odd = CanonicalSocket(socket.AF_INET, 77, 0, plain.detach())
    with odd:
        assert (odd.family, odd.type) == (socket.AF_INET, 77)


class TestPickling:
    @pytest.mark.parametrize("through", [copy.copy, copy.deepcopy])
    def test_copies_are_refused(self, through: Any) -> None:
        with listening() as server, pytest.raises(TypeError, match=r"cannot copy .*; dup\(\)"):
            through(server)

    def test_a_plain_pickle_is_refused(self) -> None:
        """Where nobody uses multiprocessing: a cache that pickles what it finds must not keep a
        descriptor open."""
        program = (
            "import pickle\n"
            "from dsadapter.policy import ListenPolicy\n"
            "from dsadapter.sockets.listening import open_listening_sockets\n"
            "[sock] = open_listening_sockets(ListenPolicy('::', 0)).sockets\n"
            "with sock:\n"
            "    try:\n"
            "        pickle.dumps(sock)\n"
            "    except TypeError as error:\n"
            "        print(error)\n"
        )
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
        assert b"cannot pickle 'CanonicalSocket' object" in done.stdout
        assert done.stderr == b""

    def test_a_socket_with_tls_is_refused(self, tmp_path: Path) -> None:
        with listening() as server:
            context = server_context(Files.written_to(tmp_path), server)
            with context.wrap_socket(server, server_side=True) as wrapped:
                with pytest.raises(TypeError, match="cannot pickle 'CanonicalSSLSocket' object"):
                    pickle.dumps(wrapped)


FORKS = pytest.mark.not_on_windows("forks")
METHODS = ["spawn", pytest.param("forkserver", marks=FORKS), pytest.param("fork", marks=FORKS)]


@pytest.fixture(params=METHODS)
def context(request: pytest.FixtureRequest) -> Any:
    return multiprocessing.get_context(request.param)


# Python warns of the threads that a test runner may have.
@pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning")
@HOSTS
@pytest.mark.parametrize("deed", ["stays", "half-closes"])
class TestWorkers:
    def test_a_worker_accepts_canonical_sockets(self, context: Any, host: str, deed: str) -> None:
        with listening() as server, early_peer(host, port_of(server), deed) as peer:
            kind, *names = self.run(context, accept_one, server)
            assert kind == "CanonicalSocket"
            assert names == [peer.name, peer.name, peer.server]
            assert peer.client.recv(100) == b"served"

    def test_a_worker_serves_what_was_accepted(self, context: Any, host: str, deed: str) -> None:
        with listening() as server, early_peer(host, port_of(server), deed) as peer:
            accepted, _ = server.accept()
            with accepted:
                accepted.settimeout(7)
                kind, timeout, *names = self.run(context, serve_one, accepted)
            assert (kind, timeout) == ("CanonicalSocket", 7)
            assert names == [peer.name, peer.server]
            assert peer.client.recv(100) == b"served"

    def test_a_socket_goes_through_a_pipe(self, context: Any, host: str, deed: str) -> None:
        with listening() as server, early_peer(host, port_of(server), deed) as peer:
            accepted, _ = server.accept()
            theirs, ours = context.Pipe()
            with accepted, theirs, ours:
                # It fits into the pipe; a thread that sends would leave its locks to a fork.
                ours.send(accepted)
                _, _, *names = self.run(context, serve_what_comes, theirs)
            assert names == [peer.name, peer.server]
            assert peer.client.recv(100) == b"served"

    @staticmethod
    def run(context: Any, target: Callable[..., None], handed: Any) -> Any:
        reports, report = context.Pipe(duplex=False)
        with reports, report:
            worker = context.Process(target=target, args=(handed, report))
            worker.start()
            try:
                assert reports.poll(PATIENCE)
                return reports.recv()
            finally:
                worker.join(PATIENCE)
                worker.close()


@pytest.mark.not_on_windows("reads /proc")
@pytest.mark.parametrize("method", ["spawn", "fork"])
@pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning")
def test_workers_cost_their_parent_no_descriptor(method: str) -> None:
    context = multiprocessing.get_context(method)
    with listening() as server:
        seen = []
        for _ in range(3):
            with early_peer("127.0.0.1", port_of(server)):
                TestWorkers.run(context, accept_one, server)
            seen.append(len(open_descriptors()))
        assert seen[0] >= seen[1] >= seen[2]


def server_context(files: Files, sock: CanonicalSocket | None) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(files.full_chain, files.key)
    if sock is not None:
        context.sslsocket_class = sock.sslsocket_class
    return context


@contextlib.contextmanager
def tls_peer(files: Files, host: str, port: int, deed: str) -> Iterator[tuple[Peer, Any]]:
    """A client that has its handshake, sends a request and does its deed in another thread."""
    context = ssl.create_default_context(cafile=files.root)
    with socket.create_connection((host, port), timeout=PATIENCE) as client:
        peer = Peer(client, client.getsockname(), client.getpeername())

        def talk() -> None:
            with context.wrap_socket(client, server_hostname="localhost") as secured:
                secured.sendall(b"request")
                if deed == "half-closes":
                    socket.socket.shutdown(secured, socket.SHUT_WR)
                assert secured.recv(100) == b"answer"

        with ThreadPoolExecutor(1) as thread:
            yield peer, thread.submit(talk)


@HOSTS
@pytest.mark.parametrize("deed", ["stays", "half-closes"])
@pytest.mark.parametrize("wrapped", ["accepted", "listening"])
def test_sockets_with_tls_are_canonical(
    host: str, deed: str, wrapped: str, by_kernel: Callable[..., Any], tmp_path: Path
) -> None:
    files = Files.written_to(tmp_path)

    def serve(server: CanonicalSocket) -> tuple[ssl.SSLSocket, Any]:
        context = server_context(files, server)
        if wrapped == "listening":
            with context.wrap_socket(server, server_side=True) as secured:
                accepted, address = secured.accept()
        else:
            plain, address = server.accept()
            accepted = context.wrap_socket(plain, server_side=True)
            assert plain.fileno() == -1
        return accepted, address

    before = open_descriptors()
    with listening() as server:
        with tls_peer(files, host, port_of(server), deed) as (peer, talking):
            accepted, address = by_kernel(lambda: serve(server))
            with accepted:
                assert accepted.recv(100) == b"request"
                assert_canonical(accepted, address, peer, deed)
                accepted.sendall(b"answer")
                talking.result()
    assert open_descriptors() <= before


@pytest.mark.not_on_windows("IPV6_ADDRFORM is Linux's")
@HOSTS
def test_a_context_that_nobody_told_shows_the_names_that_the_kernel_has_made_canonical(
    host: str, tmp_path: Path
) -> None:
    files = Files.written_to(tmp_path)
    with listening() as server:
        with tls_peer(files, host, port_of(server), "stays") as (peer, talking):
            plain, address = server.accept()
            with server_context(files, None).wrap_socket(plain, server_side=True) as accepted:
                assert type(accepted) is ssl.SSLSocket
                assert_canonical(accepted, address, peer, "stays")
                assert accepted.recv(100) == b"request"
                accepted.sendall(b"answer")
                talking.result()


def test_garbage_instead_of_tls_leaves_nothing_open(tmp_path: Path) -> None:
    files = Files.written_to(tmp_path)
    before = open_descriptors()
    with listening() as server:
        context = server_context(files, server)
        with context.wrap_socket(server, server_side=True) as secured:
            with early_peer("127.0.0.1", port_of(secured), request=b"GET / HTTP/1.0\r\n\r\n"):
                with pytest.raises(ssl.SSLError):
                    secured.accept()
    assert open_descriptors() <= before
