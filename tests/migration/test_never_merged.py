"""What is never made one listener, however much it looks like a pair."""

from __future__ import annotations

import pytest
from migration.cases import ENDPOINTS, REACTOR, certain, found, summary

APART = {
    "different ports": (
        REACTOR + "reactor.listenTCP(80, factory)\nreactor.listenTCP(81, factory, interface='::')"
    ),
    "different factories": (
        REACTOR + "reactor.listenTCP(80, factory)\nreactor.listenTCP(80, other, interface='::')"
    ),
    "UDP and TCP": (
        REACTOR + "reactor.listenTCP(53, factory)\nreactor.listenUDP(53, factory, interface='::')"
    ),
    "TLS and plain": (
        REACTOR
        + "reactor.listenTCP(80, factory)\nreactor.listenSSL(80, factory, ctx, interface='::')"
    ),
    "ports that the system chooses": (
        REACTOR + "reactor.listenTCP(0, factory)\nreactor.listenTCP(0, factory, interface='::')"
    ),
    "branches of one condition": (
        REACTOR
        + "if six:\n    reactor.listenTCP(80, factory, interface='::')\n"
        + "else:\n    reactor.listenTCP(80, factory)"
    ),
    "a branch and what follows it": (
        REACTOR
        + "if six:\n    reactor.listenTCP(80, factory, interface='::')\n"
        + "reactor.listenTCP(80, factory)"
    ),
    "a handler and what failed": (
        REACTOR
        + "try:\n    reactor.listenTCP(80, factory, interface='::')\n"
        + "except Exception:\n    reactor.listenTCP(80, factory)"
    ),
    "functions of their own": (
        ENDPOINTS
        + "def four():\n    TCP4ServerEndpoint(reactor, 80).listen(site)\n"
        + "def six():\n    TCP6ServerEndpoint(reactor, 80).listen(site)"
    ),
    "the second one after the reactor ran": (
        REACTOR
        + "reactor.listenTCP(80, factory)\nreactor.run()\n"
        + "reactor.listenTCP(80, factory, interface='::')"
    ),
    "a factory that is made anew between them": (
        REACTOR
        + "reactor.listenTCP(80, factory)\nfactory = make()\n"
        + "reactor.listenTCP(80, factory, interface='::')"
    ),
    "a name that something else is imported as": (
        "strports = 1\n"
        + REACTOR
        + "reactor.listenTCP(80, factory)\nreactor.listenTCP(80, factory, interface='::')"
    ),
    "arguments that are unpacked": (
        REACTOR
        + "reactor.listenTCP(80, factory, **options)\n"
        + "reactor.listenTCP(80, factory, interface='::')"
    ),
    "a failure that is forgiven": (
        REACTOR
        + "try:\n    reactor.listenTCP(80, factory)\n"
        + "    reactor.listenTCP(80, factory, interface='::')\nexcept Exception:\n    pass"
    ),
    "a failure that is suppressed": (
        REACTOR
        + "with suppress(Exception):\n    for a in ('', '::'):\n"
        + "        reactor.listenTCP(80, factory, interface=a)"
    ),
    "an attribute that is assigned between them": (
        REACTOR
        + "reactor.listenTCP(80, self.site)\nself.site = make()\n"
        + "reactor.listenTCP(80, self.site, interface='::')"
    ),
    "an attribute that a call may change": (
        REACTOR
        + "reactor.listenTCP(80, self.site)\nself.renew()\n"
        + "reactor.listenTCP(80, self.site, interface='::')"
    ),
    "a global that a call changes": (
        REACTOR
        + "port = 80\ndef bump():\n    global port\n    port = 81\n"
        + "reactor.listenTCP(port, factory)\nbump()\n"
        + "reactor.listenTCP(port, factory, interface='::')"
    ),
    "a third one on the port": (
        REACTOR
        + "reactor.listenTCP(80, factory)\nreactor.listenTCP(80, factory, interface='::')\n"
        + "reactor.listenTCP(80, other, interface='192.0.2.1')"
    ),
    "an address and a wildcard": (
        REACTOR
        + "reactor.listenTCP(80, factory, interface='192.0.2.1')\n"
        + "reactor.listenTCP(80, factory, interface='::')"
    ),
}


