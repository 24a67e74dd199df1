"""Whether Trio starts: under Wine it does not, and its tests are not run."""

from __future__ import annotations

import subprocess
import sys

from support.windows import lacking_in_wine


@lacking_in_wine("lacks SIO_BSP_HANDLE_SELECT, which Trio starts with")
def test_trio_starts() -> None:
    code = "import trio; trio.run(trio.sleep, 0)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True).returncode == 0
