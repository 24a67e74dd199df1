"""How observers are called: isolated from each other and from whoever has something to tell."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable
from typing import Any

from dsadapter.hooks.contracts import IListener
from dsadapter.hooks.specifications import Implementation
from dsadapter.hooks.wording import PROGRAM_ENDS, remedy, returned
from dsadapter.messages import said_of
from dsadapter.rate_limit import RateLimit

logger = logging.getLogger("dsadapter.plugins")


class Observer:
    """One implementation of a hook that reports something; what it raises ends here.

    :param expects_listener: called if it can't be told of connections without a listener.
    """

    __slots__ = (
        *("_complaints", "_expects_listener", "_function", "_hook"),
        *("plugin", "registered", "tell"),
    )

    tell: Callable[[Any], None]
    """Tell it of a record, unless it has gone."""

    def __init__(
        self, hook: str, implementation: Implementation, expects_listener: Callable[[str], None]
    ) -> None:
        function = implementation.function
        self._hook = hook
        self.plugin = implementation.plugin
        self._function: Callable[[Any], Any] = (
            function if implementation.arguments else lambda _record: function()
        )
        self._expects_listener = expects_listener
        self.registered = True
        self._complaints = RateLimit()

        def tell(record: Any) -> None:
            if not self.registered:
                return
            try:
                result = self._function(record)
            except PROGRAM_ENDS:
                raise
            except BaseException as error:
                self._failed(record, error)
            else:
                if result is not None:
                    self._complain(returned(result), None)

        # Twice a connection: to call an object takes longer than to call a function.
        self.tell = tell

    def _failed(self, record: Any, error: BaseException) -> None:
        if getattr(record, "listener", record) is None and _misses_listener(error):
            logger.error("%s", _needs_change(self.plugin, error))
            self._expects_listener(self.plugin)
        else:
            self._complain(f"raised {said_of(error)}", error)

    def leave_out_outbound(self) -> None:
        """From now on pass no connection on that has no listener."""
        function = self._function
        self._function = lambda connection: (
            None if connection.listener is None else function(connection)
        )

    def _complain(self, what: str, error: BaseException | None) -> None:
        unsaid = self._complaints.admit()
        if unsaid is None:
            return
        logger.error(
            "plugin %r %s in %s%s; nothing else was affected; %s",
            self.plugin,
            what,
            self._hook,
            unsaid,
            remedy(self.plugin),
            exc_info=error,
        )


def _misses_listener(error: BaseException) -> bool:
    """Whether a plugin took the listener of an outbound connection for one: asked it for something,
    or looked it up among those that it was told of."""
    if isinstance(error, AttributeError):
        return error.obj is None and error.name in IListener
    return isinstance(error, KeyError) and error.args == (None,)


def _needs_change(plugin: str, error: BaseException) -> str:
    place = traceback.extract_tb(error.__traceback__)[-1]
    return (
        f"plugin {plugin!r} is told of accepted connections only, until {place.filename}, line "
        f"{place.lineno} is changed ({place.line!r}): connection.listener is None if "
        f"connection.direction is 'outbound'"
    )
