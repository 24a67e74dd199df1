"""Streams under asyncio: every name is canonical, on every loop, whatever the peer does."""

from __future__ import annotations

import asyncio
import errno
import gc
import inspect
import re
import socket
import struct
from collections.abc import Callable, Coroutine
from contextlib import ExitStack, suppress
from typing import Any

import pytest
from support.faults import Faults
from support.loop_servers import Echo, Run, hang_up, number_of, until
from support.loops import LOOPS
from support.namespaces import needs_root
from support.processes import PATIENCE
from support.programs import free_port
from support.reactors import open_descriptors
from support.windows import WINDOWS

from dsadapter import hookimpl
from dsadapter.frameworks import asyncio as dual_stack
from dsadapter.frameworks import get_framework
from dsadapter.policy import ConnectPolicy, ListenPolicy
from dsadapter.testing import RecordingPlugin, registered

BOTH = ["127.0.0.1", "::1"]
# A thousand connections take Wine half a minute.
ROUNDS = 50 if WINDOWS else 1000


@pytest.mark.parametrize("host", BOTH)
@pytest.mark.parametrize("interface", [None, "", "::", "0::0", "localhost"])
def test_a_server_sees_its_peer_as_it_is(run: Run, host: str, interface: Any) -> None:
    seen: list[Any] = []

    async def main() -> None:
        async with await dual_stack.create_server(lambda: Echo(seen), interface, 0) as server:
            number = number_of(server)
            reader, writer = await dual_stack.open_connection(host, number)
            peer = writer.get_extra_info("sockname")
            assert peer == writer.get_extra_info("socket").getsockname()
            assert writer.get_extra_info("peername")[:2] == (host, number)
            assert len(peer) == (4 if ":" in host else 2)
            writer.write(b"there and back")
            assert await reader.readexactly(14) == b"there and back"
            [[peername, sock_peername, sockname, sock_sockname]] = seen
            assert peername == sock_peername == peer
            assert sockname == sock_sockname == writer.get_extra_info("peername")
            writer.close()
            await writer.wait_closed()

    run(main)


def half_close(client: socket.socket) -> None:
    client.sendall(b"request")
    client.shutdown(socket.SHUT_WR)


def reset(client: socket.socket) -> None:
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()


@pytest.mark.parametrize("leave", [half_close, socket.socket.close, reset])
@pytest.mark.parametrize("host", BOTH)
def test_a_peer_that_leaves_before_it_is_accepted_chooses_no_name(
    run: Run, host: str, leave: Callable[[socket.socket], None]
) -> None:
    seen: list[Any] = []

    async def main() -> None:
        server = await dual_stack.create_server(lambda: Echo(seen), None, 0, start_serving=False)
        async with server:
            client = socket.create_connection((host, number_of(server)))
            peer = client.getsockname()
            leave(client)
            await server.start_serving()
            # One behind it, so that the first has been dealt with.
            reader, writer = await dual_stack.open_connection(host, number_of(server))
            writer.write(b"x")
            await reader.readexactly(1)
            writer.close()
            if leave is half_close:
                client.settimeout(20)
                assert await asyncio.to_thread(client.recv, 100) == b"request"
                client.close()
                assert seen[0][0] == seen[0][1] == peer
        assert "::ffff:" not in repr(seen)

    run(main)


