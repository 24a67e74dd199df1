"""Lets clients connect to the public Internet only, however a destination is written."""

from ipaddress import ip_address

from dsadapter import hookimpl
from dsadapter.addressing import AddressSet

# By IANA's special-purpose and multicast registries; the blocks for protocol assignments whole.
SPECIAL = """0.0.0.0/8 10.0.0.0/8 100.64.0.0/10 127.0.0.0/8 169.254.0.0/16 172.16.0.0/12
192.0.0.0/24 192.0.2.0/24 192.88.99.0/24 192.168.0.0/16 198.18.0.0/15 198.51.100.0/24
203.0.113.0/24 224.0.0.0/3 2001::/23 2001:db8::/32 3fff::/20"""
SPECIAL = AddressSet(SPECIAL.split())
PUBLIC = AddressSet(["0.0.0.0/0", "2000::/3"])
NAT64 = AddressSet(["64:ff9b::/96"])  # add the prefix of the network's own, if it has one


@hookimpl
def dsadapter_before_connect(attempt):
    host = attempt.destination[0]
    if not is_public(ip_address(host)):
        raise PermissionError(f"{host} is not a public address")


def is_public(address):
    if address in NAT64:
        return is_public(ip_address(address.packed[-4:]))
    if address.version == 6 and address.sixtofour is not None:
        return is_public(address.sixtofour)
    return address in PUBLIC and address not in SPECIAL
