"""Parameters as Twisted's users type them."""

from __future__ import annotations

from collections.abc import Mapping

LISTENING: Mapping[str, str] = {
    "host": "interface",
    # As in an endpoint string.
    "family='ipv4'": "family=ipv4",
    "family='ipv6'": "family=ipv6",
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
