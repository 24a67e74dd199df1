"""Hosts to connect to, as people write them: address literals and names.

Only what every parser reads alike passes: a host that the C library would take for another address
than an address filter does is refused before anything resolves it.
"""

from __future__ import annotations

import codecs
import contextlib
import importlib
from _socket import inet_aton, inet_ntoa
from functools import lru_cache

from dsadapter.addressing.literal import canonical_literal
from dsadapter.messages import quoted

_MAX_NAME = 253
_MAX_LABEL = 63
# Characters before IDNA, which takes time that grows with them and leaves out a few.
_MAX_UNENCODED = 4 * _MAX_NAME
_HEX_DIGITS = frozenset("0123456789abcdefABCDEF")


def canonical_host(text: str) -> str:
    """A literal in its canonical spelling (a mapped one as IPv4), or a name in ASCII.

    A name keeps its trailing dot; one that is not ASCII is encoded by the ``idna`` package (UTS 46)
    where that is installed, else by Python's older codec (IDNA 2003).

    :raises ValueError: naming the host and the form to use: for an empty host, brackets, spaces,
        texts that only some parsers take for an address (``127.1``, ``0x7f.1``, ``*``), a label or
        a name that is too long (RFC 1035, section 2.3.4), and as
        :func:`~dsadapter.addressing.literal.parse_literal`.
    """
    if not isinstance(text, str):
        raise ValueError(
            f"host {quoted(text)} is not text; give a name or an address literal as str"
        )
    # A subclass may have an equality of its own.
    return _canonical(text) if type(text) is str else _canonical.__wrapped__(str(text))


@lru_cache(maxsize=1024)
def _canonical(text: str) -> str:
    """For the same few hosts that a program connects to again and again."""
    literal = canonical_literal(text)
    if literal is not None:
        return literal
    if len(text) > _MAX_UNENCODED:
        raise _too_long(text)
    name = text if text.isascii() else _encoded(text)
    _check_name(name, text)
    return name


def prepare_names() -> None:
    """Import what names will need, those that the C library resolves as well: later a program may
    have another root, or no right to read files."""
    for codec in ("idna", "punycode"):
        codecs.lookup(codec)
    with contextlib.suppress(ImportError):
        importlib.import_module("idna")


def is_literal(host: str) -> bool:
    """Whether what :func:`canonical_host` gave is an address literal."""
    # No name has a colon, and no name's last label is a number.
    return ":" in host or host.rpartition(".")[2].isdigit()


def _encoded(text: str) -> str:
    try:
        try:
            import idna
        except ImportError:
            return text.encode("idna").decode("ascii")
        try:
            encoded: bytes = idna.encode(text)
        except idna.IDNAError:
            # What has to be mapped first, by a table that takes long to import.
            encoded = idna.encode(text, uts46=True)
    except ImportError as error:
        raise ValueError(
            f"host {quoted(text)} can't be encoded: {error}, which was there before root or user "
            f"changed; give the name in ASCII (xn--...), or make the endpoint earlier"
        ) from error
    except UnicodeError as error:
        raise ValueError(f"host {quoted(text)} is not a name (IDNA: {error})") from error
    return encoded.decode("ascii")


def _check_name(name: str, text: str) -> None:
    labels = name.removesuffix(".").split(".")
    if not name or not all(labels):
        raise ValueError(
            f"host {quoted(text)} has an empty part; give a name or an address literal"
        )
    _refuse_numbers(name, labels, text)
    if name == "*":
        # glibc's getaddrinfo reads it as no host, and so connects to loopback.
        raise ValueError(
            f"host {quoted(text)} is this machine to some C libraries and a name to other parsers; "
            f"write '127.0.0.1' or '::1' if that is meant"
        )
    if not all(c.isprintable() and c not in " /@%\\?#[]*<>" for c in name):
        raise ValueError(
            f"host {quoted(text)} has characters that no name has; give the name alone"
        )
    if ":" in name:
        raise ValueError(
            f"host {quoted(text)} is neither a name nor an IPv6 address; give the port as an "
            f"argument of its own"
        )
    if len(name.removesuffix(".")) > _MAX_NAME or max(map(len, labels)) > _MAX_LABEL:
        raise _too_long(text)


def _too_long(text: str) -> ValueError:
    return ValueError(
        f"host {quoted(text)} is too long: a name has at most {_MAX_NAME} characters, and "
        f"{_MAX_LABEL} between two dots"
    )


def _refuse_numbers(name: str, labels: list[str], text: str) -> None:
    # No top-level domain is a number, so a name that ends in one is meant as an address.
    last = labels[-1]
    if not (last.isdigit() or (last[:2] in ("0x", "0X") and _HEX_DIGITS.issuperset(last[2:]))):
        return
    try:
        # glibc's stops at a space and ignores the rest.
        meant = inet_ntoa(inet_aton(name)) if not any(c.isspace() for c in name) else None
    except OSError:
        meant = None
    remedy = f"write {meant!r} if that is meant" if meant else "write four decimal numbers"
    raise ValueError(
        f"host {quoted(text)} is a number to some parsers and an IPv4 address to others; {remedy}"
    )
