"""A pair of sockets replaced by one, and back, while clients connect; what is refused."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.namespaces import OwnLoopback, needs_root
from support.under_load import BOTH, Load, Serving, ask, connections, dual, gentle, pair

from dsadapter.handover import (
    Succession,
    can_unpark,
    drain,
    is_parked,
    park,
    replace,
    unpark,
)

pytestmark = pytest.mark.not_on_windows("connections are parked by Linux's SO_REUSEPORT")
COOKIES = Path("/proc/sys/net/ipv4/tcp_syncookies")


@pytest.fixture
def alone() -> Iterator[None]:
    """A loopback of its own."""
    with OwnLoopback().entered():
        yield


def as_nobody(what: Callable[[], None]) -> None:
    """Call it in a child that has no rights."""
    child = os.fork()
    if not child:
        try:
            if os.getuid() == 0:
                os.setresuid(65534, 65534, 65534)
            what()
        except BaseException as error:
            os.write(2, repr(error).encode())
            os._exit(1)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0


@needs_root
@pytest.mark.parametrize("cookies", ["0", "1", "2"])
def test_a_pair_is_replaced_and_put_back_without_a_loss(alone: None, cookies: str) -> None:
    """Of 10,000 by CUTOVER_CONNECTIONS=10000."""
    COOKIES.write_text(cookies)
    wanted, rounds = connections(600), 4
    old = Serving(b"pair", pair())
    load = Load(old.port, pause=gentle())
    try:
        for number in range(rounds):
            load.until(old.name, wanted // rounds)
            make, name = (pair, b"pair") if number % 2 else (dual, b"dual")
            new = Serving(name, make(old.port))
            assert replace(old.sockets, new.sockets, pause=0.05)
            for host in BOTH:
                assert ask(host, old.port) == new.name
            old.end()
            old = new
        load.until_total(wanted)
    finally:
        load.end()
        old.end()
    assert load.lost == []
    assert load.total >= wanted


@needs_root
@pytest.mark.parametrize("shape", ["pair", "dual"])
def test_what_was_parked_is_put_back_without_a_loss(alone: None, shape: str) -> None:
    """The old sockets stay open, and take over again."""
    before, after = (pair, dual) if shape == "pair" else (dual, pair)
    old = Serving(b"old", before())
    new = Serving(b"new", after(old.port))
    load = Load(old.port, pause=gentle())
    try:
        load.until(b"old", 100)
        assert replace(old.sockets, new.sockets, pause=0.05)
        assert all(map(is_parked, old.sockets))
        load.until(b"new", 100)
        assert replace(new.sockets, old.sockets, pause=0.05)
        assert not any(map(is_parked, old.sockets))
        new.end()
        load.until(b"old", 100)
    finally:
        load.end()
        old.end()
        new.end()
    assert load.lost == []


@pytest.mark.parametrize("make", [pair, dual])
def test_one_group_is_steered_both_ways_without_any_right(
    make: Callable[..., list[socket.socket]],
) -> None:
    def there_and_back() -> None:
        old = Serving(b"old", make())
        new = Serving(b"new", make(old.port))
        try:
            there = Succession(old.sockets, new.sockets)
            assert not there.parks
            there.start()
            assert {ask(host, old.port) for host in BOTH for _ in range(30)} == {b"new"}
            there.undo()
            assert {ask(host, old.port) for host in BOTH for _ in range(60)} == {b"old", b"new"}
            back = Succession(new.sockets, old.sockets, earlier=True)
            back.start()
            assert {ask(host, old.port) for host in BOTH for _ in range(30)} == {b"old"}
            assert back.wait(pause=0.01)
        finally:
            old.end()
            new.end()

    as_nobody(there_and_back)


@needs_root
def test_what_is_parked_before_it_listens_takes_over_alone(alone: None) -> None:
    """Others of its place are parked still."""
    kept = pair()
    port = kept[0].getsockname()[1]
    first = Serving(b"first", dual(port))
    assert replace(kept, first.sockets, pause=0.01)
    second = Serving(b"second", pair(port, behind=first.sockets))
    try:
        assert {ask(host, port) for host in BOTH for _ in range(30)} == {b"first"}
        assert replace(first.sockets, second.sockets, pause=0.01)
        assert {ask(host, port) for host in BOTH for _ in range(30)} == {b"second"}
    finally:
        first.end()
        second.end()
    for sock in kept:
        sock.close()


@needs_root
def test_a_socket_is_steered_where_one_of_another_kind_is_parked(alone: None) -> None:
    """Two servers, of a pair and of one socket, are replaced by one socket at once."""
    first = Serving(b"pair", pair())
    second = Serving(b"dual", dual(first.port))
    new = Serving(b"new", dual(first.port))
    try:
        assert replace([*first.sockets, *second.sockets], new.sockets, pause=0.01)
        assert {ask(host, first.port) for host in BOTH for _ in range(30)} == {b"new"}
    finally:
        for each in (first, second, new):
            each.end()


@needs_root
def test_connections_that_wait_keep_the_old_sockets_open(alone: None) -> None:
    old = pair()
    port = old[0].getsockname()[1]
    new = Serving(b"new", dual(port, reuse_port=True))
    clients = [socket.create_connection((host, port)) for host in BOTH]
    assert not replace(old, new.sockets, pause=0.01, timeout=0.05)
    # As it was: the next one comes to the old ones.
    assert not any(map(is_parked, old))
    clients.append(socket.create_connection(("127.0.0.1", port)))
    for sock, count in zip(old, (2, 1), strict=True):
        for _ in range(count):
            sock.accept()[0].close()
    assert replace(old, new.sockets, pause=0.01)
    new.end()
    for sock in (*old, *clients):
        sock.close()


def test_nothing_is_parked_before_its_place_is_taken() -> None:
    old = pair()
    port = old[0].getsockname()[1]
    bound = socket.socket(socket.AF_INET6)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    bound.bind(("::", port))
    both = pair(port)
    one_family = both[:1]
    both[1].close()
    elsewhere = dual()
    for new, missing in (
        ([], [f"0.0.0.0:{port}", f"[::]:{port}"]),
        ([bound], [f"0.0.0.0:{port}", f"[::]:{port}"]),
        (one_family, [f"[::]:{port}"]),
        (elsewhere, [f"0.0.0.0:{port}", f"[::]:{port}"]),
        (old, [f"0.0.0.0:{port}", f"[::]:{port}"]),
    ):
        for attempt in (
            lambda new=new: park(old, new, one_way=True),
            lambda new=new: replace(old, new, one_way=True),
        ):
            with pytest.raises(OSError) as caught:
                attempt()
            assert caught.value.errno == errno.EADDRNOTAVAIL
            assert " and ".join(missing) in str(caught.value)
            assert not any(map(is_parked, old))
    for sock in (*old, bound, *one_family, *elsewhere):
        sock.close()


def test_without_the_right_it_goes_one_way_only() -> None:
    def one_way() -> None:
        assert not can_unpark()
        old = pair()
        new = Serving(b"new", dual(old[0].getsockname()[1]))
        try:
            for attempt in (lambda: park(old, new.sockets), lambda: replace(old, new.sockets)):
                with pytest.raises(PermissionError, match="CAP_NET_RAW"):
                    attempt()
                assert not any(map(is_parked, old))
            assert replace(old, new.sockets, pause=0.01, one_way=True)
            assert {ask(host, new.port) for host in BOTH} == {b"new"}
            with pytest.raises(PermissionError):
                unpark(old)
        finally:
            new.end()

    as_nobody(one_way)


def test_sockets_of_one_group_are_not_parked() -> None:
    old = dual()
    new = dual(old[0].getsockname()[1])
    with pytest.raises(OSError, match=r"steer\(\)"):
        park(old, new, one_way=True)
    assert not is_parked(old[0])
    for sock in (*old, *new):
        sock.close()


@needs_root
def test_a_socket_of_one_interface_is_not_parked(alone: None) -> None:
    old = pair()
    old[0].setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"lo")
    new = dual(old[0].getsockname()[1])
    with pytest.raises(OSError, match="is bound to an interface"):
        park(old, new)
    assert not any(map(is_parked, old))
    for sock in (*old, *new):
        sock.close()


@needs_root
def test_datagrams_go_to_the_new_socket_and_those_that_wait_are_read(alone: None) -> None:
    old = datagram_pair()
    port = old[0].getsockname()[1]
    client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    client.settimeout(20)
    client.sendto(b"1", ("127.0.0.1", port))
    new = datagram_dual(port)
    park(old, [new])
    client.sendto(b"2", ("127.0.0.1", port))
    assert not drain(old, pause=0.01, timeout=0.02)
    data, peer = old[0].recvfrom(10)
    assert data == b"1"
    with pytest.raises(OSError) as caught:
        old[0].sendto(b"answer", peer)
    assert caught.value.errno == errno.ENODEV
    assert drain(old, pause=0.01)
    assert new.recv(10) == b"2"
    new.sendto(b"answer", (f"::ffff:{peer[0]}", peer[1]))
    assert client.recv(10) == b"answer"
    unpark(old)
    client.sendto(b"3", ("127.0.0.1", port))
    assert old[0].recv(10) == b"3"
    for sock in (*old, new, client):
        sock.close()


def datagram_pair(port: int = 0) -> list[socket.socket]:
    ipv4 = datagram_socket(socket.AF_INET, "0.0.0.0", port)
    return [ipv4, datagram_socket(socket.AF_INET6, "::", ipv4.getsockname()[1], v6only=True)]


def datagram_dual(port: int) -> socket.socket:
    return datagram_socket(socket.AF_INET6, "::", port, v6only=False)


def datagram_socket(family: int, host: str, port: int, v6only: bool = False) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_DGRAM)
    sock.settimeout(20)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    if family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, v6only)
    sock.bind((host, port))
    return sock
