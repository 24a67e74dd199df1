from __future__ import annotations

import sys

# Windows' Python runs these: tests/platforms/in-wine.
collect_ignore_glob = [] if sys.platform == "win32" else ["test_*.py"]
