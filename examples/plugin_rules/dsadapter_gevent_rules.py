"""A rule for `dsadapter scan`: gevent's servers on the IPv6 wildcard."""

import ast

from dsadapter import hookimpl
from dsadapter.migration import Certainty, Finding, Pattern, Rule

WILDCARD = Pattern(
    "GEVENT1",
    "gevent server on the IPv6 wildcard",
    "gevent leaves IPV6_V6ONLY to the system, so IPv4 clients may be refused, or look mapped.",
    "Give the server a ready socket: dsadapter.sockets.listening.listening_socket('::', port).",
)


def check(module):
    for call in module.all(ast.Call):
        if module.qualified(call.func).startswith("gevent.") and call.args:
            address = module.resolve(call.args[0])
            if isinstance(address, ast.Tuple) and module.constant(address.elts[0]) == "::":
                yield Finding(
                    WILDCARD.id,
                    Certainty.LIKELY,
                    module.span(call),
                    f"{ast.unparse(call.func)} listens on ::",
                    WILDCARD.remedy,
                )


@hookimpl
def dsadapter_register_rules():
    return Rule((b"gevent",), check, (WILDCARD,))
