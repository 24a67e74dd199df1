"""Datagrams under asyncio: peers as they are, answers from where they were asked, on every loop."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import inspect
import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest
from support.faults import Faults
from support.loop_servers import Run, until
from support.namespaces import needs_root
from support.processes import PATIENCE
from support.reactors import open_descriptors
from support.windows import IGNORES_SOURCES, NO_REFUSALS, WINE, lacking_in_wine, own_udp_address

from dsadapter.frameworks import asyncio as dual_stack
from dsadapter.frameworks import get_framework
from dsadapter.policy import DatagramPolicy
from dsadapter.testing import RecordingPlugin, registered

BOTH = ["127.0.0.1", "::1"]


class Recorder(asyncio.DatagramProtocol):
    def __init__(self) -> None:
        self.got: list[tuple[bytes, Any]] = []
        self.errors: list[Exception] = []
        self.lost: list[Any] = []
        self.pauses: list[str] = []

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self.got.append((data, addr))

    def error_received(self, exc: Exception) -> None:
        self.errors.append(exc)

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost.append(exc)

    def pause_writing(self) -> None:
        self.pauses.append("pause")

    def resume_writing(self) -> None:
        self.pauses.append("resume")


class Echo(Recorder):
    def datagram_received(self, data: bytes, addr: Any) -> None:
        super().datagram_received(data, addr)
        # A copy by value, as a queue would hand it on.
        self.transport.sendto(data, tuple(addr) if len(addr) == 4 else addr)


class Informed(Recorder):
    def packet_received(self, data: bytes, addr: Any, info: Any) -> None:
        self.got.append((data, (addr, info)))


@contextlib.asynccontextmanager
async def endpoint(protocol: Any, *args: Any, **options: Any) -> AsyncIterator[Any]:
    transport, made = await dual_stack.create_datagram_endpoint(lambda: protocol, *args, **options)
    assert made is protocol
    try:
        yield transport
    finally:
        transport.close()
        await until(lambda: protocol.lost)


def peer(host: str) -> socket.socket:
    made = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
    made.bind((host, 0))
    made.settimeout(PATIENCE)
    return made


def number_of(transport: Any) -> int:
    number: int = transport.get_extra_info("sockname")[1]
    return number


@pytest.mark.parametrize("host", BOTH)
@pytest.mark.parametrize("local_addr", [None, ("", 0), ("::", 0)])
def test_a_peer_is_what_it_is_and_gets_its_answer(run: Run, host: str, local_addr: Any) -> None:
    async def main() -> None:
        echo = Echo()
        async with endpoint(echo, local_addr) as transport:
            with peer(host) as client:
                client.sendto(b"question", (host, number_of(transport)))
                await until(lambda: echo.got)
                assert echo.got == [(b"question", client.getsockname())]
                answer, source = client.recvfrom(100)
                assert answer == b"question"
                assert source[:2] == (host, number_of(transport))
            assert transport.counters.received == 1

    run(main)


@lacking_in_wine(IGNORES_SOURCES)
def test_an_answer_leaves_from_the_address_that_was_asked(run: Run) -> None:
    async def main() -> None:
        echo = Echo()
        async with endpoint(echo) as transport:
            with peer("127.0.0.1") as client:
                client.sendto(b"x", ("127.0.0.7", number_of(transport)))
                await until(lambda: echo.got)
                assert client.recvfrom(100)[1] == ("127.0.0.7", number_of(transport))

    run(main)


@pytest.mark.parametrize(("host", "asked"), [("127.0.0.1", "127.0.0.9"), ("::1", "::1")])
def test_packet_information_for_who_asks(run: Run, host: str, asked: str) -> None:
    async def main() -> None:
        informed = Informed()
        async with endpoint(informed) as transport:
            with peer(host) as client:
                client.sendto(b"x", (asked, number_of(transport)))
                await until(lambda: informed.got)
                [(data, (addr, info))] = informed.got
                assert (data, addr) == (b"x", client.getsockname())
                assert info.destination == asked
                assert info.interface_name == socket.if_indextoname(1)
                assert info.hop_limit == (None if WINE and ":" not in host else 64)

    run(main)


@pytest.mark.parametrize("host", BOTH)
def test_one_peer_only(run: Run, host: str) -> None:
    async def main() -> None:
        recorder = Recorder()
        with peer(host) as other:
            async with endpoint(recorder, remote_addr=other.getsockname()[:2]) as transport:
                assert transport.get_extra_info("peername") == other.getsockname()
                transport.sendto(b"hello")
                data, us = other.recvfrom(100)
                assert data == b"hello"
                other.sendto(b"back", us)
                await until(lambda: recorder.got)
                assert recorder.got == [(b"back", other.getsockname())]
                with pytest.raises(ValueError, match="is connected to"):
                    transport.sendto(b"x", ("127.0.0.99", 9))

    run(main)


@pytest.mark.not_on_windows(NO_REFUSALS)
@pytest.mark.parametrize("host", BOTH)
def test_a_refusal_is_told_and_the_port_hears_again(run: Run, host: str) -> None:
    async def main() -> None:
        with peer(host) as gone:
            address = gone.getsockname()[:2]
        recorder = Recorder()
        async with endpoint(recorder, remote_addr=address) as transport:
            transport.sendto(b"into the void")
            await until(lambda: recorder.errors)
            assert isinstance(recorder.errors[0], ConnectionRefusedError)
            kind = socket.AF_INET6 if ":" in host else socket.AF_INET
            with socket.socket(kind, socket.SOCK_DGRAM) as back:
                back.bind(address)
                back.settimeout(PATIENCE)
                # Whatever the first has met, this one arrives.
                transport.sendto(b"again")
                data, us = back.recvfrom(100)
                assert data == b"again"
                back.sendto(b"heard", us)
                await until(lambda: recorder.got)

    run(main)


def test_a_protocol_that_fails_gets_the_next_datagram(run: Run) -> None:
    class Failing(Recorder):
        def datagram_received(self, data: bytes, addr: Any) -> None:
            super().datagram_received(data, addr)
            raise RuntimeError("no")

    async def main() -> None:
        told: list[Any] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
        failing = Failing()
        async with endpoint(failing) as transport:
            with peer("::1") as client:
                for _ in range(3):
                    client.sendto(b"x", ("::1", number_of(transport)))
                await until(lambda: len(failing.got) == 3)
        assert len(told) == 3
        assert all(isinstance(context["exception"], RuntimeError) for context in told)

    run(main)


def test_what_the_kernel_has_no_room_for_waits(run: Run) -> None:
    async def main() -> None:
        sender = Recorder()
        received = Recorder()
        async with endpoint(received, max_packet_size=65000) as there:
            there.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
            async with endpoint(sender) as transport:
                transport.get_extra_info("socket").setsockopt(
                    socket.SOL_SOCKET, socket.SO_SNDBUF, 1
                )
                transport.set_write_buffer_limits(high=0)
                for _ in range(20):
                    transport.sendto(bytes(60000), ("127.0.0.1", number_of(there)))
                await until(lambda: transport.get_write_buffer_size() == 0)
                assert sender.pauses in ([], ["pause", "resume"] * (len(sender.pauses) // 2))

    run(main)


@needs_root
def test_an_address_that_is_none_does_not_keep_what_waits_behind_it(run: Run) -> None:
    faults = Faults("sendto")

    async def main() -> None:
        told: list[dict[str, Any]] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
        received = Recorder()
        async with endpoint(received) as there, endpoint(Recorder()) as transport:
            faults.fail("sendto", errno.EAGAIN)
            address = "127.0.0.1", number_of(there)
            transport.sendto(b"first", address)
            transport.sendto(b"second", ("nowhere.example", 9))
            transport.sendto(b"third", address)
            await until(lambda: len(received.got) == 2)
            assert [data for data, _ in received.got] == [b"first", b"third"]
            assert transport.get_write_buffer_size() == 0
        [context] = told
        assert "'nowhere.example' is not an address literal" in str(context["exception"])

    faults.run(lambda: run(main))


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        pytest.param(
            "127.0.0.7,::1,127.0.0.9",
            marks=own_udp_address,
        ),
    ],
)
def test_several_addresses_are_answered_from_where_they_were_asked(run: Run, host: str) -> None:
    hosts = BOTH if host == "localhost" else host.split(",")

    async def main() -> None:
        before = open_descriptors()
        echo = Echo()
        async with endpoint(echo, (host, 0)) as transport:
            sockets = transport.get_extra_info("sockets")
            assert [sock.getsockname()[0] for sock in sockets] == hosts
            assert {sock.getsockname()[1] for sock in sockets} == {number_of(transport)}
            assert transport.get_extra_info("socket") is sockets[0]
            for asked in hosts:
                with peer("::1" if ":" in asked else "127.0.0.1") as client:
                    client.connect((asked, number_of(transport)))
                    client.send(b"x")
                    got = len(echo.got)
                    await until(lambda got=got: len(echo.got) > got)
                    assert client.recv(10) == b"x"
            assert transport.counters.received == len(hosts)
        await asyncio.sleep(0)
        assert open_descriptors() <= before

    run(main)


@pytest.mark.parametrize("host", [*BOTH, "::ffff:127.0.0.1"])
def test_of_several_addresses_one_is_bound_for_one_peer(run: Run, host: str) -> None:
    """As the loop's own does for ``localhost``."""
    family = host.removeprefix("::ffff:")

    async def main() -> None:
        recorder = Recorder()
        with peer(family) as other:
            number = other.getsockname()[1]
            async with endpoint(recorder, ("localhost", 0), (host, number)) as transport:
                assert transport.get_extra_info("sockname")[0] == family
                assert len(transport.get_extra_info("sockets")) == 1
                transport.sendto(b"x")
                _, address = other.recvfrom(10)
                other.sendto(b"y", address)
                await until(lambda: recorder.got)

    run(main)


