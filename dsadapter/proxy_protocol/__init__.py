"""The PROXY protocol, versions 1 and 2: bytes in, a header out. No I/O, no clock, no framework.

By HAProxy's specification, https://www.haproxy.org/download/3.2/doc/proxy-protocol.txt; the
sections below are its. Whoever reads a socket has to take headers from named proxies only, to show
the application nothing before the header is complete, and to bound the time it takes (section 2).
"""

from dsadapter.proxy_protocol.header_parser import ProxyHeaderParser
from dsadapter.proxy_protocol.proxy_header import TLV, ProxyHeader
from dsadapter.proxy_protocol.tlvs import parse_tlvs
from dsadapter.proxy_protocol.version_1 import MAX_V1_LENGTH
from dsadapter.proxy_protocol.version_2 import MAX_V2_LENGTH

__all__ = [
    "MAX_V1_LENGTH",
    "MAX_V2_LENGTH",
    "TLV",
    "ProxyHeader",
    "ProxyHeaderParser",
    "parse_tlvs",
]
