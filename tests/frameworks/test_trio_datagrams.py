"""Datagrams under Trio: peers as they are, answers from where they were asked, nothing forged."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

import pytest
import trio
from support.frames import udp_over_ipv6, write_frame
from support.namespaces import namespace, needs_root
from support.processes import PATIENCE
from support.reactors import open_descriptors
from support.windows import no_trio

from dsadapter.frameworks import get_framework
from dsadapter.frameworks import trio as dual_stack
from dsadapter.policy import DatagramPolicy
from dsadapter.testing import RecordingPlugin, registered

pytestmark = no_trio

BOTH = ["127.0.0.1", "::1"]


def run(body: Callable[[], Any]) -> Any:
    async def main() -> Any:
        with trio.fail_after(PATIENCE):
            return await body()

    return trio.run(main)


def peer(host: str) -> socket.socket:
    made = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
    made.bind((host, 0))
    made.settimeout(PATIENCE)
    return made


class Resolver(trio.abc.HostnameResolver):
    """Knows one address of every name."""

    async def getaddrinfo(self, host: Any, port: Any, *_: Any) -> list[Any]:
        return [(socket.AF_INET, socket.SOCK_DGRAM, 17, "", ("127.0.0.1", port))]

    async def getnameinfo(self, sockaddr: Any, flags: int) -> tuple[str, str]:
        raise NotImplementedError


def number_of(sock: Any) -> int:
    number: int = sock.getsockname()[1]
    return number


@pytest.mark.parametrize("host", BOTH)
def test_a_peer_is_what_it_is_and_gets_its_answer(host: str) -> None:
    async def main() -> None:
        with await dual_stack.open_udp_socket() as sock, peer(host) as client:
            assert isinstance(sock, trio.socket.SocketType)
            client.sendto(b"question", (host, number_of(sock)))
            data, sender = await sock.recvfrom(5)
            assert data == b"quest"
            assert sender == client.getsockname()[:2]
            for address in (sender, tuple(sender), (*sender, 0, 0)[: 4 if ":" in host else 2]):
                assert await sock.sendto(b"answer", address) == 6
                answer, source = client.recvfrom(100)
                assert (answer, source[:2]) == (b"answer", (host, number_of(sock)))
            assert sock.counters.received == 1

    run(main)


@pytest.mark.parametrize("host", ["127.0.0.1", "::ffff:127.0.0.1", "server.test"])
def test_a_destination_in_any_spelling(host: str) -> None:
    async def main() -> None:
        trio.socket.set_custom_hostname_resolver(Resolver())
        with await dual_stack.open_udp_socket() as sock, peer("127.0.0.1") as client:
            await sock.sendto(b"hello", (host, number_of(client)))
            assert client.recv(100) == b"hello"

    run(main)


def test_an_answer_leaves_from_the_address_that_was_asked() -> None:
    async def main() -> None:
        with await dual_stack.open_udp_socket() as sock, peer("127.0.0.1") as client:
            client.sendto(b"x", ("127.0.0.9", number_of(sock)))
            data, sender, info = await sock.receive_datagram()
            assert (data, info.destination) == (b"x", "127.0.0.9")
            await sock.sendto(b"y", sender)
            assert client.recvfrom(10)[1] == ("127.0.0.9", number_of(sock))
            await sock.send_datagram(b"z", tuple(sender), source="127.0.0.8")
            assert client.recvfrom(10)[1] == ("127.0.0.8", number_of(sock))

    run(main)


@pytest.mark.parametrize("host", BOTH)
def test_a_connected_socket_hears_of_refusals_and_goes_on(host: str) -> None:
    async def main() -> None:
        with await dual_stack.open_udp_socket() as sock, peer(host) as client:
            number = number_of(client)
            await sock.connect((host, number))
            assert sock.getpeername()[:2] == (host, number)
            client.close()
            await sock.send(b"to nobody")
            with pytest.raises(ConnectionRefusedError):
                await sock.recv(100)
            with socket.socket(client.family, socket.SOCK_DGRAM) as again:
                again.bind((host, number))
                again.settimeout(PATIENCE)
                await sock.send(b"again")
                assert again.recvfrom(100)[0] == b"again"
                again.sendto(b"heard", (host, number_of(sock)))
                assert await sock.recv(100) == b"heard"

    run(main)


def test_many_come_in_their_order_and_none_is_lost_to_a_cancel() -> None:
    async def main() -> None:
        with await dual_stack.open_udp_socket() as sock, peer("::1") as client:
            for number in range(100):
                client.sendto(b"%d" % number, ("::1", number_of(sock)))
            got = []
            while len(got) < 100:
                with trio.CancelScope() as scope:
                    if len(got) % 2:
                        scope.cancel()
                    got.append(int(await sock.recv(10)))
                if scope.cancelled_caught:
                    got.append(int(await sock.recv(10)))
            assert got == list(range(100))

    run(main)


def test_waiting_and_closing() -> None:
    async def main() -> None:
        before = open_descriptors()
        sock = await dual_stack.open_udp_socket()
        with trio.move_on_after(0.05) as scope:
            await sock.recvfrom(10)
        assert scope.cancelled_caught
        assert not sock.is_readable()

        async def wait() -> None:
            with pytest.raises(trio.ClosedResourceError):
                await sock.recvfrom(10)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait)
            await trio.testing.wait_all_tasks_blocked()
            sock.close()
        sock.close()
        assert open_descriptors() <= before
        for call in (sock.recv(1), sock.sendto(b"x", ("127.0.0.1", 9))):
            with pytest.raises(OSError, match="Bad file descriptor"):
                await call

    import trio.testing

    run(main)


def test_plugins_are_told_once() -> None:
    async def main() -> None:
        sock = await get_framework("trio").datagram(None, DatagramPolicy("::", 0))()
        sock.close()
        sock.close()

    with registered(RecordingPlugin()) as recording:
        run(main)
    told = [event.hook for event in recording.events]
    assert told == ["before_bind", "listener_opened", "listener_closed"]


@needs_root
def test_a_forged_peer_is_dropped_and_counted() -> None:
    async def main() -> None:
        with await dual_stack.open_udp_socket() as sock, peer("127.0.0.1") as client:
            number = number_of(sock)
            write_frame("lo", udp_over_ipv6("::ffff:127.0.0.1", 99, "::1", number, b"forged"))
            with trio.move_on_after(0.1) as scope:
                await sock.recv(10)
            assert scope.cancelled_caught
            client.sendto(b"real", ("127.0.0.1", number))
            assert await sock.recv(10) == b"real"
            assert (sock.counters.received, sock.counters.forged) == (1, 1)

    with namespace() as place, place.entered():
        run(main)


@pytest.mark.parametrize(
    ("call", "kind", "says"),
    [
        (lambda sock: dual_stack.open_udp_socket(70000), ValueError, "port 70000"),
        (lambda sock: sock.bind(("::", 0)), OSError, "open_udp_socket"),
        (lambda sock: sock.recvmsg(10), OSError, r"receive_datagram\(\)"),
        (lambda sock: sock.sendmsg([b"x"]), OSError, r"send_datagram\(\)"),
        (lambda sock: sock.recvfrom(10, socket.MSG_PEEK), OSError, "flags"),
        (lambda sock: sock.sendto(5, ("127.0.0.1", 9)), TypeError, "bytes-like object is required"),
        (lambda sock: sock.send([1, 2]), TypeError, "bytes-like object is required"),
        (lambda sock: sock.recvfrom(-1), ValueError, "negative buffersize"),
        (lambda sock: sock.sendto(b"x", "127.0.0.1"), ValueError, r"give \(host, port\)"),
        (lambda sock: sock.sendto(b"x", ("127.0.0.01", 9)), ValueError, "leading zeros"),
    ],
)
def test_what_is_not_done_is_said(
    call: Callable[[Any], Any], kind: type[Exception], says: str
) -> None:
    async def main() -> None:
        with await dual_stack.open_udp_socket() as sock:
            with pytest.raises(kind, match=says):
                await call(sock)
            for method in (sock.dup, sock.detach):
                with pytest.raises(OSError):
                    method()

    run(main)
