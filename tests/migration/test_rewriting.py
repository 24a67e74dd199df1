"""What is rewritten: to what, and what stays as it was, byte for byte."""

from __future__ import annotations

import codecs
import contextlib
from textwrap import dedent

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from migration.cases import ENDPOINTS, REACTOR, SERVICES

from dsadapter.migration.findings import Certainty
from dsadapter.migration.rewriting.applying import CannotRewriteError, rewritten
from dsadapter.migration.scanning import Scanner

SCANNER = Scanner()


def migrated(data: bytes) -> bytes:
    """A file with everything certain rewritten."""
    certain = [f for f in SCANNER.python(data) or [] if f.certainty is Certainty.CERTAIN]
    return rewritten(data, dict.fromkeys(edit for f in certain for edit in f.edits))


KEEP = "names = SSL4ServerEndpoint, TCP4ServerEndpoint, TCP6ServerEndpoint, reactor, internet\n"


def body(source: str, head: str) -> str:
    """What became of a source, without the head that it began with and the import that came."""
    lines = migrated((head + KEEP + source).encode()).decode().splitlines()
    known = [*KEEP.splitlines(), *head.splitlines(), "from twisted.application import strports"]
    known += ["from dsadapter.frameworks.twisted import DualStackServerEndpoint"]
    known += ["from twisted.protocols.tls import TLSMemoryBIOFactory"]
    return "\n".join(line for line in lines if line not in known)


TWISTED = {
    "methods": (
        REACTOR,
        "reactor.listenTCP(80, factory)\nreactor.listenTCP(80, factory, interface='::')\n",
        'strports.service("dualstack:80", factory).startService()',
    ),
    "a name for the port, and a backlog": (
        REACTOR,
        (
            "reactor.listenTCP(port, factory, 5)\n"
            "reactor.listenTCP(port, factory, 5, interface='::')\n"
        ),
        'strports.service(f"dualstack:{port}:backlog=5", factory).startService()',
    ),
    "TLS": (
        REACTOR,
        (
            "reactor.listenSSL(443, factory, ctx)\n"
            "reactor.listenSSL(443, factory, ctx, interface='::')\n"
        ),
        (
            'strports.service("dualstack:443", TLSMemoryBIOFactory(ctx, False, factory))'
            ".startService()"
        ),
    ),
    "endpoints": (
        ENDPOINTS,
        (
            "TCP6ServerEndpoint(reactor, 80, backlog=9).listen(site).addErrback(log.err)\n"
            "TCP4ServerEndpoint(reactor, 80, backlog=9).listen(site).addErrback(log.err)\n"
        ),
        "DualStackServerEndpoint(reactor, 80, backlog=9).listen(site).addErrback(log.err)",
    ),
    "endpoints with TLS": (
        ENDPOINTS,
        (
            "SSL4ServerEndpoint(reactor, 80, ctx).listen(site)\n"
            "SSL4ServerEndpoint(reactor, 80, ctx, interface='::').listen(site)\n"
        ),
        "DualStackServerEndpoint(reactor, 80).listen(TLSMemoryBIOFactory(ctx, False, site))",
    ),
    "endpoints in names": (
        ENDPOINTS,
        (
            "a = TCP4ServerEndpoint(reactor, int(args.port))\na.listen(site)\n"
            "b = TCP6ServerEndpoint(reactor, int(args.port))\nb.listen(site)\n"
        ),
        "a = DualStackServerEndpoint(reactor, int(args.port))\na.listen(site)",
    ),
    "endpoints that share a name": (
        ENDPOINTS,
        (
            "a = TCP4ServerEndpoint(reactor, 80)\na.listen(site)\n"
            "a = TCP6ServerEndpoint(reactor, 80)\na.listen(site)\n"
        ),
        "a = DualStackServerEndpoint(reactor, 80)\na.listen(site)",
    ),
    "an endpoint beside a method, which raises": (
        ENDPOINTS,
        "TCP6ServerEndpoint(reactor, 80).listen(site)\nreactor.listenTCP(80, site)\n",
        'strports.service("dualstack:80", site).startService()',
    ),
    "strings": (
        ENDPOINTS,
        (
            "serverFromString(reactor, 'tcp:80:backlog=9').listen(site)\n"
            "serverFromString(reactor, 'tcp6:80:backlog=9').listen(site)\n"
        ),
        'serverFromString(reactor, "dualstack:80:backlog=9").listen(site)',
    ),
    "strings with a port put in": (
        ENDPOINTS,
        (
            "serverFromString(reactor, f'tcp:{port}').listen(site)\n"
            "serverFromString(reactor, f'tcp6:{port}').listen(site)\n"
        ),
        'serverFromString(reactor, f"dualstack:{port}").listen(site)',
    ),
    "services": (
        SERVICES,
        (
            "internet.TCPServer(80, site).setServiceParent(app)\n"
            "internet.TCPServer(80, site, interface='::').setServiceParent(app)\n"
        ),
        'strports.service("dualstack:80", site).setServiceParent(app)',
    ),
    "a service in a name": (
        SERVICES,
        (
            "a = internet.TCPServer(80, site)\na.setServiceParent(app)\n"
            "b = internet.TCPServer(80, site, interface='::')\nb.setServiceParent(app)\n"
        ),
        'a = strports.service("dualstack:80", site)\na.setServiceParent(app)',
    ),
    "a loop": (
        REACTOR,
        (
            "for address in ('0.0.0.0', '::'):\n"
            "    # one a family\n    reactor.listenTCP(80, factory, interface=address)\n"
        ),
        '# one a family\nstrports.service("dualstack:80", factory).startService()',
    ),
    "a loop over a list of its own": (
        REACTOR,
        (
            "addresses = ['0.0.0.0', '::']\nfor address in addresses:\n"
            "    reactor.listenTCP(80, factory, interface=address)\n"
        ),
        'strports.service("dualstack:80", factory).startService()',
    ),
}