@needs_root
def test_each_of_several_sockets_waits_for_its_own_room(run: Run) -> None:
    faults = Faults("sendto")

    async def main() -> None:
        received = Recorder()
        async with (
            endpoint(received, ("localhost", 0)) as there,
            endpoint(Recorder(), ("localhost", 0)) as transport,
        ):
            for host in ("::1", "127.0.0.1"):
                faults.fail("sendto", errno.EAGAIN, times=2)
                for data in (b"first", b"second"):
                    transport.sendto(host.encode() + data, (host, number_of(there)))
            await until(lambda: len(received.got) == 4)
            assert transport.get_write_buffer_size() == 0

    faults.run(lambda: run(main))


@pytest.mark.not_on_windows("a datagram socket that is shut down is not readable there")
def test_one_of_several_sockets_that_ends_ends_the_transport(run: Run) -> None:
    async def main() -> None:
        before = open_descriptors()
        told: list[Any] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
        recorder = Recorder()
        transport, _ = await dual_stack.create_datagram_endpoint(lambda: recorder, ("localhost", 0))
        descriptor = transport.get_extra_info("sockets")[1].fileno()
        with socket.fromfd(descriptor, socket.AF_INET6, socket.SOCK_DGRAM) as same:
            with contextlib.suppress(OSError):
                same.shutdown(socket.SHUT_RDWR)
            await until(lambda: recorder.lost)
        assert "of no more use" in told[0]["message"]
        assert open_descriptors() <= before

    run(main)


