"""The patterns that are looked for: a stable id, what it is, why it matters, what replaces it."""

from __future__ import annotations

from typing import Literal, NamedTuple

Level = Literal["error", "warning", "note"]


class Pattern(NamedTuple):
    """One row of the table of patterns.

    :param level: ``error`` for what breaks once peers are real IPv4, or shows made-up addresses;
        ``warning`` for a server of two sockets and code that reads mapped text; ``note`` for what
        is only worth knowing.
    """

    id: str
    name: str
    why: str
    remedy: str
    level: Level = "warning"


UNUSED_IGNORE = "P0"

_TABLE = (
    Pattern(
        UNUSED_IGNORE,
        "ignore comment without effect",
        "It suppresses nothing on its lines, and would hide the next finding there.",
        "Delete the comment, or name the pattern that is found: '# dsadapter: ignore[P1]'.",
        "note",
    ),
    Pattern(
        "P1",
        "two listeners, one a family",
        "Two sockets, two accept loops and two failures for one service. On Linux the second bind"
        " fails with EADDRINUSE where IPV6_V6ONLY is off.",
        "Listen once, dual-stack.",
    ),
    Pattern(
        "P2",
        "listener for each of several addresses",
        "One socket for each address, and the second wildcard fails with EADDRINUSE on Linux where"
        " IPV6_V6ONLY is off.",
        "Listen once, dual-stack; keep the addresses that a user lists.",
    ),
    Pattern(
        "P3",
        "forgiven bind error",
        "It hides that one family is not served, and a port that another program holds.",
        "Delete the handler together with the second listener.",
    ),
    Pattern(
        "P4",
        "pair of sockets",
        "An AF_INET and an AF_INET6 socket on one port are handled apart.",
        "Open one: dsadapter.sockets.listening.listening_socket('::', port).",
    ),
    Pattern(
        "P5",
        "one socket for each result of getaddrinfo",
        "It opens as many sockets as the name has addresses.",
        "Open one: dsadapter.sockets.listening.listening_socket(host, port).",
        "note",
    ),
    Pattern(
        "P6",
        "IPV6_V6ONLY cleared by hand",
        "The socket is dual-stack, and its IPv4 peers look like ::ffff:192.0.2.1 to the program.",
        "Open it with dsadapter, which clears the option, reads it back and translates addresses.",
    ),
    Pattern(
        "P7",
        "IPV6_V6ONLY set by hand",
        "The socket serves IPv6 only, so IPv4 needs another one.",
        "Keep it if that is meant; else listen once, dual-stack.",
        "note",
    ),
    Pattern(
        "P8",
        "prefix stripped from an address",
        "It undoes ::ffff: in text, one spelling of it, in one place.",
        "Delete it once the listener is dual-stack: peers are IPv4 then; for addresses from"
        " elsewhere call dsadapter.addressing.unmap.",
    ),
    Pattern(
        "P9",
        "prefix stripped by a regular expression",
        "It undoes ::ffff: in text, one spelling of it, in one place.",
        "Delete it once the listener is dual-stack: peers are IPv4 then; for addresses from"
        " elsewhere call dsadapter.addressing.unmap.",
    ),
    Pattern(
        "P10",
        "address unmapped by hand",
        "It runs only where somebody thought of it, and other readers see the mapped address.",
        "Delete it once the listener is dual-stack, or call dsadapter.addressing.unmap, which takes"
        " both families.",
    ),
    Pattern(
        "P10x",
        "unmapping that crashes on IPv4",
        "IPv4Address has no attribute ipv4_mapped, and IPv6Address refuses IPv4 text: every IPv4"
        " client ends in an exception once its address is IPv4.",
        "Call dsadapter.addressing.unmap in its place, in the same change as the listener.",
        "error",
    ),
    Pattern(
        "P11",
        "comparison with a mapped address",
        "It never matches once peers are IPv4.",
        "Compare with the IPv4 address.",
    ),
    Pattern(
        "P12",
        "mapped address made by hand",
        "A mapped address fits dual-stack sockets only.",
        "Pass the plain address to dsadapter's endpoint, or call dsadapter.addressing.map_ipv4.",
        "note",
    ),
    Pattern(
        "P13",
        "family guessed from text",
        "A dot or a colon in an address says nothing about the socket's family.",
        "Look at the type of the address, or at its parsed form.",
        "note",
    ),
    Pattern(
        "P14",
        "peer's text taken apart",
        "An IPv4 peer of a dual-stack listener reads 'tcp4:192.0.2.1:80' instead of"
        " 'tcp6:::ffff:192.0.2.1:80'.",
        "Use the address object, or expect 'tcp4:' for IPv4 peers.",
    ),
    Pattern(
        "P15",
        "fixed family on an adopted descriptor",
        "If the descriptor is an AF_INET6 socket, accept and getpeername return addresses made of"
        " stale memory.",
        "Ask the descriptor: socket.socket(fileno=fd).family.",
        "error",
    ),
    Pattern(
        "P16",
        "IPv6 wildcard that relies on the system's default",
        "Whether it serves IPv4 is a setting of the system (net.ipv6.bindv6only), and where it"
        " does, IPv4 peers look like ::ffff:192.0.2.1.",
        "Listen dual-stack, explicitly.",
    ),
)

#: Every pattern by its id, in the order of the documentation.
PATTERNS = {pattern.id: pattern for pattern in _TABLE}
