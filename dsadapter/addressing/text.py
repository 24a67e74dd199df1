"""Address text: every legal spelling in, the canonical IPv4 form out.

Text that is no address literal (a host name, an empty string) has no mapped form and passes through
:func:`unmap_text` and :func:`is_mapped_text`; only :func:`map_text` insists on a literal. Text that
two parsers would read as two different addresses is refused by all three.
"""

from __future__ import annotations

from _socket import AF_INET, inet_pton

from dsadapter.addressing.literal import parse_literal, require_literal

_INET = int(AF_INET)


def unmap_text(text: str) -> str:
    """The dotted IPv4 address inside mapped text; any other text comes back as the same object.

    :raises ValueError: as :func:`~dsadapter.addressing.literal.parse_literal`.
    """
    # What inet_ntop prints for a mapped address, and so what every kernel address looks like:
    # the tail is its own answer once it has been parsed. Any other spelling is parsed whole.
    tail = text.removeprefix("::ffff:")
    if tail != text:
        try:
            inet_pton(_INET, tail)
        except (OSError, ValueError):
            pass
        else:
            # Some inet_pton stop at a NUL.
            if "\0" not in tail:
                return tail
    literal = parse_literal(text)
    if literal is None or not literal.is_ipv4 or ":" not in text:
        return text
    return literal.address


def is_mapped_text(text: str) -> bool:
    """Whether text is an IPv4-mapped address in any legal spelling.

    :raises ValueError: as :func:`unmap_text`.
    """
    return unmap_text(text) is not text


def map_text(text: str) -> str:
    """What a dual-stack socket takes: ``::ffff:a.b.c.d`` for dotted IPv4; IPv6 comes back as it is.

    :raises ValueError: as :func:`unmap_text`, and for text that is no address literal.
    """
    literal = require_literal(text)
    return f"::ffff:{text}" if literal.is_ipv4 and ":" not in text else text
