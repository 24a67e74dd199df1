"""asyncio's datagram transports beside the loop's own: what ``DatagramTransport`` promises, sockets
of the caller's, shared ports, refusals."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from support.faults import Faults
from support.loop_servers import Run, until
from support.namespaces import needs_root
from support.peers import peer
from support.processes import PATIENCE
from support.reactors import open_descriptors
from support.windows import IGNORES_SOURCES, NO_REFUSALS, lacking_in_wine

from dsadapter import hookimpl
from dsadapter.frameworks import asyncio as dual_stack
from dsadapter.testing import registered

BOTH = ["127.0.0.1", "::1"]


async def the_loops_own(factory: Any, *args: Any, **options: Any) -> Any:
    loop = asyncio.get_running_loop()
    return await loop.create_datagram_endpoint(factory, *args, **options)


OURS = dual_stack.create_datagram_endpoint
WHOSE = pytest.mark.parametrize("make", [OURS, the_loops_own])
"""A test of both says that they do the same."""


class Recorder(asyncio.DatagramProtocol):
    def __init__(self) -> None:
        self.got: list[tuple[bytes, Any]] = []
        self.told: list[Any] = []

    def connection_made(self, transport: Any) -> None:
        self.told.append("made")
        self.transport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self.got.append((data, addr))

    def error_received(self, exc: Exception) -> None:
        self.told.append(exc)

    def connection_lost(self, exc: Exception | None) -> None:
        self.told.append(("lost", exc))

    def pause_writing(self) -> None:
        self.told.append("pause")

    def resume_writing(self) -> None:
        self.told.append("resume")


LOST = ("lost", None)


@contextlib.asynccontextmanager
async def endpoint(make: Any, protocol: Any, *args: Any, **options: Any) -> AsyncIterator[Any]:
    transport, made = await make(lambda: protocol, *args, **options)
    assert made is protocol
    try:
        yield transport
    finally:
        transport.abort()
        await until(lambda: LOST in protocol.told)


def number_of(transport: Any) -> int:
    number: int = transport.get_extra_info("sockname")[1]
    return number


def nothing_waits(sock: socket.socket) -> bool:
    sock.setblocking(False)
    try:
        sock.recv(100)
    except BlockingIOError:
        return True
    return False


@WHOSE
class TestTransport:
    def test_its_parts(self, run: Run, make: Any) -> None:
        async def main() -> None:
            protocol = Recorder()
            async with endpoint(make, protocol, ("127.0.0.1", 0)) as transport:
                assert protocol.told == ["made"]
                assert protocol.transport is transport
                assert transport.get_protocol() is protocol
                name = transport.get_extra_info("sockname")
                assert name[0] == "127.0.0.1"
                sock = transport.get_extra_info("socket")
                assert sock.getsockname() == name
                assert sock.type == socket.SOCK_DGRAM
                assert transport.get_extra_info("peername") is None
                assert transport.get_extra_info("nothing", "default") == "default"
                assert not transport.is_closing()
                assert transport.get_write_buffer_size() == 0
                other = Recorder()
                transport.set_protocol(other)
                with peer("127.0.0.1") as client:
                    client.sendto(b"x", name)
                    await until(lambda: other.got)
                    assert other.got == [(b"x", client.getsockname())]
                assert protocol.got == []
                transport.set_protocol(protocol)

        run(main)

    def test_it_receives_nothing_once_it_is_closing(self, run: Run, make: Any) -> None:
        async def main() -> None:
            protocol = Recorder()
            transport, _ = await make(lambda: protocol, ("127.0.0.1", 0))
            with peer("127.0.0.1") as client:
                client.sendto(b"x", transport.get_extra_info("sockname"))
                transport.close()
                transport.close()
                assert transport.is_closing()
                await until(lambda: LOST in protocol.told)
            assert protocol.got == []
            assert protocol.told == ["made", LOST]

        run(main)

    @pytest.mark.parametrize("end", ["close", "abort"])
    def test_a_protocol_that_ends_it_gets_nothing_more(self, run: Run, make: Any, end: str) -> None:
        class Ending(Recorder):
            def datagram_received(self, data: bytes, addr: Any) -> None:
                super().datagram_received(data, addr)
                getattr(transport, end)()

        async def main() -> None:
            nonlocal transport
            protocol = Ending()
            transport, _ = await make(lambda: protocol, ("127.0.0.1", 0))
            with peer("127.0.0.1") as client:
                for number in range(100):
                    client.sendto(b"%d" % number, transport.get_extra_info("sockname"))
                await until(lambda: LOST in protocol.told)
            assert [data for data, *_ in protocol.got] == [b"0"]

        transport: Any = None
        run(main)

    @pytest.mark.parametrize("end", ["close", "abort"])
    def test_a_protocol_that_ends_it_when_it_is_made(self, run: Run, make: Any, end: str) -> None:
        class Ending(Recorder):
            def connection_made(self, transport: Any) -> None:
                super().connection_made(transport)
                getattr(transport, end)()

        async def main() -> None:
            loop = asyncio.get_running_loop()
            protocol = Ending()
            await make(lambda: protocol, ("127.0.0.1", 0))
            await until(lambda: LOST in protocol.told)
            assert protocol.told == ["made", LOST]
            # The loop watches whatever has its descriptor's number now.
            near, far = socket.socketpair()
            with near, far:
                near.setblocking(False)
                hearing = asyncio.ensure_future(loop.sock_recv(near, 10))
                await asyncio.sleep(0)
                far.send(b"x")
                assert await asyncio.wait_for(hearing, PATIENCE) == b"x"

        run(main)

    def test_another_protocol_gets_the_rest_of_what_has_come(self, run: Run, make: Any) -> None:
        class First(Recorder):
            def datagram_received(self, data: bytes, addr: Any) -> None:
                super().datagram_received(data, addr)
                self.transport.set_protocol(second)

        class Informed(Recorder):
            datagram_received: Any = None

            def packet_received(self, data: bytes, addr: Any, info: Any) -> None:
                self.got.append((data, addr))

        async def main() -> None:
            nonlocal second
            for second in (Recorder(), Informed() if make is OURS else Recorder()):
                first = First()
                async with endpoint(make, first, ("127.0.0.1", 0)) as transport:
                    with peer("127.0.0.1") as client:
                        for data in (b"1", b"2", b"3"):
                            client.sendto(data, transport.get_extra_info("sockname"))
                        await until(lambda second=second: len(second.got) == 2)
                    assert [data for data, _ in first.got] == [b"1"]
                    assert [data for data, _ in second.got] == [b"2", b"3"]
                    transport.set_protocol(first)

        second: Any = None
        run(main)

    @pytest.mark.parametrize("data", ["text", 7])
    def test_what_is_no_bytes(self, run: Run, make: Any, data: Any) -> None:
        async def main() -> None:
            async with endpoint(make, Recorder(), ("127.0.0.1", 0)) as transport:
                with pytest.raises(TypeError):
                    transport.sendto(data, ("127.0.0.1", 9))

        run(main)

    @pytest.mark.parametrize(
        "address", [5, ("::1",), ([], 9), (["::1"], 9, 0, 3), (1, 9, 0, 3), (b"::1", 9, 0, 3)]
    )
    def test_what_is_no_address(self, run: Run, make: Any, address: Any) -> None:
        async def main() -> None:
            async with endpoint(make, Recorder(), ("127.0.0.1", 0)) as transport:
                with pytest.raises(ValueError, match=r"give (an address literal|.host, port.)"):
                    transport.sendto(b"x", address)

        if make is OURS:
            run(main)

    def test_an_error_of_sending_is_told_to_the_protocol(self, run: Run, make: Any) -> None:
        async def main() -> None:
            protocol = Recorder()
            async with endpoint(make, protocol, ("127.0.0.1", 0)) as transport:
                transport.sendto(bytes(70000), ("127.0.0.1", 9))
                await until(lambda: len(protocol.told) > 1)
                assert isinstance(protocol.told[1], OSError)

        run(main)

    @pytest.mark.parametrize("limits", [{"high": 1, "low": 2}, {"high": -1}])
    def test_limits_that_are_none(self, run: Run, make: Any, limits: dict[str, int]) -> None:
        async def main() -> None:
            async with endpoint(make, Recorder(), ("127.0.0.1", 0)) as transport:
                with pytest.raises(ValueError, match="must be >="):
                    transport.set_write_buffer_limits(**limits)
                transport.set_write_buffer_limits(high=1000)
                if hasattr(transport, "get_write_buffer_limits"):
                    assert transport.get_write_buffer_limits() == (250, 1000)

        run(main)

    @pytest.mark.not_on_windows(NO_REFUSALS)
    @pytest.mark.parametrize("host", BOTH)
    def test_a_refusal_is_told_and_the_next_is_sent(self, run: Run, make: Any, host: str) -> None:
        async def main() -> None:
            with peer(host) as gone:
                address = gone.getsockname()[:2]
            protocol = Recorder()
            async with endpoint(make, protocol, remote_addr=address) as transport:
                transport.sendto(b"into the void")
                await until(lambda: len(protocol.told) > 1)
                assert isinstance(protocol.told[1], ConnectionRefusedError)
                with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, 2) as back:
                    back.bind(address)
                    back.settimeout(PATIENCE)
                    transport.sendto(b"again")
                    data, us = back.recvfrom(100)
                    assert data == b"again"
                    back.sendto(b"heard", us)
                    # libuv, left to itself, does not listen any more.
                    if make is OURS or "uvloop" not in repr(run):
                        await until(lambda: protocol.got)

        run(main)


@needs_root
class TestFullBuffers:
    """The kernel has no room for a datagram, until it has."""

    @pytest.fixture
    def faults(self) -> Faults:
        return Faults("sendto")

    @WHOSE
    def test_a_protocol_is_paused_and_resumed(self, run: Run, make: Any, faults: Faults) -> None:
        async def main() -> None:
            protocol = Recorder()
            async with endpoint(make, protocol, ("127.0.0.1", 0)) as transport:
                # CPython 3.13 keeps counting eight bytes of what has gone.
                transport.set_write_buffer_limits(high=100, low=40)
                faults.always("sendto", errno.EAGAIN)
                transport.sendto(bytes(60), ("127.0.0.1", 9))
                assert transport.get_write_buffer_size() in (60, 68)
                assert protocol.told == ["made"]
                for _ in range(2):
                    transport.sendto(bytes(60), ("127.0.0.1", 9))
                assert transport.get_write_buffer_size() >= 180
                assert protocol.told == ["made", "pause"]
                faults.heal()
                await until(lambda: "resume" in protocol.told)
                assert protocol.told == ["made", "pause", "resume"]

        # libuv sends by another call.
        if make is OURS or "uvloop" not in repr(run):
            faults.run(lambda: run(main))

    def test_lower_limits_pause_at_once(self, run: Run, faults: Faults) -> None:
        async def main() -> None:
            protocol = Recorder()
            async with endpoint(OURS, protocol, ("127.0.0.1", 0)) as transport:
                faults.always("sendto", errno.EAGAIN)
                transport.sendto(bytes(60), ("127.0.0.1", 9))
                assert protocol.told == ["made"]
                transport.set_write_buffer_limits(high=10)
                assert protocol.told == ["made", "pause"]
                faults.heal()
                await until(lambda: "resume" in protocol.told)
                assert transport.get_write_buffer_size() == 0

        faults.run(lambda: run(main))

    def test_a_protocol_that_fails_to_pause_is_reported(self, run: Run, faults: Faults) -> None:
        class Failing(Recorder):
            def pause_writing(self) -> None:
                raise RuntimeError("no")

        async def main() -> None:
            told: list[Any] = []
            asyncio.get_running_loop().set_exception_handler(lambda _, c: told.append(c))
            async with endpoint(OURS, Failing(), ("127.0.0.1", 0)) as transport:
                faults.always("sendto", errno.EAGAIN)
                transport.set_write_buffer_limits(high=0)
                transport.sendto(b"x", ("127.0.0.1", 9))
                assert [c["message"] for c in told] == ["pause_writing() failed"]
                faults.heal()
                await until(lambda: not transport.get_write_buffer_size())

        faults.run(lambda: run(main))

    @WHOSE
    def test_closing_sends_what_waits(self, run: Run, make: Any, faults: Faults) -> None:
        async def main() -> None:
            protocol = Recorder()
            with peer("127.0.0.1") as there:
                transport, _ = await make(lambda: protocol, ("127.0.0.1", 0))
                faults.always("sendto", errno.EAGAIN)
                data = bytearray(b"0")
                for number in range(3):
                    data[:] = b"%d" % number
                    transport.sendto(data, there.getsockname())
                transport.close()
                assert protocol.told == ["made"]
                faults.heal()
                await until(lambda: LOST in protocol.told)
                # What it was given then, not what the buffer holds by now.
                assert [there.recv(100) for _ in range(3)] == [b"0", b"1", b"2"]
                assert nothing_waits(there)

        if make is OURS or "uvloop" not in repr(run):
            faults.run(lambda: run(main))

    @pytest.mark.not_on_windows(NO_REFUSALS)
    def test_closing_ends_though_the_peer_refuses(self, run: Run, faults: Faults) -> None:
        """libuv, which watches no more what it has seen an error of, must be told to."""

        async def main() -> None:
            with peer("127.0.0.1") as gone:
                address = gone.getsockname()
            protocol = Recorder()
            transport, _ = await OURS(lambda: protocol, remote_addr=address)
            transport.sendto(b"into the void")
            # The second while it waits for room.
            faults.fail("sendto", errno.EAGAIN, times=2)
            transport.sendto(b"again")
            transport.close()
            await until(lambda: LOST in protocol.told)
            assert not transport.get_write_buffer_size()

        faults.run(lambda: run(main))

    @WHOSE
    def test_aborting_sends_nothing_more(self, run: Run, make: Any, faults: Faults) -> None:
        async def main() -> None:
            protocol = Recorder()
            with peer("127.0.0.1") as there:
                transport, _ = await make(lambda: protocol, ("127.0.0.1", 0))
                faults.always("sendto", errno.EAGAIN)
                transport.sendto(b"x", there.getsockname())
                transport.abort()
                assert transport.is_closing()
                faults.heal()
                await until(lambda: LOST in protocol.told)
                assert nothing_waits(there)

        if make is OURS or "uvloop" not in repr(run):
            faults.run(lambda: run(main))

    @WHOSE
    def test_a_protocol_that_aborts_when_it_is_told_of_an_error(
        self, run: Run, make: Any, faults: Faults
    ) -> None:
        class Aborting(Recorder):
            def error_received(self, exc: Exception) -> None:
                super().error_received(exc)
                self.transport.abort()

        async def main() -> None:
            told: list[Any] = []
            asyncio.get_running_loop().set_exception_handler(lambda _, c: told.append(c))
            protocol = Aborting()
            with peer("127.0.0.1") as there:
                transport, _ = await make(lambda: protocol, ("127.0.0.1", 0))
                faults.fail("sendto", errno.EAGAIN)
                for data in (b"x", bytes(70000), b"y"):
                    transport.sendto(data, there.getsockname())
                await until(lambda: LOST in protocol.told)
                assert there.recv(100) == b"x"
                assert nothing_waits(there)
            assert told == []

        if make is OURS or "uvloop" not in repr(run):
            faults.run(lambda: run(main))

    @WHOSE
    def test_a_protocol_that_never_gives_up_leaves_the_loop_its_turns(
        self, run: Run, make: Any, faults: Faults
    ) -> None:
        class Stubborn(Recorder):
            def error_received(self, exc: Exception) -> None:
                self.told.append(exc)
                if not gives_up:
                    for _ in range(2):
                        self.transport.sendto(bytes(70000), ("127.0.0.1", 9))

        async def main() -> None:
            protocol = Stubborn()
            async with endpoint(make, protocol, ("127.0.0.1", 0)) as transport:
                faults.fail("sendto", errno.EAGAIN)
                for size in (1, 70000, 70000):
                    transport.sendto(bytes(size), ("127.0.0.1", 9))
                await until(lambda: len(protocol.told) > 2)
                gives_up.append(True)

        gives_up: list[bool] = []
        if make is OURS or "uvloop" not in repr(run):
            faults.run(lambda: run(main))


def bound(host: str, family: int = socket.AF_INET6) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_DGRAM)
    if family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    sock.bind((host, 0))
    return sock


class TestGivenSockets:
    @pytest.mark.parametrize("host", BOTH)
    def test_a_dual_stack_one_shows_its_peers(self, run: Run, host: str) -> None:
        async def main() -> None:
            before = open_descriptors()
            protocol = Recorder()
            async with endpoint(OURS, protocol, sock=bound("::")) as transport:
                with peer(host) as client:
                    client.sendto(b"x", (host, number_of(transport)))
                    await until(lambda: protocol.got)
                    assert protocol.got == [(b"x", client.getsockname())]
                    transport.sendto(b"y", protocol.got[0][1])
                    assert client.recv(100) == b"y"
            await until(lambda: len(open_descriptors()) <= len(before) + 1)

        run(main)

    @lacking_in_wine(IGNORES_SOURCES)
    def test_packet_information_and_the_way_back(self, run: Run) -> None:
        class Informed(Recorder):
            def packet_received(self, data: bytes, addr: Any, info: Any) -> None:
                self.got.append((data, info))
                self.transport.sendto(data, addr)

        async def main() -> None:
            protocol = Informed()
            async with endpoint(OURS, protocol, sock=bound("::")) as transport:
                with peer("127.0.0.1") as client:
                    client.sendto(b"x", ("127.0.0.9", number_of(transport)))
                    assert await asyncio.to_thread(client.recvfrom, 100) == (
                        b"x",
                        ("127.0.0.9", number_of(transport)),
                    )
                [(_, info)] = protocol.got
                assert (info.destination, info.hop_limit) == ("127.0.0.9", 64)

        run(main)

    @pytest.mark.parametrize(
        "make",
        [
            OURS,
            pytest.param(
                the_loops_own,
                marks=pytest.mark.not_on_windows("the Proactor loop's own hears nothing"),
            ),
        ],
    )
    @pytest.mark.parametrize("host", BOTH)
    def test_a_connected_one_has_its_peer(self, run: Run, make: Any, host: str) -> None:
        async def main() -> None:
            protocol = Recorder()
            with peer(host) as there:
                given = socket.socket(there.family, socket.SOCK_DGRAM)
                given.connect(there.getsockname())
                async with endpoint(make, protocol, sock=given) as transport:
                    assert transport.get_extra_info("peername") == there.getsockname()
                    transport.sendto(b"x")
                    data, us = there.recvfrom(100)
                    assert data == b"x"
                    there.sendto(b"y", us)
                    await until(lambda: protocol.got)
                    assert protocol.got == [(b"y", there.getsockname())]

        run(main)

    @pytest.mark.not_on_windows("has no IPV6_ADDRFORM")
    def test_one_connected_to_a_mapped_address(self, run: Run) -> None:
        async def main() -> None:
            protocol = Recorder()
            with peer("127.0.0.1") as there:
                given = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
                given.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
                given.connect(("::ffff:127.0.0.1", there.getsockname()[1]))
                async with endpoint(OURS, protocol, sock=given) as transport:
                    assert transport.get_extra_info("peername") == there.getsockname()
                    transport.sendto(b"x")
                    _, us = there.recvfrom(100)
                    assert us == transport.get_extra_info("sockname")
                    there.sendto(b"y", us)
                    await until(lambda: protocol.got)
                    assert protocol.got == [(b"y", there.getsockname())]

        run(main)

    @pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
    def test_one_that_is_not_bound_yet(self, run: Run, family: int) -> None:
        async def main() -> None:
            protocol = Recorder()
            given = socket.socket(family, socket.SOCK_DGRAM)
            if family == socket.AF_INET6:
                given.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            async with endpoint(OURS, protocol, sock=given) as transport:
                with peer("127.0.0.1") as there:
                    transport.sendto(b"x", there.getsockname())
                    _, us = there.recvfrom(100)
                    there.sendto(b"y", us)
                    await until(lambda: protocol.got)
                    assert protocol.got == [(b"y", there.getsockname())]

        run(main)

    @WHOSE
    def test_a_stream_socket_is_refused(self, run: Run, make: Any) -> None:
        async def main() -> None:
            with socket.socket() as given:
                with pytest.raises(ValueError, match=r"UDP socket|datagram socket|UDP Socket"):
                    await make(Recorder, sock=given)
                assert given.fileno() != -1

        run(main)

    @WHOSE
    def test_what_a_socket_has_already_is_refused(self, run: Run, make: Any) -> None:
        async def main() -> None:
            with bound("::") as given:
                with pytest.raises(ValueError, match="local_addr="):
                    await make(Recorder, ("::", 0), sock=given)

        run(main)

    def test_a_plugin_may_refuse_it(self, run: Run) -> None:
        class Guard:
            @hookimpl
            def dsadapter_before_bind(self) -> None:
                raise PermissionError("not here")

        async def main() -> None:
            before = open_descriptors()
            with pytest.raises(PermissionError, match="not here"):
                await OURS(Recorder, sock=bound("::"))
            assert len(open_descriptors()) <= len(before)

        with registered(Guard()):
            run(main)


@pytest.mark.not_on_windows("has no SO_REUSEPORT")
@WHOSE
def test_a_port_is_shared_by_whoever_asks_for_it(run: Run, make: Any) -> None:
    async def main() -> None:
        first, second = Recorder(), Recorder()
        async with endpoint(make, first, ("127.0.0.1", 0), reuse_port=True) as transport:
            number = number_of(transport)
            if make is OURS:
                with pytest.raises(OSError, match="held by another socket"):
                    await make(Recorder, ("127.0.0.1", number))
            async with endpoint(make, second, ("127.0.0.1", number), reuse_port=True):
                with contextlib.ExitStack() as stack:
                    for _ in range(64):
                        client = stack.enter_context(peer("127.0.0.1"))
                        client.sendto(b"x", ("127.0.0.1", number))
                    await until(lambda: len(first.got) + len(second.got) == 64)
                assert first.got
                assert second.got

    run(main)


@pytest.fixture
def warnings(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    with caplog.at_level("WARNING", "dsadapter"):
        yield caplog


@pytest.mark.not_on_windows("has no SO_REUSEPORT")
def test_who_shares_a_port_and_takes_its_IPv4_is_named(
    run: Run, warnings: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        async with endpoint(
            the_loops_own, Recorder(), ("0.0.0.0", 0), reuse_port=True
        ) as transport:
            number = number_of(transport)
            async with endpoint(OURS, Recorder(), ("::", number), reuse_port=True):
                pass
        assert f"0.0.0.0:{number} of another socket shares the port" in warnings.text
        assert "takes its IPv4 datagrams from it" in warnings.text

    run(main)


@pytest.mark.parametrize("call", ["sendto", "connected"])
def test_an_earlier_refusal_is_never_the_next_ones(run: Run, call: str) -> None:
    async def main() -> None:
        protocol = Recorder()
        with peer("127.0.0.1") as gone:
            address = gone.getsockname()
        options = {"remote_addr": address} if call == "connected" else {}
        async with endpoint(OURS, protocol, **options) as transport:
            to = None if call == "connected" else address
            for _ in range(20):
                # Each meets what has become of the one before.
                transport.sendto(b"x", to)
            with socket.socket(type=socket.SOCK_DGRAM) as back:
                back.bind(address)
                back.settimeout(PATIENCE)
                transport.sendto(b"last", to)
                assert back.recv(100) == b"last"
            if call == "sendto":
                assert protocol.told == ["made"]

    run(main)


@pytest.mark.parametrize("port", ["0", None, b""])
def test_a_port_as_the_loop_takes_it(run: Run, port: Any) -> None:
    async def main() -> None:
        async with endpoint(OURS, Recorder(), ("::", port)) as transport:
            assert number_of(transport)

    run(main)


@WHOSE
@pytest.mark.parametrize("name", ["local_addr", "remote_addr"])
def test_an_address_that_is_no_tuple_of_two(run: Run, make: Any, name: str) -> None:
    async def main() -> None:
        with pytest.raises(TypeError, match=r"2-tuple|tuple of two"):
            await make(Recorder, **{name: ("::1", 9, 0, 0)})

    # uvloop's own takes it.
    if make is OURS or "uvloop" not in repr(run):
        run(main)


@pytest.mark.not_on_windows(NO_REFUSALS)
def test_it_hears_though_a_send_has_taken_the_refusal_that_the_loop_saw(run: Run) -> None:
    """libuv, which watches no more what it has seen an error of, must be told to."""

    class Reviving(Recorder):
        def datagram_received(self, data: bytes, addr: Any) -> None:
            back.bind(address)
            connected.transport.sendto(b"anybody?")

    async def main() -> None:
        async with (
            endpoint(OURS, Reviving(), ("127.0.0.1", 0)) as transport,
            endpoint(OURS, connected, remote_addr=address) as refused,
        ):
            # Both are ready in one turn, the one that revives the peer first.
            with peer("127.0.0.1") as client:
                client.sendto(b"x", transport.get_extra_info("sockname"))
            refused.sendto(b"into the void")
            await until(lambda: len(connected.told) > 1)
            assert isinstance(connected.told[1], ConnectionRefusedError)
            back.settimeout(PATIENCE)
            data, us = back.recvfrom(100)
            assert data == b"anybody?"
            back.sendto(b"heard", us)
            await until(lambda: connected.got)

    connected = Recorder()
    with peer("127.0.0.1") as gone:
        address = gone.getsockname()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as back:
        run(main)
