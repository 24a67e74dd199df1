"""For the tests of plugins and adapters: a plugin that records, plugins that are registered for a
while, and how :mod:`dsadapter.testing.conformance` uses an adapter.

With pytest, ``pytest_plugins = ["dsadapter.testing.pytest_plugin"]`` in a ``conftest.py`` brings
the fixture ``register_plugin``.
"""

from dsadapter.testing.driver import Driver, Report
from dsadapter.testing.recording import Event, RecordingPlugin
from dsadapter.testing.registration import registered

__all__ = ["Driver", "Event", "RecordingPlugin", "Report", "registered"]
