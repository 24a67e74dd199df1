"""The addresses of one name that one connect may try."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from socket import if_indextoname

from dsadapter.addressing.literal import parse_literal, require_literal
from dsadapter.addressing.sockaddr import SocketAddress
from dsadapter.connector.lookups import Found, Subscriber, Subscription
from dsadapter.connector.story import FailedAttempt
from dsadapter.connector.waiting import Cancellable, Waiting
from dsadapter.errors import AddressFamilyError
from dsadapter.messages import Message, quoted
from dsadapter.policy import ConnectPolicy, Family
from dsadapter.sockets.connecting import check_bind_address
from dsadapter.sockets.ifaddrs import scoped_sockaddr

Ask = Callable[[Sequence[Family], Subscriber], Subscription]

_NAMES = {"ipv4": "IPv4", "ipv6": "IPv6"}


class Candidates:
    """What a resolver finds for one connect: canonical, and only what the policy lets pass.

    Addresses that come in one turn of the event loop are told of together, in the resolver's order.

    :param ask: asks for the addresses of some families.
    :param changed: called without arguments when there are more addresses, or fewer to expect; not
        after :meth:`cancel`.
    :param guarded: calls a function, and takes what it raises: no resolver is to meet that.
    """

    def __init__(
        self,
        waiting: Waiting,
        target: tuple[str, int],
        policy: ConnectPolicy,
        ask: Ask,
        changed: Callable[[], None],
        guarded: Callable[[Callable[[], None]], None],
    ) -> None:
        self.left_out: list[FailedAttempt] = []
        """Addresses that are not to be tried, and why."""
        self._waiting = waiting
        self._port = target[1]
        self._ask = ask
        self._policy = policy
        self._changed: Callable[[], None] | None = changed
        self.guarded = guarded
        self._parts: list[_Part] = []
        self._flushing: Cancellable | None = None

    def start(self, questions: Sequence[Sequence[Family]]) -> None:
        """Ask.

        :param questions: the families of each question: both at once, or each on its own.
        """
        # All of them first: a resolver may answer before it returns.
        parts = [_Part(self, families) for families in questions]
        self._parts = list(parts)
        for part in parts:
            if self._changed is not None:
                part.ask(self._ask)

    @property
    def addresses(self) -> list[SocketAddress]:
        """Canonical; what has been asked for first comes first."""
        if len(self._parts) == 1:
            return self._parts[0].addresses
        return [address for part in self._parts for address in part.addresses]

    @property
    def expected(self) -> set[Family]:
        """The families of which addresses may still come."""
        expected: set[Family] = set()
        for part in self._parts:
            if not part.is_complete:
                expected.update(part.families)
        return expected

    @property
    def failures(self) -> list[str]:
        """Why the resolver has no answer, as far as it says."""
        return [part.failure for part in self._parts if part.failure is not None]

    @property
    def more(self) -> int:
        """How many addresses the name has beyond those that are looked at."""
        return sum(part.left_out for part in self._parts)

    def cancel(self) -> None:
        """Tell of nothing any more."""
        self._changed = None
        self._stop_flushing()
        for part in self._parts:
            part.cancel()

    def accepted(self, found: Found) -> SocketAddress | None:
        """What a resolver has found, canonical; None if it is left out."""
        host, scope_id = found
        # What is no address has no canonical form.
        shown: SocketAddress = (host, self._port)
        try:
            if scope_id or "%" in host:
                address = shown = _scoped_sockaddr(host, self._port, scope_id)
            else:
                address = shown = _canonical_sockaddr(host, self._port)
            if len(address) == 2 and ":" in host:
                self._check_mapped(address)
            if self._policy.bind_address is not None:
                check_bind_address(address[0], self._policy.bind_address)
        except (OSError, ValueError) as error:
            self.left_out.append(FailedAttempt(shown, 0, error))
            return None
        return address

    def _check_mapped(self, address: SocketAddress) -> None:
        if self._policy.mapped_addresses == "refuse":
            raise AddressFamilyError(
                Message(
                    "the resolver gave {address} as an IPv4-mapped address, which "
                    "{mapped_addresses}='refuse' leaves out",
                    address=address[0],
                )
            )

    def changed(self) -> None:
        """A question has been answered."""
        self._stop_flushing()
        if self._changed is not None:
            self._changed()

    def changed_soon(self) -> None:
        """A question has a part of its answer."""
        if self._flushing is None and self._changed is not None:
            self._flushing = self._waiting.call_later(0, lambda: self.guarded(self._flush))

    def ask_each(self, joint: _Part) -> None:
        """A question for several families has found nothing: a server that answers for one of them
        only may fail them all."""
        parts = [_Part(self, (family,)) for family in joint.families]
        place = self._parts.index(joint)
        self._parts[place : place + 1] = parts
        for part in parts:
            if self._changed is not None:
                part.ask(self._ask)

    def _flush(self) -> None:
        self._flushing = None
        self.changed()

    def _stop_flushing(self) -> None:
        if self._flushing is not None:
            self._flushing.cancel()
            self._flushing = None


class _Part:
    """One question of one connect."""

    def __init__(self, candidates: Candidates, families: Sequence[Family]) -> None:
        self.families = families
        self.addresses: list[SocketAddress] = []
        self.is_complete = False
        self.failure: str | None = None
        self.left_out = 0
        self._candidates = candidates
        self._subscription: Subscription | None = None
        self._taken = 0

    def ask(self, ask: Ask) -> None:
        self._subscription = ask(self.families, self)
        if self._subscription.answer.is_complete:
            self.complete()
        elif self._subscription.answer.addresses:
            self.more()

    def more(self) -> None:
        self._candidates.guarded(self._more)

    def complete(self) -> None:
        self._candidates.guarded(self._complete)

    def _more(self) -> None:
        if not self.is_complete:
            self._candidates.changed_soon()
            self._take()

    def _complete(self) -> None:
        subscription = self._subscription
        if self.is_complete or subscription is None:
            return
        self._take()
        self.is_complete = True
        answer = subscription.answer
        self.left_out = answer.left_out
        if answer.failure is not None:
            families = " and ".join(_NAMES[family] for family in self.families)
            self.failure = f"{families}: {answer.failure}"
        if not answer.addresses and len(self.families) > 1:
            self._candidates.ask_each(self)
        else:
            self._candidates.changed()

    def cancel(self) -> None:
        self.is_complete = True
        if self._subscription is not None:
            self._subscription.cancel()

    def _take(self) -> None:
        assert self._subscription is not None
        found = list(self._subscription.answer.addresses)
        new, self._taken = found[self._taken :], len(found)
        accepted = self._candidates.accepted
        for each in new:
            address = accepted(each)
            if address is not None:
                self.addresses.append(address)


@lru_cache(maxsize=2048)
def _canonical_sockaddr(host: str, port: int) -> SocketAddress:
    """For most addresses; a name means the same ones for a while."""
    return _scoped_sockaddr(host, port, 0)


def _scoped_sockaddr(host: str, port: int, scope_id: int | str) -> SocketAddress:
    """A scope id survives, in whichever of its places a resolver has put it. The interfaces that it
    means come and go."""
    literal = parse_literal(host)
    if literal is None:
        raise ValueError(f"{quoted(host)} is not an address")
    if scope_id and not literal.is_ipv4 and not literal.zone:
        zone = if_indextoname(scope_id) if isinstance(scope_id, int) else scope_id
        literal = require_literal(f"{literal}%{zone}")
    return scoped_sockaddr(str(literal), port)
