"""What settings say about listeners."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from pathlib import PurePath

from dsadapter.migration.addresses import Host, host_and_port, host_of, pairs
from dsadapter.migration.configuration.settings import Setting, Word, settings_in
from dsadapter.migration.endpoint_strings import parse_endpoint
from dsadapter.migration.findings import Certainty, Finding
from dsadapter.migration.rules.descriptors import fixes_family
from dsadapter.migration.suppressions import in_comment, unused

_MARKS = (b"::", b"\\:", b"tcp6:", b"domain=INET", b"BindIPv6Only", b"dsadapter:")
_COMMANDS = {".sh", ".bash", ".service"}
_COMMAND_NAMES = {"Procfile", "Dockerfile", "Containerfile"}
_LISTENS = ("bind", "listen", "interface", "host", "address", "endpoint", "port")
_ADMITS = ("allow", "trust", "deny", "block", "acl", "proxy", "proxies", "network", "permit")
_READY = "one dual-stack socket on [::]:{port}"


def scan_configuration(name: str, data: bytes) -> list[Finding]:
    """Find pairs of listeners in a file that is not Python.

    :param name: the file's name, which says what it is.
    :raises SyntaxError: if it is TOML that can't be parsed.
    :raises ValueError: if it is not UTF-8.
    """
    if not any(mark in data for mark in _MARKS):
        return []
    text = data.decode("utf-8-sig")
    suffix = PurePath(name).suffix
    if suffix == ".toml":
        try:
            tomllib.loads(text.replace("\r\n", "\n"))
        except tomllib.TOMLDecodeError as error:
            raise SyntaxError(str(error)) from None
    lines = text.replace("\r\n", "\n").split("\n")
    if suffix == ".conf" and any(line.rstrip().endswith(("{", ";")) for line in lines):
        return []  # nginx's or named's, whose listeners are none of ours
    if suffix == ".socket":
        settings = [_unit(lines)]
    else:
        commands = suffix in _COMMANDS or name in _COMMAND_NAMES
        settings = list(settings_in(lines, commands=commands))
    found: list[Finding] = []
    suppressions = []
    for setting in settings:
        own = [s for at in setting.comments for s in in_comment(at[2], at[0], at[1])]
        findings = list(_check(setting, socket_unit=suffix == ".socket"))
        # A comment anywhere in a setting is about all of it.
        for suppression in own:
            for finding in findings:
                if finding.pattern in suppression.patterns:
                    suppression.used.add(finding.pattern)
        named = {name for suppression in own for name in suppression.patterns}
        found += [
            Finding(f.pattern, f.certainty, f.span, f.message, f.replacement, ignored=True)
            if f.pattern in named
            else f
            for f in findings
        ]
        suppressions += own
    return sorted([*found, *unused(suppressions)], key=lambda finding: finding.span)


def _unit(lines: list[str]) -> Setting:
    """The sockets of a unit, as one setting: systemd opens them all."""
    unit = Setting("ListenStream", lines=(1, len(lines)))
    for setting in settings_in(lines):
        if setting.key in ("ListenStream", "ListenDatagram"):
            unit.words += setting.words
        unit.comments += setting.comments
    return unit


def _check(setting: Setting, *, socket_unit: bool) -> Iterator[Finding]:
    yield from _endpoints(setting)
    yield from _host_ports(setting, socket_unit=socket_unit)
    if not socket_unit:
        yield from _hosts(setting)


def _endpoints(setting: Setting) -> Iterator[Finding]:
    parsed = [(word, e) for word in setting.words if (e := parse_endpoint(word.text)) is not None]
    done: set[Word] = set()
    for number, (word, endpoint) in enumerate(parsed):
        for other, second in parsed[number + 1 :]:
            if (
                second.host is endpoint.host.counterpart
                and second.port == endpoint.port
                and second.rest == endpoint.rest
                and endpoint.port != "0"
            ):
                done.update((word, other))
                dual = endpoint.dual or f"dualstack:{endpoint.port}, with its TLS options"
                if not endpoint.host.wildcard:
                    dual += ":interface=localhost"
                message = f"{word.text!r} and {other.text!r} are two listeners on one port"
                yield Finding("P1", Certainty.LIKELY, word.span, message, f'"{dual}"')
        if endpoint.host is Host.ANY6 and word not in done:
            message = f"{word.text!r} leaves IPV6_V6ONLY to the system"
            replacement = f'"{endpoint.dual}"' if endpoint.dual else "a dualstack: string"
            yield Finding("P16", Certainty.LIKELY, word.span, message, replacement)
    for word in setting.words:
        if fixes_family(word.text):
            message = f"{word.text!r} declares the descriptor AF_INET, whatever it is"
            yield Finding("P15", Certainty.LIKELY, word.span, message, "dualstack:systemd=...")


def _host_ports(setting: Setting, *, socket_unit: bool) -> Iterator[Finding]:
    parsed = [(word, hp) for word in setting.words if (hp := host_and_port(word.text))]
    for number, (word, (host, port)) in enumerate(parsed):
        for other, (second, port2) in parsed[number + 1 :]:
            if second is host.counterpart and port2 == port:
                message = f"{word.text} and {other.text} are two listeners on one port"
                replacement = _READY.format(port=port)
                if socket_unit:
                    replacement = f"ListenStream=[::]:{port} with BindIPv6Only=both"
                if not host.wildcard:
                    replacement = f"localhost:{port}, which dsadapter serves on both addresses"
                yield Finding("P1", Certainty.LIKELY, word.span, message, replacement)


def _hosts(setting: Setting) -> Iterator[Finding]:
    key = setting.key.lower()
    if not any(word in key for word in _LISTENS) or any(word in key for word in _ADMITS):
        return
    hosts = [host_of(word.text, Host.UNKNOWN) for word in setting.words]
    if pairs(hosts) is Host.ANY6:
        first = setting.words[hosts.index(Host.ANY6)]
        message = f"{setting.key} holds both wildcards"
        yield Finding("P2", Certainty.LIKELY, first.span, message, "one dual-stack listener")
