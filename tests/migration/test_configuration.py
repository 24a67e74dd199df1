"""Listeners that files other than Python configure."""

from __future__ import annotations

import pytest

from dsadapter.migration.configuration import scan_configuration

FILES = {
    "TOML, a list": (
        "server.toml",
        'endpoints = [\n  "tcp:80",  # IPv4\n  "tcp6:80",\n]\n',
        [("P1", 2, '"dualstack:80"')],
    ),
    "TOML, addresses with ports": (
        "server.toml",
        'bind = ["0.0.0.0:80", "[::]:80"]\n',
        [("P1", 1, "one dual-stack socket on [::]:80")],
    ),
    "TOML, one for IPv6": (
        "server.toml",
        'listen = "tcp:80:interface=\\\\:\\\\:"\n',
        [("P16", 1, '"dualstack:80"')],
    ),
    "YAML, addresses in one line": (
        "server.yaml",
        "listeners:\n  - port: 8008\n    bind_addresses: ['::', '0.0.0.0']\n",
        [("P2", 3, "one dual-stack listener")],
    ),
    "YAML, addresses in a list": (
        "server.yml",
        'bind_addresses:\n  - "::"\n  - 0.0.0.0\n',
        [("P2", 2, "one dual-stack listener")],
    ),
    "INI, over two lines": (
        "cowrie.cfg",
        "[ssh]\nlisten_endpoints = tcp:22:interface=0.0.0.0\n    tcp6:22:interface=\\:\\:\n",
        [("P1", 2, '"dualstack:22"')],
    ),
    "INI, in one line": (
        "server.ini",
        "[web]\nport = tcp:80 tcp6:80\n",
        [("P1", 2, '"dualstack:80"')],
    ),
    "a private service": (
        "server.ini",
        "port = tcp:80:interface=127.0.0.1 tcp6:80:interface=\\:\\:1\n",
        [("P1", 1, '"dualstack:80:interface=localhost"')],
    ),
    "a unit of systemd": (
        "web.socket",
        "[Socket]\nListenStream=0.0.0.0:80\nListenStream=[::]:80\n",
        [("P1", 2, "ListenStream=[::]:80 with BindIPv6Only=both")],
    ),
    "a service of systemd": (
        "web.service",
        "[Service]\nExecStart=twist web --listen tcp:80 \\\n  --listen=tcp6:80\n",
        [("P1", 2, '"dualstack:80"')],
    ),
    "a shell script": (
        "start.sh",
        '#!/bin/sh\nexec hypercorn -b 0.0.0.0:80 -b "[::]:80" app\n',
        [("P1", 2, "one dual-stack socket on [::]:80")],
    ),
    "an image": (
        "Dockerfile",
        'CMD ["twist", "web", "--listen", "tcp:80", "--listen", "tcp6:80"]\n',
        [("P1", 1, '"dualstack:80"')],
    ),
    "an adopted descriptor": (
        "server.ini",
        "port = systemd:domain=INET:index=0\n",
        [("P15", 1, "dualstack:systemd=...")],
    ),
    "another server's": (
        "nginx.conf",
        "server {\n  listen 0.0.0.0:80;\n  listen [::]:80;\n}\n",
        [],
    ),
    "different ports": ("server.ini", "a = tcp:80 tcp6:81:interface=\\:\\:1\n", []),
    "who may come": ("server.yaml", "trusted_hosts:\n  - 0.0.0.0\n  - '::'\n", []),
    "routes": ("net.yaml", "routes: ['0.0.0.0', '::']\n", []),
    "an option of its own each": ("server.ini", "a = tcp:80\nb = tcp:81\n; tcp6:80\n", []),
    "a comment": ("server.ini", "a = tcp:80  # and tcp6:80\n", []),
}


@pytest.mark.parametrize("shape", FILES)
def test_settings(shape):
    name, text, expected = FILES[shape]
    found = scan_configuration(name, text.encode())
    assert [(f.pattern, f.span.line, f.replacement) for f in found] == expected
    assert all(f.certainty.value != "certain" for f in found)


def test_carriage_returns_change_nothing():
    found = scan_configuration("a.ini", b"[ssh]\r\nport = tcp:80\r\n  tcp6:80\r\n")
    assert [(f.pattern, f.span.line) for f in found] == [("P1", 2)]


def test_columns_point_at_the_word():
    (finding,) = scan_configuration("a.ini", b"port = tcp6:80\n")
    assert (finding.span.column, finding.span.end_column) == (7, 14)


def test_a_comment_answers_for_its_setting():
    found = scan_configuration("a.ini", b"port = tcp6:80  # dsadapter: ignore[P16]\n")
    assert [(f.pattern, f.ignored) for f in found] == [("P16", True)]


def test_an_idle_comment_is_reported():
    found = scan_configuration("a.ini", b"port = tcp:80  # dsadapter: ignore[P16]\n")
    assert [f.pattern for f in found] == ["P0"]


def test_toml_that_is_none_is_said_to_be():
    with pytest.raises(SyntaxError):
        scan_configuration("a.toml", b"x = [tcp6:80")
