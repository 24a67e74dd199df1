"""What finds two-socket servers in a program's source, and makes them dual-stack ones.

Here is what a plugin needs to add rules of its own, by the hook ``dsadapter_register_rules``.
"""

from dsadapter.migration.findings import Certainty, Finding, Span
from dsadapter.migration.module import Module
from dsadapter.migration.patterns import Pattern
from dsadapter.migration.rules.rule import Rule

__all__ = ["Certainty", "Finding", "Module", "Pattern", "Rule", "Span"]
