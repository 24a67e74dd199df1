"""Parameters as Twisted's users type them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from dsadapter.messages import spelled

LISTENING: Mapping[str, str] = {
    "host": "interface",
    "reuse_port": "reusePort",
    "proxy_from": "proxyFrom",
    "proxy_timeout": "proxyTimeout",
    "native_ipv4": "nativeIPv4",
    "max_packet_size": "maxPacketSize",
    "allow_broadcast": "setBroadcastAllowed",
}
CONNECTING: Mapping[str, str] = {
    "bind_address": "bindAddress",
    "attempt_delay": "attemptDelay",
    "first_address_family_count": "firstAddressFamilyCount",
    "remember_outcomes": "rememberOutcomes",
    "mapped_addresses": "mappedAddresses",
}


@contextmanager
def spelling(names: Mapping[str, str]) -> Iterator[None]:
    """Raise what is wrong with a parameter in the spelling of Twisted's users.

    :param names: :data:`LISTENING` or :data:`CONNECTING`.
    """
    try:
        yield
    except (ValueError, OSError) as error:
        raise spelled(error, names) from error.__cause__
