"""Dual-stack networking for existing frameworks, without IPv4-mapped addresses in the application.

The pure part is :mod:`dsadapter.addressing`; a framework's part is imported by its own name
(:mod:`dsadapter.frameworks.twisted`). Importing this package imports none of them.
"""

__all__ = ["__version__"]

__version__ = "0.1.0.dev0"
