"""What is read from certificates: names, dates, and who issued whom."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple

from cryptography import x509
from twisted.internet.ssl import Certificate

from dsadapter.messages import quoted

Name = tuple[Any, ...]


class Period(NamedTuple):
    """When a certificate is valid (RFC 5280, section 4.1.2.5)."""

    begins: datetime
    ends: datetime


def period(certificate: Certificate) -> Period:
    """What the certificate says; whether it is now, :func:`out_of_date` does."""
    original = certificate.original
    return Period(_moment(original.get_notBefore()), _moment(original.get_notAfter()))


def _moment(stamp: bytes) -> datetime:
    # YYYYMMDDhhmmssZ; strptime would be imported late.
    text = stamp.decode("ascii")
    return datetime.fromisoformat(f"{text[:8]}T{text[8:]}")


def out_of_date(certificate: Certificate) -> str | None:
    """Why clients refuse a certificate today and what to do, as the end of a sentence; or None."""
    valid = period(certificate)
    now = datetime.now(UTC)
    if now > valid.ends:
        return f"expired on {valid.ends:%Y-%m-%d at %H:%M} UTC; renew it"
    if now < valid.begins:
        return (
            f"is not yet valid, before {valid.begins:%Y-%m-%d at %H:%M} UTC; wait until then, or "
            f"set this machine's clock"
        )
    return None


def dns_names(certificate: Certificate) -> list[str]:
    """Those of the subjectAltName (RFC 5280, section 4.2.1.6)."""
    try:
        extension = certificate.original.to_cryptography().extensions.get_extension_for_class(
            x509.SubjectAlternativeName
        )
    except (x509.ExtensionNotFound, ValueError):
        return []
    names: list[str] = extension.value.get_values_for_type(x509.DNSName)
    return names


def shown(certificate: Certificate) -> str:
    """Whom it is for, for a text."""
    names = dns_names(certificate)[:3] or [
        value.decode("utf-8", "backslashreplace")
        for key, value in certificate.getSubject().items()
        if key == "commonName"
    ]
    return ", ".join(map(quoted, names)) or "nobody"


def subject(certificate: Certificate) -> Name:
    """Whom it is for, to compare with :func:`issuer`."""
    return tuple(sorted(certificate.getSubject().items()))


def issuer(certificate: Certificate) -> Name:
    """Who issued it."""
    return tuple(sorted(certificate.getIssuer().items()))


def chain(certificate: Certificate, issuers: Mapping[Name, Certificate]) -> list[Certificate]:
    """The intermediate certificates that a server sends after its own (RFC 8446, section 4.4.2),
    without a root, which clients have.

    :param issuers: certificates by their subject.
    """
    made: list[Certificate] = []
    met = {subject(certificate)}
    while (name := issuer(certificate)) in issuers and name not in met:
        met.add(name)
        certificate = issuers[name]
        if issuer(certificate) != name:
            made.append(certificate)
    return made


def strangers(certificate: Certificate, others: Iterable[Certificate]) -> list[Certificate]:
    """Those of the others that issued neither the certificate nor one of its issuers."""
    left = list(others)
    known = {issuer(certificate)}
    while found := [each for each in left if subject(each) in known]:
        known.update(map(issuer, found))
        left = [each for each in left if each not in found]
    return left