@pytest.mark.parametrize("leaves", [False, True])
@pytest.mark.parametrize("host", BOTH)
def test_a_duplicate_of_a_socket_is_canonical_and_a_socket_like_others(
    run: Run, host: str, leaves: bool
) -> None:
    plugin = RecordingPlugin()
    seen: list[Any] = []

    class Duplicating(asyncio.Protocol):
        def connection_made(self, transport: Any) -> None:
            with transport.get_extra_info("socket").dup() as duplicate:
                seen.extend([duplicate.getpeername()[:2], duplicate.getsockname()[:2], duplicate])
                seen.append(repr(duplicate))
            transport.close()

    async def main() -> None:
        server = await dual_stack.create_server(Duplicating, None, 0, start_serving=False)
        async with server:
            with socket.create_connection((host, number_of(server))) as client:
                if leaves:
                    half_close(client)
                await server.start_serving()
                await until(lambda: seen)
                peer, local, duplicate, shown = seen
                assert (peer, local) == (client.getsockname()[:2], (host, number_of(server)))
                assert "::ffff:" not in shown
                assert duplicate.fileno() == -1
                seen.clear()

    run(main)
    with registered(plugin):
        run(main)
    assert [each.peer[0] for each in plugin.of("connection_lost")] == [host]


def test_a_server_that_greets_and_closes_at_once_is_never_mapped(run: Run) -> None:
    names: list[Any] = []

    class Greeting(asyncio.Protocol):
        def connection_made(self, transport: Any) -> None:
            transport.write(b"bye")
            transport.close()

    class Client(asyncio.Protocol):
        def connection_made(self, transport: Any) -> None:
            names.append(transport.get_extra_info("peername"))
            self.lost = asyncio.get_running_loop().create_future()

        def connection_lost(self, reason: Any) -> None:
            self.lost.set_result(None)

    async def main() -> None:
        async with await dual_stack.create_server(Greeting, None, 0) as server:
            for _ in range(ROUNDS):
                _, client = await dual_stack.create_connection(
                    Client, "127.0.0.1", number_of(server)
                )
                await client.lost

    run(main)
    assert len(names) == ROUNDS
    assert {name[0] for name in names} == {"127.0.0.1"}


def test_closing_leaves_nothing_open(run: Run) -> None:
    async def main() -> tuple[set[str], set[str]]:
        for _ in range(2):
            # A loop keeps what it opens at first use.
            before = open_descriptors()
            server = await dual_stack.start_server(lambda _r, writer: writer.close(), None, 0)
            reader, writer = await dual_stack.open_connection("127.0.0.1", number_of(server))
            assert await reader.read() == b""
            writer.close()
            await writer.wait_closed()
            server.close()
            await server.wait_closed()
            assert server.sockets == ()
            assert not server.is_serving()
        await asyncio.sleep(0)
        return before, open_descriptors()

    before, after = run(main)
    assert len(after) <= len(before)


def test_plugins_are_told_once(run: Run) -> None:
    async def main() -> None:
        server = await dual_stack.start_server(lambda _r, writer: writer.close(), None, 0)
        reader, writer = await dual_stack.open_connection("127.0.0.1", number_of(server))
        await reader.read()
        writer.close()
        await until(lambda: len(recording.of("connection_lost")) == 2)
        server.close()
        await server.wait_closed()

    with registered(RecordingPlugin()) as recording:
        run(main)
    told = [event.hook for event in recording.events]
    assert sorted(told) == sorted(
        ["before_bind", "listener_opened", "before_connect", "listener_closed"]
        + ["connection_made", "connection_lost"] * 2
    )
    records = recording.of("connection_made")
    assert {record.direction for record in records} == {"inbound", "outbound"}
    assert {record.framework for record in records} == {"asyncio"}
    assert {record.peer[0] for record in records} == {"127.0.0.1"}
    assert set(map(id, records)) == set(map(id, recording.of("connection_lost")))


def test_a_plugin_that_refuses_is_a_PermissionError(run: Run) -> None:
    class Guard:
        @hookimpl
        def dsadapter_before_bind(self) -> None:
            raise PermissionError("not here")

        @hookimpl
        def dsadapter_before_connect(self) -> None:
            raise PermissionError("not there")

    async def main() -> None:
        with pytest.raises(PermissionError, match="not here"):
            await dual_stack.create_server(asyncio.Protocol, None, 0)
        with pytest.raises(PermissionError, match="not there"):
            await dual_stack.create_connection(asyncio.Protocol, "127.0.0.1", 9)

    with registered(Guard()):
        run(main)


