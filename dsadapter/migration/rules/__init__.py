"""The rules, one module a family of patterns."""

from __future__ import annotations

from dsadapter.migration.rules import (
    descriptors,
    forgiving,
    loops,
    mapped,
    pairs,
    single,
    sniffing,
    sockets,
    strips,
)
from dsadapter.migration.rules.rule import Rule

__all__ = ["BUILT_IN", "Rule"]

#: In this order: a listener that is part of a pair or a loop is not reported for itself.
BUILT_IN: tuple[Rule, ...] = (
    loops.RULE,
    pairs.RULE,
    single.RULE,
    forgiving.RULE,
    sockets.RULE,
    strips.RULE,
    mapped.RULE,
    sniffing.RULE,
    descriptors.RULE,
)
