"""P2: a listener for each of several addresses, by a loop or by a list of hosts."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from dsadapter.migration.addresses import Host, host_and_port, host_of, pairs
from dsadapter.migration.findings import (
    Certainty,
    Edit,
    Finding,
    ReplaceExpression,
    ReplaceStatement,
)
from dsadapter.migration.listeners import Listener, listeners_of
from dsadapter.migration.module import Module
from dsadapter.migration.rewriting.plan import Plan
from dsadapter.migration.rewriting.planning import widen
from dsadapter.migration.rules.forgiving import is_forgiven
from dsadapter.migration.rules.pairs import RULE as PAIRS
from dsadapter.migration.rules.pairs import paired_listeners
from dsadapter.migration.rules.rule import Rule

_LOOPBACK = "a private service: 'localhost' serves both, '::' would publish it"


def check(module: Module) -> Iterator[Finding]:
    """Find loops over addresses, and lists of them, that reach a listener."""
    for listener in listeners_of(module):
        finding = _listed(module, listener) or _looped(module, listener)
        if finding is not None:
            paired_listeners(module).add(listener)
            yield finding
    for loop in module.all(ast.For):
        finding = _delegated(module, loop)
        if finding is not None:
            yield finding
    yield from _binds(module)
    yield from _uvicorn(module)


def hosts_in(module: Module, node: ast.expr) -> list[Host]:
    """The hosts of a list, a tuple or a set, if it is a literal; of either arm of a condition."""
    node = module.resolve(node)
    if isinstance(node, ast.IfExp):
        arms = [hosts_in(module, node.body), hosts_in(module, node.orelse)]
        return next((arm for arm in arms if pairs(arm)), [])
    if isinstance(node, ast.BoolOp):
        return next((h for v in node.values if pairs(h := hosts_in(module, v))), [])
    if not isinstance(node, ast.List | ast.Tuple | ast.Set):
        return []
    found = []
    for element in node.elts:
        if isinstance(element, ast.Tuple) and element.elts:
            element = element.elts[0]
        value = module.constant(element)
        known = isinstance(value, str | bytes)
        found.append(host_of(value, Host.ANY4) if known else Host.UNKNOWN)
    return found


def _listed(module: Module, listener: Listener) -> Finding | None:
    """``host=["0.0.0.0", "::"]`` of asyncio's and aiohttp's servers."""
    node = listener.host_node
    if listener.framework not in ("asyncio", "aiohttp"):
        return None
    if listener.host is Host.BOTH:
        message = f"{_name(listener)} opens an IPv4 and an IPv6 socket where no host is given"
        plan = widen(module, listener)
        return _finding(module, listener.call, Certainty.POSSIBLE, message, "", plan)
    if node is None:
        return None
    both = pairs(hosts_in(module, node))
    if both is None:
        return None
    elements = module.resolve(node)
    plan = widen(module, listener, "::" if both is Host.ANY6 else "localhost")
    certainty, reason = Certainty.CERTAIN, ""
    if both is Host.LOOPBACK6:
        certainty, reason = Certainty.LIKELY, _LOOPBACK
    elif elements is not node or not isinstance(elements, ast.List | ast.Tuple):
        certainty, reason = Certainty.LIKELY, "the list is kept in a name"
    elif len(elements.elts) != 2:
        certainty, reason = Certainty.LIKELY, "the list holds more addresses"
    elif not listener.proven or not plan.edits:
        certainty, reason = Certainty.LIKELY, ""
    elif _sockets_used(module, listener):
        certainty, reason = Certainty.LIKELY, "the sockets of the server are used"
    hosts = " and ".join(module.source(e) for e in getattr(elements, "elts", []))
    message = f"{_name(listener)} opens a socket for each of {hosts or 'several addresses'}"
    return _finding(module, listener.call, certainty, message, reason, plan)


def _sockets_used(module: Module, listener: Listener) -> bool:
    return listener.result == "kept" and any(
        node.attr == "sockets" for node in module.all(ast.Attribute)
    )


def _looped(module: Module, listener: Listener) -> Finding | None:
    """``for address in ("0.0.0.0", "::")`` around a listener on ``address``."""
    name = listener.host_node
    if name is None and listener.form in ("string", "strports"):
        name = _interface_name(listener.options["description"])
    if not isinstance(name, ast.Name):
        return None
    for node in module.ancestors(listener.call):
        iterable = _iterates(node, name.id)
        if iterable is not None:
            break
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            return None
    else:
        return None
    both = pairs(hosts_in(module, iterable))
    if both is None:
        if isinstance(module.resolve(iterable), ast.List | ast.Tuple | ast.Set):
            return None
        message = f"{_name(listener)} listens on each address of {ast.unparse(iterable)}"
        plan = Plan("one dual-stack listener where the addresses are both wildcards")
        return _finding(module, listener.call, Certainty.POSSIBLE, message, "", plan)
    plan = widen(module, listener, "::" if both is Host.ANY6 else "localhost")
    message = (
        f"{_name(listener)} listens on each address of {ast.unparse(module.resolve(iterable))}"
    )
    if both is Host.LOOPBACK6:
        return _finding(module, listener.call, Certainty.LIKELY, message, _LOOPBACK, plan)
    edits = _unrolled(module, node, name.id, iterable, listener, plan)
    if is_forgiven(module, node):
        edits = ()
    certainty = Certainty.CERTAIN if edits else Certainty.LIKELY
    return _finding(module, listener.call, certainty, message, "", plan._replace(edits=edits))


def _unrolled(
    module: Module, loop: ast.AST, name: str, iterable: ast.expr, listener: Listener, plan: Plan
) -> tuple[Edit, ...]:
    """Put the listener where the loop stands, if the loop does nothing but listen."""
    literal = module.resolve(iterable)
    if not (
        isinstance(loop, ast.For)
        and not loop.orelse
        and list(listener.statements) == loop.body
        and isinstance(literal, ast.List | ast.Tuple)
        and len(literal.elts) == 2
        and listener.proven
        and listener.result == "dropped"
        and listener.shared
        and bool(listener.port)
        and len(module.loads(name, module.scope(loop))) == 1
        and plan.edits
    ):
        return ()
    if listener.form == "reactor" and listener.tail:
        return ()
    replaced, *others = plan.edits
    if not isinstance(replaced, ReplaceExpression) or listener.top is None:
        return ()
    call = module.source(listener.call)
    whole = module.source(listener.statement)
    if whole.count(call) != 1 or replaced.span != module.span(listener.call):
        return ()
    edits: list[Edit] = [
        ReplaceStatement(module.span(loop), whole.replace(call, replaced.code)),
        *others,
    ]
    if literal is not iterable:
        # A list that is only for this loop goes with it.
        assignment = module.parents[literal]
        if (
            not isinstance(iterable, ast.Name)
            or not isinstance(assignment, ast.Assign)
            or module.scope(assignment) is not module.scope(loop)
            or len(module.loads(iterable.id, module.scope(loop))) != 1
            # __all__ may say that others use it.
            or module.mentioned(iterable.id)
        ):
            return ()
        edits.append(ReplaceStatement(module.span(assignment)))
    return tuple(edits)


def _iterates(node: ast.AST, name: str) -> ast.expr | None:
    targets: list[tuple[ast.expr, ast.expr]] = []
    if isinstance(node, ast.For | ast.AsyncFor):
        targets = [(node.target, node.iter)]
    elif isinstance(node, ast.ListComp | ast.SetComp | ast.GeneratorExp):
        targets = [(generator.target, generator.iter) for generator in node.generators]
    for target, iterable in targets:
        if any(isinstance(n, ast.Name) and n.id == name for n in ast.walk(target)):
            return iterable
    return None


def _interface_name(description: ast.expr) -> ast.expr | None:
    """The name that an f-string puts behind ``interface=``."""
    if not isinstance(description, ast.JoinedStr):
        return None
    for text, value in zip(description.values, description.values[1:], strict=False):
        if (
            isinstance(text, ast.Constant)
            and str(text.value).endswith("interface=")
            and isinstance(value, ast.FormattedValue)
        ):
            return value.value
    return None


def _delegated(module: Module, loop: ast.For) -> Finding | None:
    """``for address in (...): self.listen(address)``, one method away from the listener."""
    both = pairs(hosts_in(module, loop.iter))
    if both is None or not isinstance(loop.target, ast.Name):
        return None
    for call in module.inside(loop, ast.Call):
        callee = call.func.attr if isinstance(call.func, ast.Attribute) else ""
        callee = callee or (call.func.id if isinstance(call.func, ast.Name) else "")
        for number, argument in enumerate(call.args):
            if not (isinstance(argument, ast.Name) and argument.id == loop.target.id):
                continue
            reached = _reaches(module, callee, number, isinstance(call.func, ast.Attribute))
            if reached is not None:
                message = (
                    f"{callee} listens (line {reached.call.lineno}) on each address of"
                    f" {ast.unparse(module.resolve(loop.iter))}"
                )
                paired_listeners(module).add(reached)
                plan = widen(module, reached, "::" if both is Host.ANY6 else "localhost")
                reason = _LOOPBACK if both is Host.LOOPBACK6 else ""
                return _finding(module, loop.iter, Certainty.LIKELY, message, reason, plan)
    return None


def _reaches(module: Module, callee: str, number: int, method: bool) -> Listener | None:
    functions: list[ast.FunctionDef | ast.AsyncFunctionDef] = []
    functions += module.all(ast.FunctionDef)
    functions += module.all(ast.AsyncFunctionDef)
    for function in functions:
        if function.name != callee:
            continue
        names = [argument.arg for argument in function.args.args]
        position = number + (method and names[:1] in (["self"], ["cls"]))
        if position >= len(names):
            continue
        for listener in listeners_of(module):
            node = listener.host_node
            if (
                isinstance(node, ast.Name)
                and node.id == names[position]
                and function in module.ancestors(listener.call)
            ):
                return listener
    return None


def _binds(module: Module) -> Iterator[Finding]:
    """``config.bind = ["0.0.0.0:80", "[::]:80"]`` of hypercorn and gunicorn."""
    for assignment in module.all(ast.Assign):
        target = assignment.targets[0]
        name = target.attr if isinstance(target, ast.Attribute) else getattr(target, "id", "")
        if name not in ("bind", "binds", "insecure_bind", "quic_bind"):
            continue
        if not isinstance(assignment.value, ast.List | ast.Tuple):
            continue
        values = [module.constant(element) for element in assignment.value.elts]
        parsed = [host_and_port(value) for value in values if isinstance(value, str)]
        found = [entry for entry in parsed if entry is not None]
        for host, port in found:
            if host is Host.ANY6 and (Host.ANY4, port) in found:
                message = f"{name} holds both wildcards with port {port}"
                plan = Plan(f"a ready socket: listening_socket('::', {port})")
                yield _finding(module, assignment, Certainty.LIKELY, message, "", plan)


def _hosts_of(module: Module, call: ast.Call, node: ast.expr) -> list[Host]:
    """The hosts of a list, or of the list that a loop around a call takes a name from."""
    if isinstance(node, ast.Name):
        for around in module.ancestors(call):
            iterable = _iterates(around, node.id)
            if iterable is not None:
                return hosts_in(module, iterable)
    return hosts_in(module, node)


def _uvicorn(module: Module) -> Iterator[Finding]:
    """``uvicorn.run(app, host=["0.0.0.0", "::"])``, which reaches asyncio as it is."""
    for call in module.all(ast.Call):
        if module.qualified(call.func) not in ("uvicorn.run", "uvicorn.Config"):
            continue
        for keyword in call.keywords:
            if keyword.arg == "host" and pairs(_hosts_of(module, call, keyword.value)):
                message = "uvicorn opens a socket for each of several addresses"
                ready = "sockets=[dsadapter.sockets.listening.listening_socket('::', port)]"
                plan = Plan(f"uvicorn.Server(config).run({ready})")
                yield _finding(module, call, Certainty.LIKELY, message, "", plan)


def _finding(
    module: Module,
    node: ast.expr | ast.stmt,
    certainty: Certainty,
    message: str,
    reason: str,
    plan: Plan,
) -> Finding:
    return Finding(
        "P2",
        certainty,
        module.span(node),
        message + (f"; {reason}" if reason else ""),
        plan.replacement,
        plan.edits if certainty is Certainty.CERTAIN else (),
        plan.adapter,
    )


def _name(listener: Listener) -> str:
    return ast.unparse(listener.call.func).rpartition(".")[2]


RULE = Rule((*PAIRS.triggers, b"bind", b"uvicorn"), check)
