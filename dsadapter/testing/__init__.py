"""For the tests of plugins: a plugin that records, and plugins that are registered for a while.

With pytest, ``pytest_plugins = ["dsadapter.testing.pytest_plugin"]`` in a ``conftest.py`` brings
the fixture ``register_plugin``.
"""

from dsadapter.testing.recording import Event, RecordingPlugin
from dsadapter.testing.registration import registered

__all__ = ["Event", "RecordingPlugin", "registered"]
