"""Twisted's server endpoint strings, as text: which port, which addresses, what dual-stack says."""

from __future__ import annotations

from dataclasses import dataclass

from dsadapter.migration.addresses import Host, host_of

#: What stands for an expression in a string that a program puts together.
_OPEN, _CLOSE = "{", "}"
_DEFAULTS = {"tcp": Host.ANY4, "tcp6": Host.ANY6, "ssl": Host.ANY4, "tls": Host.ANY6}
_POSITIONS = {"tcp": ("port",), "tcp6": ("port",), "ssl": ("port",), "tls": ("dir", "port")}
_KEPT = {
    "tcp": ("backlog",),
    "tcp6": ("backlog",),
    "ssl": ("backlog", "privateKey", "certKey", "extraCertChain"),
}


@dataclass(frozen=True, slots=True)
class EndpointString:
    """A server endpoint string of Twisted's that listens on TCP.

    :param options: by name, values as they are written, escapes included.
    """

    prefix: str
    host: Host
    port: str
    options: dict[str, str]

    @property
    def rest(self) -> tuple[tuple[str, str], ...]:
        """Everything but the address and the port, to be compared."""
        return tuple(
            sorted((k, v) for k, v in self.options.items() if k not in ("port", "interface"))
        )

    @property
    def dual(self) -> str:
        """The dual-stack string with the same options; empty if there is none."""
        kept = _KEPT.get(self.prefix, ())
        if any(name not in kept for name, _ in self.rest):
            return ""
        return ":".join(["dualstack", self.port, *(f"{name}={text}" for name, text in self.rest)])


def parse_endpoint(text: str) -> EndpointString | None:
    """Take a server endpoint string apart; None if it is none that is looked for."""
    prefix, *fields = _fields(text)
    if prefix not in _DEFAULTS or not fields:
        return None
    positions = iter(_POSITIONS[prefix])
    options = {}
    for field in fields:
        name, equals, value = field.partition("=")
        if not equals:
            name, value = next(positions, ""), field
        if not name.isidentifier():
            return None
        options[name] = value
    port = options.get("port", "")
    if not (port.isdigit() or (port.startswith(_OPEN) and port.endswith(_CLOSE))):
        return None
    interface = options.get("interface", "")
    if interface.startswith(_OPEN):
        host = Host.UNKNOWN
    else:
        host = host_of(interface.replace("\\", ""), _DEFAULTS[prefix])
    return EndpointString(prefix, host, port, options)


def _fields(text: str) -> list[str]:
    fields, depth, escaped = [""], 0, False
    for character in text:
        if escaped or character != ":" or depth:
            fields[-1] += character
            depth += (character == _OPEN) - (character == _CLOSE)
            escaped = not escaped and character == "\\"
        else:
            fields.append("")
    return fields