def test_an_observer_that_ends_the_program_leaves_no_connection(run: Run) -> None:
    class Ending(KeyboardInterrupt):
        pass

    class Observer:
        @hookimpl
        def dsadapter_connection_made(self, connection: Any) -> None:
            if connection.direction == "outbound":
                raise Ending

    async def main() -> None:
        async with await dual_stack.start_server(lambda _r, w: w.close(), None, 0) as server:
            for spare in (3, 0):
                # A loop keeps what it opens at first use.
                most = len(open_descriptors()) + spare
                with pytest.raises(Ending):
                    await dual_stack.open_connection("127.0.0.1", number_of(server))
                await until(lambda most=most: len(open_descriptors()) <= most)

    with registered(Observer()):
        run(main)


async def shut_down() -> None:
    await asyncio.get_running_loop().shutdown_default_executor()


async def cancel_all() -> None:
    connecting = asyncio.current_task()

    async def cancel_the_others() -> None:
        # In each turn before what was put in the last one begins.
        while True:
            for task in asyncio.all_tasks() - {connecting, asyncio.current_task()}:
                task.cancel()
            await asyncio.sleep(0)

    asyncio.get_running_loop().create_task(cancel_the_others())


@pytest.mark.parametrize(
    ("interfere", "says"),
    [(shut_down, "RuntimeError: "), (cancel_all, "the lookup was cancelled")],
)
def test_a_lookup_that_ends_oddly_ends_the_connect(
    run: Run, interfere: Callable[[], Coroutine[Any, Any, None]], says: str
) -> None:
    if interfere is shut_down and run is LOOPS.get("uvloop"):
        # Its lookups need no executor.
        return

    async def main() -> str:
        async with asyncio.timeout(PATIENCE):
            await interfere()
            with pytest.raises(socket.gaierror) as caught:
                await dual_stack.create_connection(asyncio.Protocol, "localhost", 9)
        return str(caught.value)

    assert says in run(main)


@needs_root
def test_a_sandbox_that_denies_accept_leaves_the_loop_its_turns(run: Run) -> None:
    faults = Faults("accept4")

    async def main() -> None:
        server = await dual_stack.start_server(lambda _r, w: w.close(), None, 0)
        async with server:
            faults.always("accept4", errno.EPERM)
            client = socket.create_connection(("127.0.0.1", number_of(server)))
            await until(lambda: faults.asked["accept4"])
            for _ in range(3):
                await asyncio.sleep(0)
            faults.heal()
            client.settimeout(PATIENCE)
            assert await asyncio.to_thread(client.recv, 1) == b""
            client.close()

    faults.run(lambda: run(main))


@pytest.mark.not_on_windows("has no list of a process's descriptors")
def test_a_literal_that_does_not_answer_yet(run: Run) -> None:
    async def main() -> None:
        with socket.create_server(("127.0.0.1", 0), backlog=0) as full, ExitStack() as others:
            where = full.getsockname()
            # One more than the backlog is all that it holds.
            others.enter_context(socket.create_connection(where))
            before = open_descriptors()
            # Given up.
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(dual_stack.open_connection(*where), 0.1)
            await asyncio.sleep(0)
            assert open_descriptors() <= before
            # Waited for.
            connecting = asyncio.ensure_future(dual_stack.open_connection(*where))
            await asyncio.sleep(0)
            assert open_descriptors() > before
            accepted, _ = full.accept()
            others.enter_context(accepted)
            _, writer = await connecting
            assert writer.get_extra_info("peername") == where
            writer.transport.abort()
            await asyncio.sleep(0)

    run(main)


