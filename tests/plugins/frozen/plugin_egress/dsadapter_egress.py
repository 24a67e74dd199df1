"""Lets clients connect to the public Internet only, however a destination is written."""

from ipaddress import ip_address, ip_network

from dsadapter import hookimpl

GLOBAL_UNICAST = ip_network("2000::/3")
# Add the prefix of the network's own NAT64, if it has one.
NAT64 = [ip_network("64:ff9b::/96")]


@hookimpl
def dsadapter_before_connect(attempt):
    host = attempt.destination[0]
    if not is_public(ip_address(host)):
        raise PermissionError(f"{host} is not a public address")


def is_public(address):
    if address.version == 4:
        return address.is_global and not address.is_multicast
    if any(address in prefix for prefix in NAT64):
        return is_public(ip_address(address.packed[-4:]))
    if address.sixtofour is not None:
        return is_public(address.sixtofour)
    return address in GLOBAL_UNICAST and address.is_global
