"""Address text: every legal spelling in, the canonical IPv4 form out.

Text that is no address literal (a host name, an empty string) has no mapped form and passes through
:func:`unmap_text` and :func:`is_mapped_text`; only :func:`map_text` insists on a literal. Text that
two parsers would read as two different addresses is refused by all three.
"""

from __future__ import annotations

from socket import AF_INET, AF_INET6, inet_ntoa, inet_pton

from dsadapter.addressing.mapped import MAPPED_PREFIX

_INET = int(AF_INET)
_INET6 = int(AF_INET6)


def unmap_text(text: str) -> str:
    """The dotted IPv4 address inside mapped text; any other text comes back as the same object.

    :raises ValueError: for a mapped address with a zone id, for dotted IPv4 with leading zeros
        (decimal to some parsers, octal to others) and for an address in brackets.
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
            return tail
    elif text[-1:].isdigit() and ":" not in text and is_ipv4(text):
        return text
    packed = parse_ipv6(text)
    if packed is None or not packed.startswith(MAPPED_PREFIX):
        return text
    return inet_ntoa(packed[len(MAPPED_PREFIX) :])


def is_mapped_text(text: str) -> bool:
    """Whether text is an IPv4-mapped address in any legal spelling.

    :raises ValueError: as :func:`unmap_text`.
    """
    return unmap_text(text) is not text


def map_text(text: str) -> str:
    """What a dual-stack socket takes: ``::ffff:a.b.c.d`` for dotted IPv4; IPv6 comes back as it is.

    :raises ValueError: as :func:`unmap_text`, and for text that is no address literal.
    """
    if is_ipv4(text):
        return f"::ffff:{text}"
    if parse_ipv6(text) is not None:
        return text
    raise ValueError(
        f"{text!r} is not an address literal; give four decimal numbers such as '192.0.2.1', "
        f"or an IPv6 address such as '2001:db8::1'"
    )


def is_ipv4(text: str) -> bool:
    """Whether text is an IPv4 address as ``inet_pton`` takes it: four decimal numbers.

    The shorthands of ``inet_aton`` (``127.1``, ``0x7f.1``, ``2130706433``) are not.

    :raises ValueError: for leading zeros.
    """
    try:
        inet_pton(_INET, text)
    except (OSError, ValueError):
        _refuse_leading_zeros(text)
        return False
    return True


def parse_ipv6(text: str) -> bytes | None:
    """The 16 bytes of an IPv6 address in any legal spelling, without its zone id; else None.

    :raises ValueError: as :func:`unmap_text`.
    """
    try:
        packed = inet_pton(_INET6, text)
    except (OSError, ValueError):
        return _parse_unusual(text)
    # Some C libraries take a zone id here.
    return _parse_unusual(text) if "%" in text else packed


def _parse_unusual(text: str) -> bytes | None:
    if text[:1] == "[":
        raise ValueError(f"{text!r} has brackets, which belong to URLs; write the address without")
    literal, percent, _zone = text.partition("%")
    _refuse_leading_zeros(literal)
    if not percent:
        return None
    try:
        packed = inet_pton(_INET6, literal)
    except (OSError, ValueError):
        return None
    if packed.startswith(MAPPED_PREFIX):
        raise ValueError(
            f"{text!r} is an IPv4-mapped address with a zone id, which IPv4 has no place for; "
            f"write {inet_ntoa(packed[len(MAPPED_PREFIX) :])!r}"
        )
    return packed


def _refuse_leading_zeros(text: str) -> None:
    head, colon, tail = text.rpartition(":")
    numbers = tail.split(".")
    if len(numbers) != 4 or not all(n.isascii() and n.isdigit() for n in numbers):
        return
    without = ".".join(n.lstrip("0") or "0" for n in numbers)
    if without == tail:
        return
    raise ValueError(
        f"{text!r} has leading zeros, which some parsers read as octal; write "
        f"{head + colon + without!r} if the numbers are decimal"
    )