def test_a_pair_is_one_server(run: Run) -> None:
    async def main() -> None:
        async with await dual_stack.create_server(lambda: Echo([]), None, 0, mode="pair") as server:
            assert server.mode == "pair"
            assert {sock.getsockname()[0] for sock in server.sockets} == {"0.0.0.0", "::"}
            assert len({sock.getsockname()[1] for sock in server.sockets}) == 1
            for host in BOTH:
                await hang_up(*await dual_stack.open_connection(host, number_of(server)))

    run(main)


@pytest.mark.parametrize(
    ("hosts", "served"),
    [
        (["::", "127.0.0.1"], ["::"]),
        (["::1", "", "0.0.0.0"], ["::"]),
        (["127.0.0.1", "localhost", "::1"], ["127.0.0.1", "::1"]),
        (["127.0.0.2", "0.0.0.0", "::1"], ["0.0.0.0", "::1"]),
        (["127.0.0.1", "::ffff:127.0.0.1", "0:0::1", "::1"], ["127.0.0.1", "::1"]),
    ],
)
def test_an_address_that_another_socket_has_needs_none(
    run: Run, hosts: list[str], served: list[str]
) -> None:
    async def main() -> None:
        number = free_port()
        async with await dual_stack.start_server(lambda _r, w: w.close(), hosts, number) as server:
            assert [sock.getsockname()[0] for sock in server.sockets] == served
            for host in hosts:
                await hang_up(*await dual_stack.open_connection(host or "localhost", number))

    run(main)


def test_one_family_alone(run: Run) -> None:
    async def main() -> None:
        async with await dual_stack.create_server(
            lambda: Echo([]), None, 0, family=socket.AF_INET6
        ) as server:
            await hang_up(*await dual_stack.open_connection("::1", number_of(server)))
            with pytest.raises(ConnectionRefusedError):
                await dual_stack.open_connection("127.0.0.1", number_of(server))
            with pytest.raises(OSError, match="is not of AF_INET6"):
                await dual_stack.open_connection(
                    "127.0.0.1", number_of(server), family=socket.AF_INET6
                )

    run(main)


def test_a_socket_of_the_callers_becomes_canonical(run: Run) -> None:
    seen: list[Any] = []

    async def main() -> None:
        given = socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True)
        async with await dual_stack.create_server(lambda: Echo(seen), sock=given) as server:
            client = socket.create_connection(("127.0.0.1", number_of(server)))
            await until(lambda: seen)
            assert seen[0][0] == client.getsockname()
            client.close()

    run(main)


def test_the_story_of_every_attempt(run: Run) -> None:
    with socket.create_server(("127.0.0.1", 0)) as held:
        number = held.getsockname()[1]

    async def main() -> None:
        with pytest.raises(ConnectionRefusedError) as caught:
            await dual_stack.open_connection("localhost", number)
        told = rf"127\.0\.0\.1:{number} after [0-9.]+ s: Connection refused"
        assert re.search(told, str(caught.value))
        assert caught.value.errno == errno.ECONNREFUSED
        with pytest.raises(ExceptionGroup) as group:
            await dual_stack.create_connection(
                asyncio.Protocol, "localhost", number, all_errors=True
            )
        assert all(isinstance(e, ConnectionRefusedError) for e in group.value.exceptions)

    run(main)