@pytest.mark.parametrize("shape", TWISTED)
def test_twisted(shape):
    head, source, expected = TWISTED[shape]
    assert body(source, head) == expected


def test_a_block_that_only_listened_for_ipv6_is_not_left_empty():
    source = """
    from twisted.internet import reactor
    def start(factory):
        # IPv4
        reactor.listenTCP(80, factory)
        # IPv6
        reactor.listenTCP(80, factory, interface="::")

    start(make())
    """
    assert migrated(dedent(source).encode()).decode() == dedent(
        """
        from twisted.internet import reactor
        from twisted.application import strports
        def start(factory):
            # IPv4
            strports.service("dualstack:80", factory).startService()
            # IPv6

        start(make())
        """
    )


def test_an_import_comes_behind_the_last_one_before_its_use():
    source = (
        "import sys\n\nsys.path.insert(0, 'lib')\nfrom twisted.internet import reactor\n"
        "factory = make()\nreactor.listenTCP(80, factory)\n"
        "reactor.listenTCP(80, factory, interface='::')\nimport late\n"
    )
    assert migrated(source.encode()).decode() == (
        "import sys\n\nsys.path.insert(0, 'lib')\nfrom twisted.internet import reactor\n"
        "from twisted.application import strports\n"
        "factory = make()\n"
        'strports.service("dualstack:80", factory).startService()\n'
        "import late\n"
    )


@pytest.mark.parametrize(
    ("before", "behind"),
    [
        ("if TYPE_CHECKING:\n    from twisted.application import strports\n", ""),
        ("", "from twisted.application import strports\n"),
    ],
    ids=["for type checkers alone", "behind its use"],
)
def test_an_import_that_the_use_can_not_rely_on_is_not_enough(before, behind):
    head = before + "from twisted.internet import reactor\n"
    pair = "reactor.listenTCP(80, factory)\nreactor.listenTCP(80, factory, interface='::')\n"
    assert migrated((head + pair + behind).encode()).decode() == (
        head
        + "from twisted.application import strports\n"
        + 'strports.service("dualstack:80", factory).startService()\n'
        + behind
    )


