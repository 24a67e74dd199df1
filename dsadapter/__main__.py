"""``python -m dsadapter`` is the command ``dsadapter``."""

from __future__ import annotations

import sys

from dsadapter.cli import main

sys.exit(main())
