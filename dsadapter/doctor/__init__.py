"""``dsadapter doctor``: what this machine and this interpreter can do, and would do.

Here is what a plugin needs to add checks of its own, by the hook ``dsadapter_register_checks``.
"""

from __future__ import annotations

from dsadapter.doctor.findings import AskedPort, Check, Finding, Mark, Question

__all__ = ["AskedPort", "Check", "Finding", "Mark", "Question"]
