"""The modules that a rewritten program imports, and whether this version has them."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from importlib import import_module

from dsadapter.migration.findings import AddImport, Edit

TWISTED = "dsadapter.frameworks.twisted"
ASYNCIO = "dsadapter.frameworks.asyncio"
STDLIB = "dsadapter.frameworks.blocking"


def missing(adapters: Iterable[str], edits: Iterable[Edit]) -> tuple[str, ...]:
    """What a changed program would need and this version lacks, as dotted names.

    No program is rewritten to need what is not there.
    """
    wanted = [(adapter, "") for adapter in adapters]
    wanted += [
        (edit.module, edit.name)
        for edit in edits
        if isinstance(edit, AddImport) and edit.module.startswith("dsadapter.")
    ]
    lacking = {
        f"{module}.{name}" if _has(module) else module
        for module, name in wanted
        if not _has(module, name)
    }
    return tuple(sorted(lacking))


@cache
def _has(module: str, name: str = "") -> bool:
    try:
        found = import_module(module)
    except ImportError:
        return False
    return not name or hasattr(found, name)
