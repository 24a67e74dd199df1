"""The Twisted drop-in: the parsers of all endpoint strings of dsadapter.

Twisted remembers the objects here in ``dropin.cache``, which an upgrade may leave stale: a name
that has been released stays.
"""

from dsadapter.frameworks.twisted.strings.parsers import (
    CanonicalServerParser,
    DualStackClientParser,
    DualStackServerParser,
)

dualstackServer = DualStackServerParser()
dualstackClient = DualStackClientParser()
canonicalServer = CanonicalServerParser()
