"""Connecting, for any framework: what races, filters, remembers and explains.

A framework adds how it waits (:class:`~dsadapter.connector.waiting.Waiting`), and its own address,
transport and error types.
"""

from dsadapter.connector.lookups import Answer, Lookups
from dsadapter.connector.os_errors import attempt_errors, error_of
from dsadapter.connector.race import Race
from dsadapter.connector.shared import Connector
from dsadapter.connector.story import FailedAttempt, Unconnected
from dsadapter.connector.waiting import Cancellable, Waiting
from dsadapter.happy_eyeballs.outcomes import Outcomes

__all__ = [
    "Answer",
    "Cancellable",
    "Connector",
    "FailedAttempt",
    "Lookups",
    "Outcomes",
    "Race",
    "Unconnected",
    "Waiting",
    "attempt_errors",
    "error_of",
]
