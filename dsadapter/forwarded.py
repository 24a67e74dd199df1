"""The client's address in ``X-Forwarded-For`` and ``Forwarded`` (RFC 7239). No I/O, no framework.

Each proxy appends the peer that it saw. So the last entry is as good as the connection's own peer,
the one before it as good as the proxy that the last one names, and so on: entries are believed from
the end on, as long as each was written by a proxy that the operator trusts. What is before that is
what somebody sent.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from dsadapter.addressing.literal import require_literal
from dsadapter.addressing.sockaddr import unmap_sockaddr
from dsadapter.messages import quoted

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from dsadapter.addressing import AddressSet
    from dsadapter.addressing.sockaddr import SocketAddress

    Peer = str | SocketAddress | None

__all__ = ["client_by_forwarded", "client_by_x_forwarded_for"]

_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_PAIR = re.compile(rf'({_TOKEN})=(?:({_TOKEN})|"((?:[^"\\]|\\.)*)")')
_NEXT = re.compile(r"[ \t]*([;,]|\Z)[ \t]*")
_PORT = re.compile(r"[0-9]{1,5}|_[0-9A-Za-z._-]+")
_OBFUSCATED = re.compile(r"_[0-9A-Za-z._-]+")


def client_by_x_forwarded_for(peer: Peer, values: Iterable[str], trusted: AddressSet) -> str | None:
    """Who a request comes from, by the peer of its connection and its ``X-Forwarded-For`` headers.

    :param peer: the address of the connection's other end: text, a socket address tuple, or None
        for one that is trusted and has no address, such as a Unix socket's.
    :param values: the values of all headers of this name, in their order.
    :param trusted: the proxies whose entries are believed.
    :returns: the canonical address, without port and zone: the peer itself unless it is trusted;
        else the last entry that names no trusted proxy, or the first one if all do; None where the
        proxy before doesn't say (``unknown``, no entry for a peer without an address).
    :raises ValueError: for a peer or an entry that is no address. Entries before the one that is
        returned are not looked at.
    """
    _refuse_one_text(values)
    entries = (entry.strip(" \t") for value in reversed([*values]) for entry in _from_end(value))
    return _client(peer, (_x_node(entry) for entry in entries if entry), trusted)


def client_by_forwarded(peer: Peer, values: Iterable[str], trusted: AddressSet) -> str | None:
    """Who a request comes from, by the peer of its connection and its ``Forwarded`` headers.

    :param peer: as :func:`client_by_x_forwarded_for`.
    :param values: as :func:`client_by_x_forwarded_for`.
    :param trusted: as :func:`client_by_x_forwarded_for`.
    :returns: as :func:`client_by_x_forwarded_for`; None also for an obfuscated identifier such as
        ``_hidden`` and for an element without ``for`` (RFC 7239, sections 5.2 and 6).
    :raises ValueError: as :func:`client_by_x_forwarded_for`, and for a header that isn't written as
        in RFC 7239, section 4.
    """
    _refuse_one_text(values)
    elements = (node for value in reversed([*values]) for node in reversed(_elements(value)))
    return _client(peer, (None if text is None else _node(text) for text in elements), trusted)


def _client(peer: Peer, nodes: Iterator[str | None], trusted: AddressSet) -> str | None:
    client = None if peer is None else _canonical_peer(peer)
    if client is not None and client not in trusted:
        return client
    for node in nodes:
        client = node
        if client is None or client not in trusted:
            break
    return client


def _canonical_peer(peer: Any) -> str:
    return require_literal(unmap_sockaddr(peer)[0] if isinstance(peer, tuple) else peer).address


def _refuse_one_text(values: object) -> None:
    if isinstance(values, (str, bytes)):
        raise ValueError(f"{quoted(values)} is one value; give a list of them")


def _from_end(value: str) -> Iterator[str]:
    end = len(value)
    while end >= 0:
        comma = value.rfind(",", 0, end)
        yield value[comma + 1 : end]
        end = comma


def _x_node(text: str) -> str | None:
    if text.count(":") > 1 and text[:1] != "[":
        # IPv6 without the brackets that RFC 7239 asks for, as most proxies write it.
        return _literal(text, text)
    return _node(text)


def _node(text: str) -> str | None:
    """An address, or None for what stands for one that isn't told (RFC 7239, section 6)."""
    if text[:1] == "[":
        host, bracket, port = text[1:].partition("]")
        if not bracket or (port and port[0] != ":") or ":" not in host:
            raise _no_node(text)
        port = port or ":0"
    else:
        host, colon, port = text.partition(":")
        port = colon + port or ":0"
    if not _PORT.fullmatch(port, 1):
        raise _no_node(text)
    if host.lower() == "unknown" or _OBFUSCATED.fullmatch(host):
        return None
    return _literal(host, text)


def _literal(host: str, text: str) -> str:
    try:
        return require_literal(host).address
    except ValueError:
        raise _no_node(text) from None


def _no_node(text: str) -> ValueError:
    return ValueError(
        f"{quoted(text)} in a header about forwarding is no address; take such headers from "
        f"proxies alone that write an address or 'unknown'"
    )


def _elements(value: str) -> list[str | None]:
    """What ``for`` says in each element of a ``Forwarded`` header; None where it is missing."""
    found: list[str | None] = []
    value = value.strip(" \t")
    at = 0
    pairs: dict[str, str] = {}
    while True:
        pair = _PAIR.match(value, at)
        if pair is not None:
            name, token, inside = pair.groups()
            if name.lower() in pairs:
                raise _no_header(value, f"has {quoted(name)} twice in one element")
            pairs[name.lower()] = token if inside is None else re.sub(r"\\(.)", r"\1", inside)
            at = pair.end()
        separator = _NEXT.match(value, at)
        if separator is None:
            raise _no_header(value, f"can't be read from {quoted(value[at:])} on")
        at = separator.end()
        if separator[1] != ";":
            # The grammar of lists has empty elements (RFC 9110, section 5.6.1.2).
            if pairs:
                found.append(pairs.get("for"))
            if not separator[1]:
                return found
            pairs = {}


def _no_header(value: str, problem: str) -> ValueError:
    return ValueError(f"the header Forwarded, {quoted(value)}, {problem}")
