"""The datagram port under asyncio and under Trio, each of which adds its waiting alone."""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.peers import peer
from support.ports import Port
from support.windows import IGNORES_SOURCES, LOOPBACK_NAME, lacking_in_wine, trio_starts

from dsadapter.datagrams import DatagramPort

from .drivers import asyncio_datagrams, trio_datagrams

MODULES = (asyncio_datagrams, trio_datagrams)
Run = Callable[[DatagramPort, Callable[[Callable[..., Any]], Awaitable[None]]], None]
DRIVERS = pytest.mark.parametrize(
    "run",
    [asyncio_datagrams.run, pytest.param(trio_datagrams.run, marks=trio_starts)],
    ids=["asyncio", "trio"],
)


@pytest.fixture
def opened() -> Iterator[Port]:
    made = Port()
    yield made
    made.port.close()


@pytest.mark.parametrize("module", MODULES)
def test_a_driver_is_short(module: Any) -> None:
    assert len(Path(module.__file__).read_text(encoding="utf-8").splitlines()) <= 50


@DRIVERS
@pytest.mark.parametrize(
    "host",
    [pytest.param("127.0.0.5", marks=lacking_in_wine(IGNORES_SOURCES)), "127.0.0.1", "::1"],
)
def test_an_answer_leaves_from_the_address_that_was_asked(
    run: Run, opened: Port, host: str
) -> None:
    async def case(until: Callable[..., Any]) -> None:
        asked = host, opened.number
        with peer("::1" if ":" in host else "127.0.0.1") as client:
            for number in range(100):
                client.sendto(b"%d" % number, asked)
            await until(lambda: len(opened.got) == 100)
            for number, (data, address, info) in enumerate(opened.got):
                assert (data, address) == (b"%d" % number, client.getsockname()[:2])
                assert (info.destination, info.interface_name) == (host, LOOPBACK_NAME)
                opened.port.send(data, address)
                # Not connected, it is told at once of an answer from elsewhere.
                answer, source = client.recvfrom(100)
                assert (answer, source[:2]) == (data, asked)

    run(opened.port, case)
    assert opened.port.counters.received == 100
    assert opened.port.counters.translated == (0 if ":" in host else 100)


@DRIVERS
@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
@pytest.mark.not_on_windows("refusals are switched off there (SIO_UDP_CONNRESET)")
def test_a_connected_port_is_told_of_a_refusal_and_goes_on(
    run: Run, opened: Port, host: str
) -> None:
    with peer(host) as gone:
        number = gone.getsockname()[1]
    opened.port.connect(host, number)

    async def case(until: Callable[..., Any]) -> None:
        for times in (1, 2, 3):
            opened.port.send(b"x")
            await until(lambda times=times: opened.refused == times)
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        with socket.socket(family, socket.SOCK_DGRAM) as back:
            back.bind((host, number))
            back.sendto(b"back", (host, opened.number))
            await until(lambda: opened.got)

    run(opened.port, case)
    assert opened.got[0][:2] == (b"back", (host, number))
