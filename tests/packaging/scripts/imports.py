"""Print what importing a module brings in."""

import importlib
import sys

before = set(sys.modules)
importlib.import_module(sys.argv[1])
brought = sorted(set(sys.modules) - before)

import json  # noqa: E402

print(json.dumps(brought))
