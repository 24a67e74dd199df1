"""Lookups of names, shared by whoever wants the same answer at the same time."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Sequence
from typing import Protocol

from dsadapter.connector.waiting import Cancellable
from dsadapter.messages import said_of
from dsadapter.policy import Family

MAX_ADDRESSES = 64
"""How many addresses of each family of a name are taken; what comes after them is only counted."""

logger = logging.getLogger("dsadapter")

Found = tuple[str, int | str]
"""An address as text, and its scope id: an interface's number or name, 0 for none."""


class LookUp(Protocol):
    """A framework's way to ask for addresses."""

    def __call__(self, host: str, families: Sequence[Family], answer: Answer) -> Cancellable | None:
        """Ask once for all these families.

        :param host: a name, in ASCII.
        :param answer: what to tell of each address, and of the end; before this returns, too.
        :returns: what cancels it, which raises NotImplementedError where it can't be stopped; None
            if it is over.
        """


class Subscriber(Protocol):
    """Who waits for an answer."""

    def more(self) -> object:
        """There are more addresses."""

    def complete(self) -> object:
        """There are no more to come."""


class Answer:
    """One question to a resolver, and what has come of it so far.

    :param families: what is asked for.
    """

    def __init__(self, families: Sequence[Family], ended: Callable[[], None]) -> None:
        self.families = families
        self.addresses: dict[Found, None] = {}
        """In the resolver's order, each once; at most :data:`MAX_ADDRESSES` of each family."""
        self.left_out = 0
        """How many there were beyond that."""
        self.failure: str | None = None
        """Why there is no answer, as far as the resolver says."""
        self.is_complete = False
        self._ended = ended
        self._room = {":": MAX_ADDRESSES, ".": MAX_ADDRESSES}
        self._subscribers: list[Subscriber] = []
        self._asking: Cancellable | None = None

    def found(self, host: str, scope_id: int | str = 0) -> None:
        """The resolver has an address, or what it takes for one."""
        if not isinstance(host, str):
            host = str(host)
        if self.is_complete or (host, scope_id) in self.addresses:
            return
        kind = ":" if ":" in host else "."
        if not self._room[kind]:
            self.left_out += 1
            return
        self._room[kind] -= 1
        self.addresses[host, scope_id] = None
        if self._subscribers:
            for subscriber in tuple(self._subscribers):
                subscriber.more()

    def done(self, failure: str | None = None) -> None:
        """The resolver has told everything.

        :param failure: why it has no answer, if it has none.
        """
        if self.is_complete:
            return
        self.failure = failure
        self._close()
        subscribers, self._subscribers = self._subscribers, []
        for subscriber in subscribers:
            subscriber.complete()

    def ask(self, look_up: LookUp, host: str) -> None:
        """Put the question; a resolver that raises has no answer."""
        try:
            asking = look_up(host, self.families, self)
        except BaseException as error:
            self.done(said_of(error))
        else:
            if self.is_complete:
                # It was over, or given up, before there was anything to cancel.
                return
            self._asking = asking

    def subscribe(self, subscriber: Subscriber) -> None:
        """Tell somebody of what comes from now on."""
        if not self.is_complete:
            self._subscribers.append(subscriber)

    def leave(self, subscriber: Subscriber) -> None:
        """Somebody waits no more; the last one stops the question.

        One that can't be stopped stays in flight, so that it is not put again beside itself.
        """
        if subscriber not in self._subscribers:
            return
        self._subscribers.remove(subscriber)
        if self._subscribers or self.is_complete:
            return
        asking = self._asking
        if asking is None:
            self._close()
            return
        with contextlib.suppress(NotImplementedError):
            try:
                asking.cancel()
            except NotImplementedError:
                raise
            except BaseException as error:
                logger.warning("a resolver failed to stop a lookup", exc_info=error)
            self._close()

    def _close(self) -> None:
        if not self.is_complete:
            self.is_complete = True
            self._ended()


class Subscription:
    """One subscriber's part in an answer."""

    def __init__(self, answer: Answer, subscriber: Subscriber) -> None:
        self.answer = answer
        self._subscriber = subscriber

    def cancel(self) -> None:
        """Wait no more."""
        self.answer.leave(self._subscriber)


class Lookups:
    """What is being asked of one resolver: at most one question for each name and its families.

    An answer is kept for those who wait for it, and no longer.
    """

    def __init__(self) -> None:
        self._in_flight: dict[tuple[str, tuple[Family, ...]], Answer] = {}

    def ask(
        self, look_up: LookUp, host: str, families: Sequence[Family], subscriber: Subscriber
    ) -> Subscription:
        """Ask, or join those who have asked. The answer may be there already.

        :param look_up: asks the resolver.
        :param host: a name, in ASCII; case makes no other name of it.
        """
        key = (host.lower(), tuple(families))
        answer = self._in_flight.get(key)
        if answer is not None:
            answer.subscribe(subscriber)
            return Subscription(answer, subscriber)

        def ended() -> None:
            del self._in_flight[key]

        answer = self._in_flight[key] = Answer(families, ended)
        answer.ask(look_up, host)
        answer.subscribe(subscriber)
        return Subscription(answer, subscriber)
