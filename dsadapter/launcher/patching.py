"""Puts the rows of the table into modules, and takes them out again.

Imported by every covered process that imports ``socket``, so it imports little itself.
"""

from __future__ import annotations

import os
import sys

from dsadapter.launcher.table import GROUPS, Group, Row

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_MARK = "_dsadapter_replaces"

_states: dict[str, str] = {}
_done: list[tuple[Row, Any, Any, Any]] = []


def module_ran(module: Any) -> None:
    """Do what the table says of a module that has just been imported."""
    guards = _guards()
    if guards:
        _load("dsadapter.launcher.guarding:begin")()
    for group in GROUPS:
        if group.module == module.__name__ and (guards or not group.only_counts):
            apply(group, module)
    if module.__name__ == "socket":
        _watch_the_others()


def apply(group: Group, module: Any) -> None:
    """Put all rows of a group into a module, or none: where a name is not as the table has it, the
    framework stays as it is."""
    try:
        problem = _problem(group, module)
        if problem is not None:
            _switch_off(group, problem)
            return
        if group.arrives is not None:
            _load(group.arrives)(module)
        for row in group.rows:
            _put(row, module)
        _states[group.name] = "on"
    except Exception as error:
        undo(group)
        _switch_off(group, f"{type(error).__name__}: {error}")


def undo(only: Group | None = None) -> None:
    """Take every row out whose place nobody has taken since; what was inherited is deleted, so
    that the class is as it was."""
    for entry in reversed(_done[:]):
        row, owner, original, replacement = entry
        if only is not None and row not in only.rows:
            continue
        _done.remove(entry)
        if vars(owner).get(row.name) is not replacement:
            continue
        if row.inherited:
            delattr(owner, row.name)
        else:
            setattr(owner, row.name, original)
    for group in GROUPS if only is None else (only,):
        _states.pop(group.name, None)


def states() -> dict[str, str]:
    """By the name of a group: ``on``, or why it is off; nothing for one that was not imported."""
    return dict(_states)


def _problem(group: Group, module: Any) -> str | None:
    for row in group.rows:
        try:
            owner = _owner(row, module)
            getattr(owner, row.name)
        except AttributeError as error:
            return f"{group.module} is not as it was ({error})"
        if row.inherited and row.name in vars(owner) and not _is_done(row, owner):
            return f"{group.module}.{row.place} is not inherited any more"
    return None if group.guard is None else _said(_load(group.guard)(module))


def _said(answer: Any) -> str | None:
    return answer if answer is None else str(answer)


def _put(row: Row, module: Any) -> None:
    owner = _owner(row, module)
    if _is_done(row, owner):
        return
    original = getattr(owner, row.name)
    replacement = _load(row.make)(original, module)
    if _guards() and hasattr(replacement, "__dict__") and _is_socket(owner):
        replacement = _load("dsadapter.launcher.guarding:counted")(row.name, replacement)
    if hasattr(replacement, "__dict__"):
        replacement.__name__ = row.name
        replacement.__qualname__ = f"{owner.__qualname__}.{row.name}"
        replacement.__doc__ = original.__doc__
        replacement.__module__ = owner.__module__
        setattr(replacement, _MARK, original)
    setattr(owner, row.name, replacement)
    _done.append((row, owner, original, replacement))


def _is_socket(owner: Any) -> bool:
    return isinstance(owner, type) and issubclass(owner, sys.modules["_socket"].socket)


def _is_done(row: Row, owner: Any) -> bool:
    return any(done is row and where is owner for done, where, *_ in _done)


def _guards() -> bool:
    """Whether mapped addresses are counted. Most processes are told so by variables alone, and
    spared the import."""
    report = sys.modules.get("dsadapter.launcher.report")
    if report is None:
        told = "DSADAPTER_RUN_GUARD_REPORT" in os.environ
        if not told and "guard" not in os.environ.get("DSADAPTER_RUN_OPTIONS", ""):
            return False
        report = _module("dsadapter.launcher.report")
    guards: bool = report.settings().guards
    return guards


def _owner(row: Row, module: Any) -> Any:
    owner = module
    for name in filter(None, row.owner.split(".")):
        owner = getattr(owner, name)
    return owner


def _load(place: str) -> Any:
    module, _, name = place.partition(":")
    return getattr(_module(module), name)


def _module(name: str) -> Any:
    __import__(name)
    return sys.modules[name]


def _switch_off(group: Group, reason: str) -> None:
    _states[group.name] = reason
    from dsadapter.launcher.report import say

    say(f"{group.name} stays as it is: {reason}")


def _watch_the_others() -> None:
    others = {group.module for group in GROUPS} - {"socket"}
    for finder in sys.meta_path:
        wanted = getattr(finder, "wanted", None)
        if isinstance(wanted, set) and "socket" in wanted:
            wanted |= others
    for name in sorted(others & sys.modules.keys()):
        module_ran(sys.modules[name])
