"""Clients that half-close, close or reset before a server on Windows accepts them."""

from __future__ import annotations

from collections.abc import Collection
from contextlib import ExitStack
from pathlib import Path

import pytest
from support.early_peers import DEEDS, early_peer
from support.processes import PATIENCE, Server
from support.programs import LOOPBACK, leaks, until
from support.wine import Windows

PROGRAM = Path(__file__).parent / "programs" / "late_server.py"
KINDS = ("select", "iocp", "proactor", "selector", "socketserver")
LAUNCHED = ("launched asyncio", "launched socketserver")
ROUNDS = 5
SPARE = 4
"""Handles that threads come and go with; a leak of one kind of client is of more."""
ANSWERED = ("stays", "half-closes")


def meet(
    server: Server, port: int, names: dict[tuple[str, int], str], deeds: Collection[str]
) -> None:
    """One round of clients, each of which is named as it named itself, or not at all.

    :param deeds: what they do.
    :param names: of all rounds; what has gone may be told of late.
    """
    first = not names
    left = set()
    with ExitStack() as stack:
        clients = []
        for host in LOOPBACK.values():
            for deed in deeds:
                for _ in range(2):
                    peer = stack.enter_context(early_peer(host, port, deed))
                    names[peer.name[:2]] = deed
                    left |= {peer.name[:2]} if deed in ANSWERED else set()
                    clients.append((deed, peer.client))
        if first:
            server.say("accept")
        for deed, client in clients:
            if deed in ANSWERED:
                with client.makefile("rb") as answer:
                    assert answer.read() == b"answer"
    while left:
        event = server.event()
        host, number, *_ = event["peer"]
        assert (host, number) in names, f"{event} is nobody of {names}"
        assert event["own"] == host
        left.discard((host, number))


@pytest.mark.parametrize("kind", [*KINDS, *LAUNCHED])
def test_whoever_has_gone_is_named_as_it_was_and_leaves_nothing_open(
    windows: Windows, kind: str
) -> None:
    words = ("-m", "dsadapter", "run", "--") if kind in LAUNCHED else ()
    # A reset ends a server of asyncio's own on the Proactor loop ("Accept failed on a socket").
    deeds = DEEDS if kind != "launched asyncio" else DEEDS.keys() - {"resets"}
    with windows.program(*words, PROGRAM, kind) as server:
        while "port" not in (told := server.event()):
            pass
        names: dict[tuple[str, int], str] = {}
        meet(server, told["port"], names, deeds)
        before = windows.descriptors()
        for _ in range(ROUNDS):
            meet(server, told["port"], names, deeds)
        until(lambda: windows.descriptors() <= before + SPARE, server, PATIENCE)
        log = server.stop()
    assert leaks(log) == []
    assert "Traceback" not in log, log
