"""Names to addresses, by Twisted's resolvers."""

from __future__ import annotations

from collections.abc import Sequence
from socket import AF_INET, AF_INET6, inet_ntop
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import (
    IAddress,
    IHostnameResolver,
    IHostResolution,
    IResolutionReceiver,
    IResolver,
)
from twisted.python.failure import Failure
from zope.interface import implementer

from dsadapter.connector.lookups import Answer, Lookups
from dsadapter.connector.waiting import Cancellable
from dsadapter.messages import said_of
from dsadapter.policy import Family

if TYPE_CHECKING:
    # zope.interface 5 has no such operator.
    AnyResolver = IHostnameResolver | IResolver

_TYPES = {"ipv4": IPv4Address, "ipv6": IPv6Address}
# RFC 1035 and RFC 3596: the types of records. RFC 1035, section 4.1.1: the codes of responses.
_RECORD_TYPES = {"ipv4": (1, AF_INET), "ipv6": (28, AF_INET6)}
_RESPONSES = {1: "FORMERR", 2: "SERVFAIL", 3: "NXDOMAIN", 4: "NOTIMP", 5: "REFUSED"}
# Seconds for each try, as long as twisted.names waits of itself.
_TIMEOUTS = (1, 3, 11, 45)

_lookups: WeakKeyDictionary[Any, Lookups] = WeakKeyDictionary()


def checked_resolver(resolver: AnyResolver | None) -> AnyResolver | None:
    """The resolver itself.

    :raises ValueError: if it is none.
    """
    if resolver is None:
        return None
    if IHostnameResolver.providedBy(resolver) or IResolver.providedBy(resolver):
        return resolver
    raise ValueError(
        f"resolver {resolver!r} provides neither IHostnameResolver nor IResolver; give one such as "
        f"twisted.names.client.createResolver(), or None for the reactor's"
    )


def lookups_of(resolver: AnyResolver) -> Lookups:
    """What is being asked of a resolver, by whichever endpoint."""
    try:
        return _lookups[resolver]
    except KeyError:
        return _lookups.setdefault(resolver, Lookups())
    except TypeError:
        # It allows no weak references, or has no hash.
        return Lookups()


def look_up(
    resolver: AnyResolver, host: str, families: Sequence[Family], answer: Answer
) -> Cancellable:
    """Ask a resolver once; an ``IResolver`` for one family."""
    if not IHostnameResolver.providedBy(resolver):
        [family] = families
        return _ask_for_records(resolver, host, family, answer)
    receiver = _Receiver(answer)
    types = (_TYPES[families[0]],) if len(families) == 1 else None
    resolver.resolveHostName(receiver, host, 0, types, "TCP")
    return receiver


@implementer(IResolutionReceiver)
class _Receiver:
    """What an ``IHostnameResolver`` tells."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self._resolution: IHostResolution | None = None

    def resolutionBegan(self, resolutionInProgress: IHostResolution) -> None:
        """The resolver has started."""
        self._resolution = resolutionInProgress

    def addressResolved(self, address: IAddress) -> None:
        """The resolver has found an address."""
        if isinstance(address, (IPv4Address, IPv6Address)):
            # Some put an IPv6 address into an IPv4Address.
            self._answer.found(address.host, getattr(address, "scopeID", 0))

    def resolutionComplete(self) -> None:
        """The resolver has found all addresses."""
        self._answer.done()

    def cancel(self) -> None:
        """The answer is not wanted any more.

        :raises NotImplementedError: by Twisted's own, whose threads can't be stopped.
        """
        if self._resolution is not None:
            self._resolution.cancel()


def _ask_for_records(
    resolver: IResolver, host: str, family: Family, answer: Answer
) -> Deferred[Any]:
    ask = resolver.lookupAddress if family == "ipv4" else resolver.lookupIPV6Address
    record_type, address_family = _RECORD_TYPES[family]

    def found(sections: Sequence[Sequence[Any]]) -> None:
        for record in sections[0]:
            if record.type == record_type:
                answer.found(inet_ntop(address_family, record.payload.address))
        answer.done()

    def failed(reason: Failure) -> None:
        answer.done(_description(reason.value))

    deferred: Deferred[Any] = ask(host.removesuffix("."), _TIMEOUTS)
    deferred.addCallback(found).addErrback(failed)
    return deferred


def _description(error: BaseException | None) -> str:
    # The errors of twisted.names carry the whole response.
    response = getattr(error.args[0] if error is not None and error.args else None, "rCode", None)
    if response is not None:
        return _RESPONSES.get(response, f"response code {response}")
    return "" if error is None else said_of(error)
