"""What the package logs, carried from the standard library's logger into Twisted's log.

A message reaches each place once: Twisted's log, and whatever handlers the application has. Where
Twisted's log goes on into :mod:`logging`, and where standard error is Twisted's log, the two would
meet; and before Twisted has begun to log, nobody would hear.
"""

from __future__ import annotations

import atexit
import logging
import threading
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

from twisted.logger import (
    FilteringLogObserver,
    LimitedHistoryLogObserver,
    Logger,
    LoggingFile,
    LogLevel,
    LogPublisher,
    STDLibLogObserver,
)
from twisted.python.failure import Failure

from dsadapter.frameworks.twisted.spelling import CONNECTING, LISTENING
from dsadapter.messages import Message

_SPELLING: Mapping[str, str] = {**CONNECTING, **LISTENING}
_LEVELS = (
    (logging.CRITICAL, LogLevel.critical),
    (logging.ERROR, LogLevel.error),
    (logging.WARNING, LogLevel.warn),
    (logging.INFO, LogLevel.info),
)
# Like INFO, and not what an application would set.
_OUR_LEVEL = logging.INFO - 1
# They pass an event on, or keep it for later.
_NOBODY = (LogPublisher, FilteringLogObserver, LimitedHistoryLogObserver)
# As many as Twisted keeps for a log that has not begun.
_KEPT = 200
_logger = logging.getLogger("dsadapter")


def carry_log(reactor: Any = None) -> None:
    """Begin to carry, unless that has begun; to be called before anything is logged.

    :param reactor: opens sockets now. If Twisted does not log when it runs, what nobody has heard
        goes where :mod:`logging` sends what it has no handler for: to standard error.
    """
    if _carrier not in _logger.handlers:
        _logger.addHandler(_carrier)
        logging.getLogger("twisted").addFilter(_returned)
        atexit.register(_carrier.speak_up)
        if _logger.level == logging.NOTSET:
            _logger.setLevel(_OUR_LEVEL)
            _logger.addFilter(_wanted)
    if reactor is not None and not _carrier.waits:
        _carrier.waits = True
        # twist opens sockets before it begins to log, and runs the reactor after.
        getattr(reactor, "callWhenRunning", _call)(_carrier.speak_up)


def _call(function: Callable[[], None]) -> None:
    function()


class _Carrier(logging.Handler):
    """The one handler of the package's logger."""

    def __init__(self) -> None:
        super().__init__()
        self.waits = False
        """Whether a reactor has been asked to say when it runs."""
        self.carrying = threading.local()
        self._speaks = False
        self._unheard: deque[tuple[logging.LogRecord, _Trace]] = deque(maxlen=_KEPT)

    def emit(self, record: logging.LogRecord) -> None:
        self.carry(record, _handlers(record.name, record.levelno))

    def carry(self, record: logging.LogRecord, others: list[logging.Handler]) -> None:
        """Carry a message.

        :param others: the handlers of the application that get it besides.
        """
        if hasattr(self.carrying, "others") or any(_is_twisted_log(each) for each in others):
            return
        trace = _Trace()
        self.carrying.others = others
        try:
            level = next((ours for least, ours in _LEVELS if record.levelno >= least), None)
            event: dict[str, Any] = {"log_trace": trace}
            if record.exc_info and record.exc_info[1] is not None:
                kind, error, traceback = record.exc_info
                event["log_failure"] = Failure(error, kind, traceback)
            text = _text(record).replace("{", "{{").replace("}", "}}")
            Logger(record.name).emit(level or LogLevel.debug, text, **event)
        finally:
            del self.carrying.others
        if not trace.heard and not others:
            self._unheard.append((record, trace))
            if self._speaks:
                self.speak_up()

    def speak_up(self) -> None:
        """Say on standard error what Twisted's log still has for itself, from now on at once."""
        self._speaks = True
        last = logging.lastResort
        while self._unheard:
            record, trace = self._unheard.popleft()
            if not trace.heard and last is not None and record.levelno >= last.level:
                last.handle(record)


class _Trace:
    """``log_trace`` of an event: is told of each observer that is about to get it, also when
    Twisted begins to log and catches up."""

    def __init__(self) -> None:
        self.heard = False

    def append(self, step: tuple[Any, Any]) -> None:
        _, observer = step
        if isinstance(observer, STDLibLogObserver):
            observer.logger.addFilter(_returned)
        if not isinstance(observer, (*_NOBODY, Logger)):
            self.heard = True


def _returned(record: logging.LogRecord) -> bool:
    """For a logger into which Twisted's log goes on: what is being carried has been where it
    would go, but for handlers that are this logger's alone."""
    others = getattr(_carrier.carrying, "others", None)
    if others is None:
        return True
    handlers = _handlers(record.name, record.levelno)
    for handler in handlers:
        if handler not in others:
            handler.handle(record)
    return not handlers


def _wanted(record: logging.LogRecord) -> bool:
    """Our level is below that of the application's handlers, for Twisted's log alone."""
    parent = _logger.parent
    if (
        _logger.level != _OUR_LEVEL
        or parent is None
        or record.levelno >= parent.getEffectiveLevel()
    ):
        return True
    _carrier.carry(record, [])
    return False


def _handlers(name: str, level: int) -> list[logging.Handler]:
    """The application's handlers that a message of a logger reaches."""
    found: list[logging.Handler] = []
    logger: logging.Logger | None = logging.getLogger(name)
    while logger is not None:
        found += (each for each in logger.handlers if level >= each.level)
        logger = logger.parent if logger.propagate else None
    return [each for each in found if each is not _carrier]


def _is_twisted_log(handler: logging.Handler) -> bool:
    return isinstance(getattr(handler, "stream", None), LoggingFile)


def _text(record: logging.LogRecord) -> str:
    """The message, with parameters as Twisted's users type them."""
    args = record.args
    if not isinstance(args, tuple) or not any(isinstance(each, Message) for each in args):
        return record.getMessage()
    spelled = [each.spelled(_SPELLING) if isinstance(each, Message) else each for each in args]
    return str(record.msg) % tuple(spelled)


_carrier = _Carrier()
