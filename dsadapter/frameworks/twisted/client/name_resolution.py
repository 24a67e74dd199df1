"""Names to addresses, by Twisted's resolvers."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from socket import AF_INET, AF_INET6, if_indextoname, inet_ntop
from typing import TYPE_CHECKING, Any

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

from dsadapter.addressing.literal import parse_literal, require_literal
from dsadapter.addressing.sockaddr import SocketAddress
from dsadapter.errors import AddressFamilyError
from dsadapter.frameworks.twisted.client.connecting_errors import FailedAttempt
from dsadapter.happy_eyeballs.ordering import is_ipv6
from dsadapter.messages import Message, quoted
from dsadapter.policy import ConnectPolicy
from dsadapter.sockets.connecting import check_bind_address
from dsadapter.sockets.ifaddrs import scoped_sockaddr

if TYPE_CHECKING:
    # zope.interface 5 has no such operator.
    AnyResolver = IHostnameResolver | IResolver
_AddressType = type[IPv4Address] | type[IPv6Address]

# RFC 1035 and RFC 3596: the types of records. RFC 1035, section 4.1.1: the codes of responses.
_RECORD_TYPES = {IPv4Address: (1, AF_INET), IPv6Address: (28, AF_INET6)}
_RESPONSES = {1: "FORMERR", 2: "SERVFAIL", 3: "NXDOMAIN", 4: "NOTIMP", 5: "REFUSED"}
# Seconds for each try, as long as twisted.names waits of itself.
_TIMEOUTS = (1, 3, 11, 45)
_FAMILIES = {IPv4Address: "IPv4", IPv6Address: "IPv6"}


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


class Lookup:
    """The addresses of one name, as they come.

    Those that come in one reactor turn are handed over together, in the resolver's order.

    :param changed: called without arguments when there are more addresses, or fewer to expect.
    """

    def __init__(
        self,
        reactor: Any,
        target: tuple[str, int],
        policy: ConnectPolicy,
        changed: Callable[[], None],
    ) -> None:
        self.left_out: list[FailedAttempt] = []
        """Addresses that are not to be tried, and why."""
        self.failures: list[str] = []
        """Why the resolver has no answer, as far as it says."""
        self._reactor = reactor
        self._host, self._port = target
        self._policy = policy
        self._changed: Callable[[], None] | None = changed
        self._questions: list[Question] = []
        self._flushing: Any = None

    def start(self, resolver: AnyResolver | None) -> None:
        """Ask a resolver for each family on its own, or the reactor's for both at once."""
        types: Sequence[tuple[_AddressType, ...]] = [(IPv6Address,), (IPv4Address,)]
        if resolver is None:
            types, resolver = [(IPv6Address, IPv4Address)], self._reactor.nameResolver
        # All of them first: a resolver may answer before it returns.
        self._questions = [Question(self, of) for of in types]
        for question in self._questions:
            question.ask(resolver, self._host, self._port)

    @property
    def addresses(self) -> list[SocketAddress]:
        """Canonical; what has been asked for first comes first."""
        return [address for question in self._questions for address in question.addresses]

    def expects(self, addressType: _AddressType) -> bool:
        """Whether addresses of a family may still come."""
        return any(addressType in q.addressTypes for q in self._questions if not q.complete)

    def cancel(self) -> None:
        """Hand over nothing any more."""
        self._changed = None
        self._stop_flushing()
        for question in self._questions:
            question.cancel()

    @property
    def cancelled(self) -> bool:
        """Whether anybody still waits."""
        return self._changed is None

    def accepted(self, host: str, scope_id: int | str) -> SocketAddress | None:
        """What a resolver has found, canonical; None if it is left out."""
        # What is no address has no canonical form.
        shown: SocketAddress = (host, self._port)
        try:
            address = shown = _canonical_sockaddr(host, self._port, scope_id)
            if ":" in host and not is_ipv6(address):
                self._check_mapped(address)
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
        if self._flushing is None:
            self._flushing = self._reactor.callLater(0, self._flush)

    def _flush(self) -> None:
        self._flushing = None
        self.changed()

    def _stop_flushing(self) -> None:
        if self._flushing is not None:
            self._flushing.cancel()
            self._flushing = None


