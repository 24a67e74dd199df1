"""Puts one group of the launcher's table in and takes it out again; prints what it finds.

Arguments: the group, and whether its module is imported before or after.
"""

import importlib
import json
import sys

from dsadapter.launcher import install, patching
from dsadapter.launcher.installing import uninstall
from dsadapter.launcher.table import GROUPS

[group] = [group for group in GROUPS if group.name == sys.argv[1]]


def owners(module):
    found = {}
    for row in group.rows:
        owner = module
        for name in filter(None, row.owner.split(".")):
            owner = getattr(owner, name)
        found[row] = owner
    return found


def mine(row, owner):
    value = vars(owner).get(row.name)
    return getattr(value, "__module__", "") != "" and "_dsadapter_replaces" in dir(value)


before = None
if sys.argv[2] == "before":
    module = importlib.import_module(group.module)
    before = {owner: dict(vars(owner)) for owner in owners(module).values()}
install()
importlib.import_module("socket")
module = importlib.import_module(group.module)
found = owners(module)
states = [patching.states().get(group.name)]
put = [vars(owner).get(row.name) for row, owner in found.items()]
install()
states.append(patching.states().get(group.name))
again = [vars(owner).get(row.name) for row, owner in found.items()]
named = [
    getattr(value, "__name__", None) == row.name for row, value in zip(found, put, strict=True)
]
uninstall()
left = [row.place for row, owner in found.items() if row.inherited and row.name in vars(owner)]
left += [row.place for row, owner in found.items() if not row.inherited and mine(row, owner)]
same = before is None or all(dict(vars(owner)) == held for owner, held in before.items())
print(
    json.dumps(
        {
            "states": states,
            "in": all(value is not None for value in put),
            "twice": put == again,
            "named": all(named),
            "left": left,
            "same": same,
        }
    )
)
