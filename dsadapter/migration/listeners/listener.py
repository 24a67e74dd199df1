"""One call that listens, taken apart."""

from __future__ import annotations

import ast
from dataclasses import dataclass, field
from typing import Literal

from dsadapter.migration.addresses import Host, host_of
from dsadapter.migration.module import Module

Transport = Literal["tcp", "tls", "udp"]


@dataclass(eq=False, slots=True)
class Listener:
    """One call that listens.

    :param form: which kind of call, which decides how it is rewritten.
    :param call: what takes the port: a method, or the class of an endpoint or service.
    :param port: the text of the port, comparable; empty if it can't be compared.
    :param host: what it binds; ``host_node`` is the expression, if there is one.
    :param factory: the text of what serves, comparable.
    :param rest: the other arguments, comparable.
    :param tail: what is done with the result at once, such as ``.addErrback(log.err)``.
    :param statements: the statements that do nothing but this.
    :param result: ``dropped``, or ``kept`` where something may look at it.
    :param proven: that names were followed to the framework itself.
    :param shared: whether ``factory`` is one object, not an expression that makes one.
    """

    framework: Literal["twisted", "asyncio", "stdlib", "aiohttp"]
    form: str
    transport: Transport
    call: ast.Call
    port: str
    port_node: ast.expr | None
    host: Host
    host_node: ast.expr | None
    factory: str = ""
    factory_node: ast.expr | None = None
    rest: tuple[tuple[str, str], ...] = ()
    tail: str = ""
    statements: tuple[ast.stmt, ...] = ()
    result: Literal["dropped", "kept"] = "kept"
    proven: bool = False
    shared: bool = False
    top: ast.expr | None = None
    options: dict[str, ast.expr] = field(default_factory=dict)

    @property
    def statement(self) -> ast.stmt:
        """The statement that opens it."""
        return self.statements[0]

    @property
    def names(self) -> set[str]:
        """The names that its port and factory depend on."""
        nodes = [node for node in (self.port_node, self.factory_node) if node is not None]
        return {n.id for node in nodes for n in ast.walk(node) if isinstance(n, ast.Name)}

    def same_service(self, other: Listener) -> bool:
        """Whether both serve the same thing on the same port, each for its own address."""
        return (
            self.transport == other.transport
            and self.framework == other.framework
            and bool(self.port)
            and self.port == other.port
            and bool(self.factory)
            and self.factory == other.factory
        )


def arguments(call: ast.Call, *names: str) -> dict[str, ast.expr] | None:
    """Bind a call's arguments to parameter names; None if it unpacks some or has too many.

    Keywords that are not among the names stay, under their own name.
    """
    if len(call.args) > len(names) or any(isinstance(a, ast.Starred) for a in call.args):
        return None
    bound = dict(zip(names, call.args, strict=False))
    for keyword in call.keywords:
        if keyword.arg is None or keyword.arg in bound:
            return None
        bound[keyword.arg] = keyword.value
    return bound


def port_key(module: Module, node: ast.expr | None) -> str:
    """A text that is equal for equal ports; empty for port 0 and what can't be compared."""
    if node is None:
        return ""
    value = module.constant(node)
    if isinstance(value, int):
        return str(value) if value and value is not True else ""
    return ast.unparse(node) if is_stable(node) else ""


def is_stable(node: ast.expr) -> bool:
    """Whether an expression gives the same value twice: names, attributes, ``int(...)`` of them."""
    if isinstance(node, ast.Call):
        return (
            isinstance(node.func, ast.Name)
            and node.func.id in ("int", "str")
            and not node.keywords
            and all(is_stable(argument) for argument in node.args)
        )
    if isinstance(node, ast.Subscript):
        return is_stable(node.value) and isinstance(node.slice, ast.Constant)
    if isinstance(node, ast.Attribute):
        return is_stable(node.value)
    return isinstance(node, ast.Name | ast.Constant)


def host_in(module: Module, node: ast.expr | None, empty: Host) -> Host:
    """What the host argument of a call means."""
    if node is None:
        return empty
    value = module.constant(node)
    return Host.UNKNOWN if value is ... else host_of(value, empty)


def place(module: Module, listener: Listener, top: ast.expr) -> None:
    """Fill in which statement a listener stands in, and what becomes of its result.

    :param top: the call that opens it; what is chained to it is found from there.
    """
    start = top
    while isinstance(attribute := module.parents[top], ast.Attribute) and isinstance(
        call := module.parents[attribute], ast.Call
    ):
        top = call
    if top is not start:
        listener.tail = ast.unparse(top)[len(ast.unparse(start)) :]
    listener.top = top
    outer = module.parents[top]
    if isinstance(outer, ast.Await):
        outer = module.parents[outer]
    listener.statements = (module.statement(top),)
    listener.result = "dropped" if isinstance(outer, ast.Expr) else "kept"
