"""The CI script on a machine that lacks something: it says so at once."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from support.builds import CHECKOUT
from support.namespaces import needs_root

SCRIPT = CHECKOUT / ".ci" / "run"


def run(folder: Path, *hidden: str) -> subprocess.CompletedProcess[str]:
    """The script in a mount namespace in which nothing is at the given paths."""
    empty = folder / "empty"
    empty.touch()
    mounts = "\n".join(f"mount --bind {empty} {path}" for path in hidden)
    return subprocess.run(
        ["unshare", "--mount", "bash", "-euc", f"{mounts}\nexec bash {folder}/checkout/.ci/run"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@needs_root
@pytest.mark.parametrize(
    ("hidden", "says"),
    [("/etc/hosts", "put '127.0.0.1 localhost' and '::1 localhost' into /etc/hosts")],
)
def test_what_a_bare_machine_lacks_is_said_at_once(tmp_path: Path, hidden: str, says: str) -> None:
    script = tmp_path / "checkout" / ".ci" / "run"
    script.parent.mkdir(parents=True)
    script.write_text(SCRIPT.read_text())
    done = run(tmp_path, hidden)
    assert done.returncode == 1
    assert says in done.stderr
    assert not (tmp_path / "checkout" / ".venv").exists()