@pytest.mark.parametrize("head", ["if up: ", "def start(): "])
def test_a_pair_on_the_line_of_its_block(head):
    source = (
        "from twisted.internet import reactor\nfrom twisted.application import strports\n"
        + head
        + "{}\n"
    )
    pair = "reactor.listenTCP(80, f); reactor.listenTCP(80, f, interface='::')"
    one = 'strports.service("dualstack:80", f).startService()'
    assert migrated(source.format(pair).encode()).decode() == source.format(one)


def test_an_import_that_nothing_uses_any_more_goes():
    source = (
        "from twisted.internet.endpoints import TCP4ServerEndpoint, TCP6ServerEndpoint, connect\n"
        "from twisted.internet import reactor\n"
        "from other import unused\n"
        "TCP4ServerEndpoint(reactor, 80).listen(site)\n"
        "TCP6ServerEndpoint(reactor, 80).listen(site)\n"
        "connect(reactor)\n"
    )
    assert migrated(source.encode()).decode() == (
        "from twisted.internet.endpoints import connect\n"
        "from twisted.internet import reactor\n"
        "from other import unused\n"
        "from dsadapter.frameworks.twisted import DualStackServerEndpoint\n"
        "DualStackServerEndpoint(reactor, 80).listen(site)\n"
        "connect(reactor)\n"
    )


@pytest.mark.parametrize(
    "imported",
    [
        "from twisted.internet.endpoints import TCP4ServerEndpoint, TCP6ServerEndpoint  # noqa",
        (
            "from twisted.internet.endpoints import TCP4ServerEndpoint, TCP6ServerEndpoint\n"
            "__all__ = ['TCP4ServerEndpoint', 'TCP6ServerEndpoint']"
        ),
    ],
)
def test_an_import_that_others_may_use_stays(imported):
    source = (
        f"from twisted.internet import reactor\n{imported}\n"
        "TCP4ServerEndpoint(reactor, 80).listen(site)\n"
        "TCP6ServerEndpoint(reactor, 80).listen(site)\n"
    )
    assert imported.splitlines()[0] in migrated(source.encode()).decode().splitlines()


ASYNCIO = """\
import asyncio

async def main():
    {code}
"""


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (
            "server = await asyncio.start_server(serve, ['0.0.0.0', '::'], 80)",
            'server = await start_server(serve, "::", 80)',
        ),
        (
            (
                "server = await asyncio.get_running_loop().create_server("
                "Echo, host=('0.0.0.0', '::'), port=80)"
            ),
            'server = await create_server(Echo, host="::", port=80)',
        ),
        (
            (
                "await asyncio.start_server(serve, '0.0.0.0', 80)\n"
                "    await asyncio.start_server(serve, '::', 80)"
            ),
            'await start_server(serve, "::", 80)',
        ),
    ],
)
def test_asyncio(code, expected):
    text = migrated(ASYNCIO.format(code=code).encode()).decode()
    assert text.splitlines()[-1].strip() == expected
    assert "from dsadapter.frameworks.asyncio import " in text


def test_socketserver():
    source = """\
    import socket, socketserver, threading

    class Six(socketserver.ThreadingTCPServer):
        # for IPv6
        address_family = socket.AF_INET6

        def server_bind(self):
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            socketserver.TCPServer.server_bind(self)

    four = socketserver.ThreadingTCPServer(("", 80), Handler)
    six = Six(("::", 80), Handler)
    threading.Thread(target=four.serve_forever).start()
    six.serve_forever()
    """
    assert migrated(dedent(source).encode()).decode() == dedent(
        """\
        import socket, socketserver, threading
        from dsadapter.frameworks.blocking import DualStackMixin

        class Six(DualStackMixin, socketserver.ThreadingTCPServer):
            # for IPv6
            pass

        six = Six(("::", 80), Handler)
        six.serve_forever()
        """
    )