def test_closing_is_told_once_and_leaves_nothing(run: Run) -> None:
    async def main() -> None:
        for _ in range(2):
            before = open_descriptors()
            for end in ("close", "abort"):
                recorder = Recorder()
                transport, _ = await dual_stack.create_datagram_endpoint(lambda r=recorder: r)
                getattr(transport, end)()
                getattr(transport, end)()
                assert transport.is_closing()
                transport.sendto(b"too late", ("127.0.0.1", 9))
                await until(lambda r=recorder: r.lost)
                assert recorder.lost == [None]
            await asyncio.sleep(0)
        assert len(open_descriptors()) <= len(before)

    run(main)


def test_plugins_are_told(run: Run) -> None:
    async def main() -> None:
        async with endpoint(Recorder()):
            pass

    with registered(RecordingPlugin()) as recording:
        run(main)
    assert [e.hook for e in recording.events] == [
        "before_bind",
        "listener_opened",
        "listener_closed",
    ]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"local_addr": ("a.example", 0)}, "'a.example'"),
        pytest.param(
            {"local_addr": ("127.0.0.1,127.0.0.2", 0), "remote_addr": ("::1", 9)},
            "port of several addresses .* has no one peer; bind one address",
            marks=own_udp_address,
        ),
        ({"local_addr": ("", 99999)}, "port 99999"),
        ({"reuse_port": "yes"}, "reuse_port 'yes' is neither True nor False"),
        ({"family": 99}, "family 99"),
        ({"max_packet_size": 0}, "max_packet_size 0"),
        ({"remote_addr": ("127.1", 80)}, "'127.1'"),
        ({"remote_addr": ("::1", 99999)}, "port 99999"),
        ({"allow_broadcast": "no"}, "allow_broadcast 'no' is neither True nor False"),
        ({"local_addr": ("127.0.0.1", 0), "remote_addr": ("::1", 9)}, "is IPv6"),
    ],
)
def test_what_is_wrong_is_named(options: dict[str, Any], says: str) -> None:
    async def main() -> None:
        before = open_descriptors()
        with pytest.raises(ValueError, match=says):
            await dual_stack.create_datagram_endpoint(Recorder, **options)
        assert open_descriptors() <= before

    asyncio.run(main())


def test_a_name_is_not_looked_up_where_the_flags_say_so() -> None:
    async def main() -> None:
        with pytest.raises(socket.gaierror, match="'localhost' is a name, and flags"):
            await dual_stack.create_datagram_endpoint(
                Recorder, remote_addr=("localhost", 9), flags=socket.AI_NUMERICHOST
            )

    asyncio.run(main())


def test_the_signature_is_that_of_the_running_Python() -> None:
    def parameters(function: Any) -> dict[str, Any]:
        found = inspect.signature(function).parameters
        return {name: (p.kind, p.default) for name, p in found.items() if name != "self"}

    ours = parameters(dual_stack.create_datagram_endpoint)
    assert ours.pop("max_packet_size") == (inspect.Parameter.KEYWORD_ONLY, 8192)
    assert ours.pop("device") == (inspect.Parameter.KEYWORD_ONLY, None)
    assert ours == parameters(asyncio.SelectorEventLoop.create_datagram_endpoint)


def test_the_registry_has_it() -> None:
    async def main() -> None:
        echo = Echo()
        transport, _ = await get_framework("asyncio").datagram(None, DatagramPolicy("::", 0))(
            lambda: echo
        )
        with peer("127.0.0.1") as client:
            client.sendto(b"x", ("127.0.0.1", number_of(transport)))
            await until(lambda: echo.got)
        transport.close()
        await until(lambda: echo.lost)

    asyncio.run(main())