@pytest.mark.parametrize("local_addr", [("127.0.0.2", "0"), ["127.0.0.2", 0], ("127.0.0.2", None)])
def test_the_local_port_may_be_what_asyncio_takes_for_one(run: Run, local_addr: Any) -> None:
    async def main() -> None:
        with socket.create_server(("127.0.0.1", 0)) as server:
            _, writer = await dual_stack.open_connection(
                *server.getsockname(), local_addr=local_addr
            )
            assert writer.get_extra_info("sockname")[0] == "127.0.0.2"
            writer.close()
            await writer.wait_closed()

    run(main)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (
            lambda: dual_stack.create_server(asyncio.Protocol, "example.com", 0),
            "host 'example.com'",
        ),
        (lambda: dual_stack.create_server(asyncio.Protocol, None, "99999"), "port 99999"),
        (lambda: dual_stack.create_server(asyncio.Protocol, None, 80.5), r"port 80\.5"),
        (lambda: dual_stack.create_server(asyncio.Protocol, 80, 80), "host 80"),
        (lambda: dual_stack.create_server(asyncio.Protocol, b"::1", 80), "host b'::1' is not text"),
        (lambda: dual_stack.create_server(asyncio.Protocol, ["::1", 2], 80), "host 2 is not text"),
        (
            lambda: dual_stack.create_server(asyncio.Protocol, None, [1]),
            r"port \[1\] is not a whole",
        ),
        (lambda: dual_stack.create_connection(asyncio.Protocol, b"::1", 80), "host b'::1' is not"),
        (lambda: dual_stack.create_connection(asyncio.Protocol, "::1", 1.5), r"port 1\.5 is not"),
        (
            lambda: dual_stack.create_connection(asyncio.Protocol, "::1", 80, family="x"),
            "family 'x' is none of",
        ),
        (
            lambda: dual_stack.create_server(asyncio.Protocol, None, 0, ssl_handshake_timeout=1),
            "ssl_handshake_timeout 1 goes with ssl",
        ),
        (lambda: dual_stack.create_server(asyncio.Protocol, None, 0, mode="both"), "mode 'both'"),
        (
            lambda: dual_stack.create_server(asyncio.Protocol, None, 0, reuse_port="no"),
            "reuse_port 'no' is neither True nor False",
        ),
        (lambda: dual_stack.create_connection(asyncio.Protocol, "127.1", 80), "host '127.1'"),
        (lambda: dual_stack.create_connection(asyncio.Protocol), "give host and port"),
        (
            lambda: dual_stack.create_connection(
                asyncio.Protocol, "::1", 80, happy_eyeballs_delay=9
            ),
            "happy_eyeballs_delay 9",
        ),
        (
            lambda: dual_stack.create_connection(
                asyncio.Protocol, "::1", 80, local_addr=("eth0", 0)
            ),
            "local_addr",
        ),
    ],
)
def test_what_is_wrong_is_named_as_it_was_typed(make: Any, says: str) -> None:
    async def main() -> None:
        with pytest.raises(ValueError, match=says):
            await make()

    asyncio.run(main())


@pytest.mark.parametrize(
    ("options", "kind", "says"),
    [
        ({"server_hostname": "a.example"}, ValueError, "server_hostname 'a.example' goes with ssl"),
        ({"ssl_handshake_timeout": 3}, ValueError, "ssl_handshake_timeout 3 goes with ssl"),
        ({"ssl": "yes"}, TypeError, "ssl 'yes' is neither an SSLContext nor True"),
        ({"bogus": 1}, TypeError, r"create_connection\(\) got an unexpected keyword .*'bogus'"),
        ({"flags": socket.AI_NUMERICHOST}, socket.gaierror, "'localhost' is a name, .*flags"),
    ],
)
def test_what_is_wrong_connects_to_nobody(
    run: Run, options: dict[str, Any], kind: type[Exception], says: str
) -> None:
    async def main() -> None:
        with socket.create_server(("127.0.0.1", 0)) as server:
            number = server.getsockname()[1]
            with pytest.raises(kind, match=says):
                await dual_stack.create_connection(asyncio.Protocol, "localhost", number, **options)
            server.setblocking(False)
            with pytest.raises(BlockingIOError):
                server.accept()

    run(main)


def test_a_literal_is_no_name_to_look_up(run: Run) -> None:
    async def main() -> None:
        with socket.create_server(("127.0.0.1", 0)) as server:
            transport, _ = await dual_stack.create_connection(
                asyncio.Protocol,
                "::ffff:127.0.0.1",
                server.getsockname()[1],
                flags=socket.AI_NUMERICHOST,
            )
            transport.close()
            await asyncio.sleep(0)

    run(main)