@pytest.mark.parametrize("shape", APART)
def test_these_stay_apart(shape):
    assert certain(APART[shape]) == []


LOOPBACK = {
    "a pair": (
        REACTOR
        + "reactor.listenTCP(80, factory, interface='127.0.0.1')\n"
        + "reactor.listenTCP(80, factory, interface='::1')"
    ),
    "a loop": (
        REACTOR + "for a in ('127.0.0.1', '::1'):\n    reactor.listenTCP(80, factory, interface=a)"
    ),
    "a list": (
        "import asyncio\nasync def main():\n"
        "    await asyncio.start_server(serve, ['127.0.0.1', '::1'], 80)"
    ),
}


@pytest.mark.parametrize("shape", LOOPBACK)
def test_a_private_service_is_not_published(shape):
    """``::`` would serve the world; ``localhost`` is what replaces the two."""
    (finding,) = found(LOOPBACK[shape])
    assert finding.certainty.value == "likely"
    assert finding.edits == ()
    assert "localhost" in finding.replacement
    assert "publish" in finding.message


CRASH = """
import ipaddress
class Echo(Protocol):
    def connectionMade(self):
        self.peer = ipaddress.ip_address(self.transport.getPeer().host).ipv4_mapped
"""


def test_a_pair_beside_unmapping_that_crashes_is_unsure():
    """Rewriting the listener alone would end every IPv4 connection in an exception."""
    source = (
        REACTOR
        + "reactor.listenTCP(80, factory)\nreactor.listenTCP(80, factory, interface='::')\n"
        + CRASH
    )
    assert summary(source) == [("P1", "likely"), ("P10x", "likely")]


def test_a_file_is_left_whole_if_one_part_is_unsure():
    source = (
        REACTOR
        + "reactor.listenTCP(80, factory)\nreactor.listenTCP(80, factory, interface='::')\n"
        + "reactor.listenTCP(81, factory, interface='::')\n"
    )
    assert summary(source) == [("P1", "likely"), ("P16", "likely")]
    assert "line 5" in found(source)[0].message


def test_an_unsure_part_that_a_comment_answers_for_holds_nothing_up():
    source = (
        REACTOR
        + "reactor.listenTCP(80, factory)\nreactor.listenTCP(80, factory, interface='::')\n"
        + "reactor.listenTCP(81, factory, interface='::')  # dsadapter: ignore[P16]\n"
    )
    assert certain(source) == ["P1"]


PROTOCOL = """
from twisted.internet import protocol, reactor
class Echo(protocol.Protocol):
    def connectionMade(self):
        host = self.transport.getPeer().host
        if host.startswith("::ffff:"):
            host = host[7:]
factory = protocol.Factory()
factory.protocol = {served}
reactor.listenTCP(80, factory)
reactor.listenTCP(80, factory, interface="::")
{more}
"""


def test_a_strip_goes_with_the_listener_that_makes_it_useless():
    assert certain(PROTOCOL.format(served="Echo", more="")) == ["P8", "P1"]


@pytest.mark.parametrize(
    ("served", "more"),
    [
        ("Other", ""),
        ("Echo", "reactor.connectTCP('example.com', 80, factory)"),
        ("Echo", "reactor.listenTCP(81, factory)"),
    ],
    ids=["it serves others", "it connects too", "another listener serves them too"],
)
def test_a_strip_stays_where_others_may_need_it(served, more):
    """And the listener with it: half of a change is none."""
    assert certain(PROTOCOL.format(served=served, more=more)) == []


