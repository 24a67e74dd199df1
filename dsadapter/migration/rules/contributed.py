"""The rules of plugins."""

from __future__ import annotations

import sys
from importlib.metadata import entry_points
from typing import Any

from dsadapter.errors import PluginError
from dsadapter.migration.patterns import PATTERNS
from dsadapter.migration.rules.rule import Rule

_HOOK = "dsadapter_register_rules"
_MANAGER = "dsadapter.hooks.manager"


class InvalidRuleError(Exception):
    """A plugin contributes what is no rule, or fails to."""


def contributed_rules() -> list[Rule]:
    """The rules of the registered and the installed plugins.

    :raises InvalidRuleError: naming the plugin, and what is wrong with it.
    """
    if _MANAGER not in sys.modules and not entry_points(group="dsadapter"):
        return []  # pluggy and zope.interface take their time
    from dsadapter.hooks.manager import get_plugin_manager

    manager = get_plugin_manager()
    try:
        manager.check_required()
        contributions = manager.contributions(_HOOK)
    except PluginError as error:
        raise InvalidRuleError(str(error)) from error
    owners = dict.fromkeys(PATTERNS, "dsadapter")
    return [rule for name, result in contributions for rule in _rules(name, result, owners)]


def _rules(name: str, result: Any, owners: dict[str, str]) -> list[Rule]:
    if result is None:
        return []
    rules = [result] if isinstance(result, Rule) else result
    if not isinstance(rules, (list, tuple)) or not all(isinstance(r, Rule) for r in rules):
        raise InvalidRuleError(
            f"plugin {name!r} returned {result!r} from {_HOOK}; return dsadapter.migration.Rule,"
            " or a list of them"
        )
    for rule in rules:
        if not rule.triggers or not all(isinstance(t, bytes) and t for t in rule.triggers):
            raise InvalidRuleError(
                f"a rule of plugin {name!r} has the triggers {rule.triggers!r}; name bytes that a"
                " file must hold"
            )
        for pattern in rule.patterns:
            owner = owners.setdefault(pattern.id, name)
            if owner != name:
                raise InvalidRuleError(
                    f"plugin {name!r} has a pattern {pattern.id!r}, which is {owner}'s; give it an"
                    " id of its own"
                )
    return list(rules)
