"""asyncio's servers on Windows' own loop, asked from this machine."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.early_peers import DEEDS, early_peer
from support.processes import PATIENCE
from support.programs import (
    FAMILIES,
    LOOPBACK,
    curl,
    leaks,
    listening_sockets,
    serving,
    until_logged,
)
from support.wine import Windows, path_of_windows

PAGE = Path(__file__).parents[2] / "docs" / "asyncio.md"
REQUEST = b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
ANSWERED = ("stays", "half-closes", "closes")


@pytest.fixture
def program(tmp_path: Path) -> Path:
    """uvicorn's, as the page has it, its port by a word."""
    _, _, rest = PAGE.read_text(encoding="utf-8").partition("```python uvicorn_server.py\n")
    text = rest.partition("```")[0]
    assert "port=8080" in text
    (tmp_path / "uvicorn_server.py").write_text(
        "import sys\n" + text.replace("port=8080", "port=int(sys.argv[1])")
    )
    return tmp_path / "uvicorn_server.py"


def test_uvicorn_on_the_proactor_loop(windows: Windows, program: Path) -> None:
    def command(port: int) -> list[str]:
        return windows.command("-X", "dev", path_of_windows(program), str(port))

    with serving(command, env=windows.environment) as (server, port):
        [_] = listening_sockets(port)
        for family in FAMILIES:
            host = LOOPBACK[family]
            said = f"{host} asked {host}"
            assert curl(family, port).endswith(f"{said}\n")
            # What it does before it is accepted changes no name; uvicorn answers none of them on
            # this loop, whoever accepts, but logs.
            for deed in DEEDS:
                with early_peer(host, port, deed, REQUEST) as peer:
                    if deed == "stays":
                        peer.client.settimeout(PATIENCE)
                        answer = b"".join(iter(lambda c=peer.client: c.recv(1000), b""))
                        assert f"{said}\n".encode() in answer
                    if deed in ANSWERED:
                        until_logged(f"{host}:{peer.name[1]} - ", server)
            # And it serves on.
            assert curl(family, port).endswith(f"{said}\n")
        log = server.stop()

    assert leaks(log) == []
    assert "Traceback" not in log