PAIR = REACTOR + "reactor.listenTCP(80, factory)\nreactor.listenTCP(80, factory, interface='::')\n"


def test_carriage_returns_byte_order_mark_and_form_feeds_stay():
    text = "# ä\n" + PAIR + "\f\nclass A:\n    x = 'ö'\n"
    data = codecs.BOM_UTF8 + text.replace("\n", "\r\n").encode()
    result = migrated(data)
    assert result.startswith(codecs.BOM_UTF8)
    assert b"\r\n\f\r\nclass A:\r\n    x = '\xc3\xb6'\r\n" in result
    assert b"dualstack:80" in result
    assert b"\n" not in result.replace(b"\r\n", b"")


def test_another_encoding_stays():
    data = "# -*- coding: latin-1 -*-\nname = 'é'\n".encode("latin-1") + PAIR.encode()
    assert "name = 'é'".encode("latin-1") in migrated(data)


def test_line_ends_that_would_change_stop_the_rewrite():
    with pytest.raises(CannotRewriteError):
        migrated(PAIR.replace("\n", "\r").encode())


NAMES = st.sampled_from(["factory", "site", "self.factory", "app.site"])
PORTS = st.sampled_from(["80", "port", "args.port", "int(args.port)", "8080"])
V4 = st.sampled_from(["", ", interface=''", ", interface='0.0.0.0'", ', interface="0.0.0.0"'])
V6 = st.sampled_from([", interface='::'", ", interface='::0'", ', interface="::"'])
FILLING = st.sampled_from(
    ["", "# a comment\n", "x = 1\n", "\n\n", "\f\n", "if x:\n    y = 2  # two\n", "print('é')\n"]
)
COMMENTS = st.sampled_from(["", "  # kept", " ;x = 3"])


@st.composite
def programs(draw: st.DrawFn) -> bytes:
    """Twisted programs of many shapes, some with a pair that is certain."""
    port, name = draw(PORTS), draw(NAMES)
    lines = [
        f"reactor.listenTCP({port}, {name}{draw(V4)}){draw(COMMENTS)}\n",
        f"reactor.listenTCP({port}, {name}{draw(V6)}){draw(COMMENTS)}\n",
    ]
    if draw(st.booleans()):
        lines.reverse()
    parts = [draw(FILLING), REACTOR, draw(FILLING), lines[0], draw(FILLING), lines[1]]
    text = "".join([*parts, draw(FILLING)])
    if draw(st.booleans()):
        indented = "".join(f"    {line}" for line in text.splitlines(keepends=True))
        text = f"def main():\n{indented}"
        text += draw(st.sampled_from(["", "\n\nmain()\n"]))
    text = text.replace("\n", draw(st.sampled_from(["\n", "\r\n"])))
    return draw(st.sampled_from([b"", codecs.BOM_UTF8])) + text.encode()


@settings(deadline=None)
@given(programs())
def test_the_result_compiles_changes_no_more_and_keeps_the_rest(data):
    """Whatever the program: every line and comment is kept that is not the listeners' own."""
    result = migrated(data)
    compile(result, "result", "exec")
    assert migrated(result) == result
    again = [f for f in SCANNER.python(result) or [] if f.certainty is Certainty.CERTAIN]
    assert again == []
    kept = [line for line in _lines(data) if line.strip() and b"listenTCP" not in line]
    remaining = _lines(result)
    for line in kept:
        assert line in remaining
    assert result.count(b"# kept") == data.count(b"# kept")
    if result != data:
        assert b"listenTCP" not in result


def _lines(data: bytes) -> list[bytes]:
    return data.removeprefix(codecs.BOM_UTF8).splitlines()


@settings(deadline=None)
@given(st.binary(max_size=60))
def test_bytes_that_are_no_program_never_crash_the_scan(data):
    with contextlib.suppress(SyntaxError, ValueError):
        SCANNER.python(b"listenTCP " + data)