@implementer(IResolutionReceiver)
class Question:
    """One question to a resolver."""

    def __init__(self, lookup: Lookup, addressTypes: tuple[_AddressType, ...]) -> None:
        self.addressTypes = addressTypes
        self.addresses: list[SocketAddress] = []
        self.complete = False
        self._lookup = lookup
        self._resolution: IHostResolution | Deferred[Any] | None = None

    def ask(self, resolver: AnyResolver, host: str, port: int) -> None:
        """Ask; the answer may be there already."""
        if self._lookup.cancelled:
            return
        try:
            if IHostnameResolver.providedBy(resolver):
                both = len(self.addressTypes) == 2
                resolver.resolveHostName(
                    self, host, port, None if both else self.addressTypes, "TCP"
                )
            else:
                self._ask_for_records(resolver, host)
        except Exception:
            self._failed(Failure())

    def _ask_for_records(self, resolver: IResolver, host: str) -> None:
        name = host.removesuffix(".")
        ipv4 = self.addressTypes == (IPv4Address,)
        ask = resolver.lookupAddress if ipv4 else resolver.lookupIPV6Address
        deferred: Deferred[Any] = ask(name, _TIMEOUTS)
        self._resolution = deferred
        deferred.addCallback(self._records_found).addErrback(self._failed)

    def _records_found(self, sections: Sequence[Sequence[Any]]) -> None:
        record_type, family = _RECORD_TYPES[self.addressTypes[0]]
        for record in sections[0]:
            if record.type == record_type:
                self._found(inet_ntop(family, record.payload.address), 0)
        self.resolutionComplete()

    def _failed(self, reason: Failure) -> None:
        if self.complete:
            return
        families = " and ".join(_FAMILIES[of] for of in self.addressTypes)
        self._lookup.failures.append(f"{families}: {_description(reason.value)}")
        self.resolutionComplete()

    def resolutionBegan(self, resolutionInProgress: IHostResolution) -> None:
        """The resolver has started."""
        self._resolution = resolutionInProgress

    def addressResolved(self, address: IAddress) -> None:
        """The resolver has found an address."""
        if isinstance(address, (IPv4Address, IPv6Address)):
            # Some put an IPv6 address into an IPv4Address.
            self._found(address.host, getattr(address, "scopeID", 0))

    def _found(self, host: str, scope_id: int | str) -> None:
        if self.complete or self._lookup.cancelled:
            return
        address = self._lookup.accepted(host, scope_id)
        if address is not None:
            self.addresses.append(address)
            self._lookup.changed_soon()

    def resolutionComplete(self) -> None:
        """The resolver has found all addresses."""
        if not self.complete:
            self.complete = True
            self._lookup.changed()

    def cancel(self) -> None:
        """The answer is not wanted any more."""
        if self.complete or self._resolution is None:
            return
        self.complete = True
        # Twisted's own hostname resolvers can't be stopped.
        with contextlib.suppress(NotImplementedError):
            self._resolution.cancel()


def _canonical_sockaddr(host: str, port: int, scope_id: int | str) -> SocketAddress:
    """A scope id survives, in whichever of its places a resolver has put it."""
    literal = parse_literal(host)
    if literal is None:
        raise ValueError(f"{quoted(host)} is not an address")
    if scope_id and not literal.is_ipv4 and not literal.zone:
        zone = if_indextoname(scope_id) if isinstance(scope_id, int) else scope_id
        literal = require_literal(f"{literal}%{zone}")
    return scoped_sockaddr(str(literal), port)


def _description(error: BaseException | None) -> str:
    # The errors of twisted.names carry the whole response.
    response = getattr(error.args[0] if error is not None and error.args else None, "rCode", None)
    if response is not None:
        return _RESPONSES.get(response, f"response code {response}")
    return ": ".join(filter(None, (type(error).__name__, str(error))))