def test_a_given_socket_stays_its_owners_where_something_is_wrong(run: Run) -> None:
    async def main() -> None:
        with (
            socket.create_server(("127.0.0.1", 0)) as listening,
            socket.create_connection(listening.getsockname()) as connected,
            socket.socket() as unconnected,
        ):
            for given, options, says in [
                (connected, {"ssl": True}, "give server_hostname"),
                (connected, {"server_hostname": "a.example"}, "goes with ssl"),
                (unconnected, {}, "is not connected; give a connected TCP socket"),
                (listening, {}, "listens; give a connected TCP socket"),
            ]:
                with pytest.raises(ValueError, match=says):
                    await dual_stack.create_connection(asyncio.Protocol, sock=given, **options)
                assert given.fileno() != -1
            with pytest.raises(ValueError, match="is connected; give a bound TCP socket"):
                await dual_stack.create_server(asyncio.Protocol, sock=connected)
            assert connected.fileno() != -1

    run(main)


SERVING = {
    "mode": "dual-stack",
    "fallback": "auto",
    "device": None,
    "proxy_from": None,
    "proxy_timeout": 5.0,
}
EXTRAS = {
    "create_server": SERVING,
    "start_server": SERVING,
    "create_connection": {"mapped_addresses": "unmap", "remember_outcomes": True},
    "open_connection": {"mapped_addresses": "unmap", "remember_outcomes": True},
}


@pytest.mark.parametrize("name", EXTRAS)
def test_the_signatures_are_those_of_the_running_Python(name: str) -> None:
    original = getattr(asyncio, name, None) or getattr(asyncio.SelectorEventLoop, name)
    theirs = {
        key: (parameter.kind, parameter.default)
        for key, parameter in inspect.signature(original).parameters.items()
        if key != "self"
    }
    ours = {
        key: (parameter.kind, parameter.default)
        for key, parameter in inspect.signature(getattr(dual_stack, name)).parameters.items()
    }
    extras = {key: ours.pop(key) for key in EXTRAS[name]}
    assert ours == theirs
    assert extras == {
        key: (inspect.Parameter.KEYWORD_ONLY, default) for key, default in EXTRAS[name].items()
    }


def test_the_registry_has_it() -> None:
    seen: list[Any] = []

    async def main() -> None:
        adapter = get_framework("asyncio")
        server = await adapter.server(None, ListenPolicy("::", 0))(lambda: Echo(seen))
        number = number_of(server)
        sock = await adapter.client(None, ("127.0.0.1", number), ConnectPolicy())()
        await until(lambda: seen)
        assert seen[0][0] == sock.getsockname()
        sock.close()
        server.close()

    asyncio.run(main())


@pytest.mark.parametrize("end", ["abort", "close"])
@pytest.mark.parametrize("given", [False, True])
def test_a_client_that_ends_at_once_closes_its_own_descriptor_alone(
    run: Run, end: str, given: bool
) -> None:
    class Ending(asyncio.Protocol):
        def connection_made(self, transport: Any) -> None:
            getattr(transport, end)()
            # Takes the number that has become free.
            self.other = socket.socket()

    ended = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal ended
        with suppress(OSError):
            await reader.read()
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()
        ended += 1

    async def main() -> None:
        async with await dual_stack.start_server(serve, None, 0) as server:
            number = number_of(server)
            for _ in range(20):
                if given:
                    sock = socket.create_connection(("127.0.0.1", number))
                    made = dual_stack.create_connection(Ending, sock=sock)
                else:
                    made = dual_stack.create_connection(Ending, "127.0.0.1", number)
                transport, client = await made
                del transport
                for _ in range(3):
                    await asyncio.sleep(0)
                gc.collect()
                assert (
                    client.other.getsockopt(socket.SOL_SOCKET, socket.SO_TYPE) == socket.SOCK_STREAM
                )
                client.other.close()
            await until(lambda: ended == 20)

    run(main)