#: FOUR and SIX are the listeners, on port P and address A.
UNSETTLED = {
    "an import that binds the factory anew": "FOUR\nfrom b import factory\nSIX",
    "an import of unknown names between them": "FOUR\nfrom b import *\nSIX",
    "an import of unknown names that may bind the reactor": "from b import *\nFOUR\nSIX",
    "two imports of one name": "from fake import reactor\nFOUR\nSIX",
    "a method that is replaced": "reactor.listenTCP = fake\nFOUR\nSIX",
    "a wildcard with a scope": "A = '::%eth0'\nFOUR\nSIX",
    "an item that is assigned between them": "FOUR[0]\nP[0] = 81\nSIX[0]",
    "an item that a call takes away": "FOUR[0]\nP.pop(0)\nSIX[0]",
    "an address that a pattern binds": "A = '::'\nmatch x:\n    case [A, *_]: pass\nFOUR\nSIX",
    "an address that an inner function binds": (
        "def f():\n    A = '::'\n    def g():\n        nonlocal A\n        A = h()\n"
        "    g()\n    FOUR\n    SIX"
    ),
    "int, which the program has for itself": "def int(p): return next(p)\nFOURint\nSIXint",
    "the second one after the program ended": "FOUR\nquit()\nSIX",
    "a failure that is suppressed under another name": (
        "from contextlib import suppress as quiet\nwith quiet(Exception):\n    FOUR\n    SIX"
    ),
    "a failure that an exception group takes": "try:\n    FOUR\n    SIX\nexcept* OSError: pass",
    "a failure behind which the next is tried": (
        "for _ in x:\n    try:\n        FOUR\n        SIX\n    except OSError:\n        continue"
    ),
    "a failure that a return takes": (
        "def f():\n    try:\n        FOUR\n        SIX\n    finally:\n        return"
    ),
}


def _listening(source: str) -> str:
    head = REACTOR + ("" if "A = " in source else "A = '::'\n")
    for name, more in (("FOUR", ""), ("SIX", ", interface=A")):
        for mark, port in (("[0]", "P[0]"), ("int", "int(P)"), ("", "P")):
            source = source.replace(name + mark, f"reactor.listenTCP({port}, factory{more})")
    return head + source


def test_what_nothing_unsettles_is_certain():
    assert certain(_listening("FOUR\nSIX")) == ["P1"]
    assert certain(_listening("FOUR[0]\nSIX[0]")) == ["P1"]
    assert certain(_listening("FOURint\nSIXint")) == ["P1"]


@pytest.mark.parametrize("shape", UNSETTLED)
def test_what_may_stand_for_something_else_stays_apart(shape):
    assert certain(_listening(UNSETTLED[shape])) == []


def test_a_list_of_addresses_that_others_may_import_stays():
    source = (
        REACTOR
        + "__all__ = ['hosts']\nhosts = ('', '::')\n"
        + "for a in hosts:\n    reactor.listenTCP(80, factory, interface=a)\n"
    )
    assert certain(source) == []


STDLIB = """
import socket, socketserver, threading
class Six(socketserver.TCPServer):
    address_family = {more}socket.AF_INET6
four = socketserver.TCPServer(("", 80), Handler)
six = Six(("::", 80), Handler)
threading.Thread(target=four.serve_forever).start()
"""


def test_what_others_may_import_or_read_stays():
    assert certain(STDLIB.format(more="")) == ["P1"]
    assert certain(STDLIB.format(more="") + "__all__ = ['four']") == []
    assert certain(STDLIB.format(more="family = ")) == []
    pair = (
        ENDPOINTS
        + "a = TCP4ServerEndpoint(reactor, 80)\na.listen(site)\n"
        + "b = TCP6ServerEndpoint(reactor, 80)\nb.listen(site)\n"
    )
    assert certain(pair) == ["P1"]
    assert certain(pair + "__all__ = ['b']\n") == []
