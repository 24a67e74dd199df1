"""What ``docs/cutover.md`` shows, run."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from support.builds import CHECKOUT
from support.cutovers import ask_line
from support.environments import clean_environment
from support.namespaces import OwnLoopback, needs_root
from support.programs import listening_sockets
from support.under_load import BOTH

from dsadapter.cli.main import main

PAGE = (CHECKOUT / "docs" / "cutover.md").read_text(encoding="utf-8")
LISTENING = "until ss -Hltn sport = :8080 | grep -q 8080; do sleep 0.1; done"


@needs_root
def test_the_commands_do_what_it_says(tmp_path: Path) -> None:
    shutil.copytree(CHECKOUT / "examples" / "legacy", tmp_path / "legacy")
    block = re.search(r"^```console\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    assert block is not None
    lines = []
    for line in block[1].splitlines():
        # The second one takes a moment to listen.
        after = LISTENING if line.endswith("&") else "echo status $?"
        lines += [line.removeprefix("$ "), after]
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    output = tmp_path / "said"
    with OwnLoopback().entered(), output.open("w") as said:
        try:
            subprocess.run(
                ["bash", "-c", "\n".join(lines)],
                cwd=tmp_path,
                env=clean_environment(PATH=path),
                stdout=said,
                stderr=subprocess.STDOUT,
                timeout=200,
                check=True,
            )
            text = output.read_text()
            # Migrating has changed something.
            assert re.findall(r"status (\d+)", text) == ["1", "0", "0", "0", "0"], text
            assert len(listening_sockets(8080)) == 1
            assert [ask_line(host, 8080) for host in BOTH] == [host.encode() for host in BOTH]
            assert "serves IPv4" in (tmp_path / "server.log").read_text()
        finally:
            for pid in re.findall(r"new server is process (\d+)", output.read_text()):
                if Path(f"/proc/{pid}").exists():
                    os.killpg(int(pid), signal.SIGKILL)


def test_the_options_are_the_commands(capsys: pytest.CaptureFixture[str]) -> None:
    shown = re.findall(r"^\| `(--[a-z-]+)", PAGE, re.MULTILINE)
    with pytest.raises(SystemExit):
        main(["cutover", "--help"])
    taken = re.findall(r"^  (?:-h, )?(--[a-z-]+)", capsys.readouterr().out, re.MULTILINE)
    assert sorted(shown) == sorted({*taken} - {"--help"})
