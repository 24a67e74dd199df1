"""P4 to P7: sockets that a program opens, binds and configures by hand."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from dsadapter.migration.findings import Certainty, Finding
from dsadapter.migration.listeners.listener import port_key
from dsadapter.migration.module import Module, Scope
from dsadapter.migration.patterns import PATTERNS
from dsadapter.migration.rules.rule import Rule

_LEVEL = 41
_OPTIONS = (26, 27)
_READY = "dsadapter.sockets.listening.listening_socket('::', port)"
_DATAGRAMS = (
    "dsadapter.frameworks.blocking.TranslatingSocket(type=socket.SOCK_DGRAM), bound to ('::', port)"
)


def check(module: Module) -> Iterator[Finding]:
    """Find pairs of sockets, sockets for each result of getaddrinfo, and IPV6_V6ONLY."""
    yield from _pairs(module)
    yield from _pairs_of_classes(module)
    yield from _fan_outs(module)
    for call in module.all(ast.Call):
        if isinstance(call.func, ast.Attribute) and call.func.attr == "setsockopt":
            finding = _v6only(module, call)
            if finding is not None:
                yield finding


def _pairs(module: Module) -> Iterator[Finding]:
    families: dict[Scope, dict[str, list[tuple[ast.Call, str]]]] = {}
    for call in module.all(ast.Call):
        family = _opens(module, call)
        if family is not None:
            name = _bound_to(module, call)
            if name:
                families.setdefault(module.function(call), {}).setdefault(family, []).append(
                    (call, name)
                )
    for scope, by_family in families.items():
        for (six, name6), (four, name4) in zip(
            by_family.get("AF_INET6", ()), by_family.get("AF_INET", ()), strict=False
        ):
            ports = [_bind_port(module, scope, name) for name in (name6, name4)]
            derived = any(
                port is not None and f"{other}.getsockname(" in port
                for port, other in zip(ports, (name4, name6), strict=True)
            )
            if name6 != name4 and (derived or (ports[0] and ports[0] == ports[1])):
                message = (
                    f"an AF_INET6 socket (line {six.lineno}) and an AF_INET socket (line"
                    f" {four.lineno}) are bound to one port"
                )
                first = min(six, four, key=lambda call: call.lineno)
                instead = _DATAGRAMS if "SOCK_DGRAM" in ast.unparse(first) else _READY
                yield Finding("P4", Certainty.LIKELY, module.span(first), message, instead)


def _pairs_of_classes(module: Module) -> Iterator[Finding]:
    """A socket a family, opened in one method and bound in another."""
    for definition in module.all(ast.ClassDef):
        opened: dict[str, tuple[ast.Call, str]] = {}
        for call in module.inside(definition, ast.Call):
            family = _opens(module, call)
            name = _bound_to(module, call)
            if family is not None and name.startswith("self."):
                opened.setdefault(family, (call, name))
        if len(opened) < 2:
            continue
        (six, name6), (four, name4) = opened["AF_INET6"], opened["AF_INET"]
        apart = module.function(six) is module.function(four)
        bound = [_bind_port(module, module.function(six), name) for name in (name6, name4)]
        if name6 == name4 or (apart and all(bound)):
            continue
        if all(_is_bound(module, definition, name) for name in (name6, name4)):
            first = min(six, four, key=lambda call: call.lineno)
            message = f"{name6} and {name4} are a socket for each family, and both are bound"
            yield Finding("P4", Certainty.POSSIBLE, module.span(first), message, _READY)


def _is_bound(module: Module, definition: ast.ClassDef, name: str) -> bool:
    return any(
        isinstance(call.func, ast.Attribute)
        and call.func.attr == "bind"
        and ast.unparse(call.func.value) == name
        for call in module.inside(definition, ast.Call)
    )


def _opens(module: Module, call: ast.Call) -> str | None:
    """The family of the socket that a call opens."""
    name = module.qualified(call.func)
    if name.rpartition(".")[2] != "socket" or not (call.args or call.keywords):
        return None
    nodes = [*call.args[:1], *(k.value for k in call.keywords if k.arg == "family")]
    for node in nodes:
        family = module.qualified(node).rpartition(".")[2]
        if family in ("AF_INET", "AF_INET6"):
            return family
    return "AF_INET" if not nodes else None


def _bound_to(module: Module, call: ast.Call) -> str:
    parent = module.parents[call]
    if isinstance(parent, ast.Assign) and len(parent.targets) == 1:
        return ast.unparse(parent.targets[0])
    return ""


def _bind_port(module: Module, scope: Scope, name: str) -> str | None:
    for call in module.all(ast.Call):
        if (
            isinstance(call.func, ast.Attribute)
            and call.func.attr == "bind"
            and ast.unparse(call.func.value) == name
            and scope in module.ancestors(call)
            and call.args
        ):
            address = call.args[0]
            if isinstance(address, ast.Tuple) and len(address.elts) >= 2:
                port = address.elts[1]
                return port_key(module, port) or ast.unparse(port)
    return None


def _fan_outs(module: Module) -> Iterator[Finding]:
    for loop in module.all(ast.For):
        iterable = module.resolve(loop.iter)
        if not (
            isinstance(iterable, ast.Call)
            and module.qualified(iterable.func).rpartition(".")[2] == "getaddrinfo"
            and "AI_PASSIVE" in ast.unparse(iterable)
        ):
            continue
        called = {
            call.func.attr
            for call in module.inside(loop, ast.Call)
            if isinstance(call.func, ast.Attribute)
        }
        # A loop that ends at the first success opens one socket.
        if "bind" in called and not module.inside(loop, ast.Break):
            message = "a socket is opened and bound for each result of getaddrinfo"
            yield Finding(
                "P5",
                Certainty.POSSIBLE,
                module.span(loop.iter),
                message,
                "dsadapter.sockets.listening.listening_socket(host, port)",
            )


def _v6only(module: Module, call: ast.Call) -> Finding | None:
    if len(call.args) != 3 or call.keywords:
        return None
    level, option, value = call.args
    named = module.qualified(option).rpartition(".")[2] == "IPV6_V6ONLY"
    is_level = (
        module.qualified(level).rpartition(".")[2] == "IPPROTO_IPV6"
        or module.constant(level) == _LEVEL
    )
    if not named and not (is_level and module.constant(option) in _OPTIONS):
        return None
    setting = module.constant(value)
    if setting is ... or not isinstance(setting, int):
        what = ast.unparse(value)
        message = f"IPV6_V6ONLY is set to what {what} is at the time"
        return Finding("P6", Certainty.POSSIBLE, module.span(call), message, _READY)
    if setting:
        message = "IPV6_V6ONLY is set: this socket serves IPv6 only"
        return Finding("P7", Certainty.POSSIBLE, module.span(call), message, PATTERNS["P7"].remedy)
    certainty = Certainty.LIKELY if _listens(module, call) else Certainty.POSSIBLE
    message = "IPV6_V6ONLY is cleared by hand"
    return Finding("P6", certainty, module.span(call), message, _READY)


def _listens(module: Module, call: ast.Call) -> bool:
    """Whether the socket becomes a listener, not a probe that is closed again."""
    scope = module.function(call)
    text = ast.unparse(scope)
    name = ast.unparse(call.func.value) if isinstance(call.func, ast.Attribute) else ""
    if "closing(" in text or f"{name}.close()" in text:
        return False
    return "SOCK_DGRAM" not in text and (f"{name}.listen(" in text or "SOCK_STREAM" in text)


RULE = Rule((b"AF_INET6", b"V6ONLY", b"getaddrinfo", b"setsockopt"), check)
