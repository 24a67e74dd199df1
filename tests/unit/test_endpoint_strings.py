"""Endpoint strings as operators type them, slips included. Nothing is opened."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.endpoints import quoteStringArgument, serverFromString
from twisted.internet.interfaces import (
    IStreamClientEndpointStringParserWithReactor,
    IStreamServerEndpointStringParser,
)
from twisted.internet.testing import MemoryReactor
from twisted.plugins import dsadapter_endpoints
from zope.interface.verify import verifyObject


def described(description: str | bytes) -> str:
    return repr(serverFromString(MemoryReactor(), description))


@pytest.mark.parametrize(
    ("description", "expected"),
    [
        ("dualstack:8080", "[::]:8080 (dual-stack)"),
        ("DualStack:8080", "[::]:8080 (dual-stack)"),
        (b"dualstack:8080", "[::]:8080 (dual-stack)"),
        ("dualstack:port=8080", "[::]:8080 (dual-stack)"),
        ("dualstack:8080:interface=", "[::]:8080 (dual-stack)"),
        (r"dualstack:8080:interface=\:\:", "[::]:8080 (dual-stack)"),
        (r"dualstack:interface=\:\:0:port=0", "[::]:0 (dual-stack)"),
        ("dualstack:8080:interface=127.0.0.1", "127.0.0.1:8080 (ipv4)"),
        (r"dualstack:8080:interface=\:\:FFFF\:127.0.0.1", "127.0.0.1:8080 (ipv4)"),
        (r"dualstack:8080:interface=\:\:ffff\:0\:0", "0.0.0.0:8080 (ipv4)"),
        (r"dualstack:8080:interface=\:\:1", "[::1]:8080 (ipv6)"),
        (r"dualstack:8080:interface=0\:0\:0\:0\:0\:0\:0\:1", "[::1]:8080 (ipv6)"),
        (r"dualstack:8080:interface=FE80\:0\:\:1%eth0", "[fe80::1%eth0]:8080 (ipv6)"),
        (r"dualstack:8080:interface=fe80\:\:1%eth0", "[fe80::1%eth0]:8080 (ipv6)"),
        ("dualstack:8080:interface=::1", "[::1]:8080 (ipv6)"),
        ("dualstack:8080:interface=[::1]", "[::1]:8080 (ipv6)"),
        (r"dualstack:8080:interface=[\:\:1]", "[::1]:8080 (ipv6)"),
        (r"dualstack:8080:interface=[\:\:1]:backlog=5", "[::1]:8080 (ipv6)"),
        ("dualstack:8080:interface=::", "[::]:8080 (dual-stack)"),
        ("dualstack:8080:interface=[::]", "[::]:8080 (dual-stack)"),
        ("dualstack:port=8080:interface=::", "[::]:8080 (dual-stack)"),
        ("dualstack:8080:backlog=5:interface=2001:db8::1", "[2001:db8::1]:8080 (ipv6)"),
        ("dualstack:8080:interface=fe80::1%eth0", "[fe80::1%eth0]:8080 (ipv6)"),
        ("dualstack:8080:interface=::ffff:127.0.0.1", "127.0.0.1:8080 (ipv4)"),
        ("dualstack:8080:family=ipv6", "[::]:8080 (ipv6)"),
        ("dualstack:8080:interface=localhost:family=ipv4", "127.0.0.1:8080 (ipv4)"),
        ("dualstack:8080:backlog=5:reusePort=yes", "[::]:8080 (dual-stack)"),
        ("dualstack:8080:reusePort=NO", "[::]:8080 (dual-stack)"),
        (r"dualstack:8080:proxyFrom=10.0.0.0/8,\:\:1:proxyTimeout=0.5", "[::]:8080 (dual-stack)"),
        ("haproxy:dualstack:8080:interface=127.0.0.1", None),
    ],
)
def test_legal_strings(description: str | bytes, expected: str | None) -> None:
    text = described(description)
    if expected is not None:
        assert text == f"<DualStackServerEndpoint {expected}>"


@pytest.mark.parametrize(
    ("description", "to_type"),
    [
        ("dualstack:interface=::1:port=8080", r"dualstack:8080:interface=\:\:1"),
        ("dualstack:interface=2001:db8::1:8080", r"dualstack:8080:interface=2001\:db8\:\:1"),
        (
            "dualstack:8080:interface=2001:db8::1:backlog=5:reusePort=yes",
            r"dualstack:8080:interface=2001\:db8\:\:1:backlog=5:reusePort=yes",
        ),
        ("dualstack:8080:::1", r"dualstack:8080:interface=\:\:1"),
        ("dualstack:[::]:8080", "dualstack:8080"),
    ],
)
def test_the_classic_slips_show_the_exact_string_to_type(description: str, to_type: str) -> None:
    with pytest.raises(ValueError) as caught:
        described(description)
    assert str(caught.value).endswith(f"; write '{to_type}', in a shell with these quotes")
    described(to_type)


@pytest.mark.parametrize(
    ("description", "part", "form"),
    [
        ("dualstack", "needs a port", "'dualstack:8080'"),
        ("dualstack:", "port ''", "'dualstack:8080'"),
        ("dualstack:http", "port 'http'", "'dualstack:8080'"),
        ("dualstack:65536", "port '65536'", "from 0 to 65535"),
        ("dualstack:-1", "port '-1'", "from 0 to 65535"),
        ("dualstack:8_0", "port '8_0'", "'dualstack:8080'"),
        ("dualstack:\u0668\u0660", "port '\u0668\u0660'", "'dualstack:8080'"),
        ("dualstack:" + "9" * 5000, "port '999", "from 0 to 65535"),
        ("dualstack: 80", "port ' 80'", "no spaces"),
        ("dualstack:port= 80", "port ' 80'", "no spaces"),
        ("dualstack:port =80", "option 'port '", "no spaces"),
        ("dualstack:80:interface= 127.0.0.1", "interface ' 127.0.0.1'", "'127.0.0.1'"),
        ("dualstack:80:port=90", "two ports, '80' and port='90'", "give one"),
        (
            "dualstack:80:host=::1",
            "'host'",
            "port, interface, family, device, backlog, fallback, reusePort",
        ),
        ("dualstack:80:reuseport=yes", "'reuseport'", "reusePort"),
        ("dualstack:80:127.0.0.1", "'127.0.0.1'", "dualstack:80:interface=127.0.0.1"),
        ("dualstack:80:reusePort=maybe", "reusePort 'maybe'", "reusePort=yes or reusePort=no"),
        ("dualstack:80:reusePort=", "reusePort ''", "reusePort=yes or reusePort=no"),
        ("dualstack:80:proxyFrom=", "proxyFrom names no proxy", "10.0.0.0/8"),
        ("dualstack:80:proxyFrom=10.0.0.1/8", "proxyFrom: rule '10.0.0.1/8'", "'10.0.0.0/8'"),
        ("dualstack:80:proxyFrom=proxy", "proxyFrom: rule 'proxy'", "'192.0.2.1'"),
        ("dualstack:80:proxyFrom=2001:db8::1", "'db8::1' after the port", "a backslash"),
        ("dualstack:80:proxyFrom=10.0.0.1:proxyTimeout=x", "proxyTimeout 'x'", "0.25"),
        ("dualstack:80:backlog=0", "backlog '0'", "from 1 to"),
        ("dualstack:80:backlog=many", "backlog 'many'", "backlog=128"),
        ("dualstack:80:fallback=maybe", "fallback 'maybe'", "auto, pair, ipv4, ipv6, fail"),
        ("dualstack:80:interface=0.0.0.0:fallback=ipv6", "fallback 'ipv6'", "interface '0.0.0.0'"),
        (r"dualstack:80:interface=\:\:1:fallback=pair", "fallback 'pair'", "interface '::1'"),
        ("dualstack:80:interface=localhost.", "interface 'localhost.'", "'127.0.0.1' or '::1'"),
        ("dualstack:80:interface=example.com", "interface 'example.com'", "'::'"),
        ("dualstack:80:interface=1.2.3.256", "interface '1.2.3.256'", "'0.0.0.0'"),
        ("dualstack:80:interface=127.1", "interface '127.1'", "'127.0.0.1'"),
        ("dualstack:80:interface=010.0.0.1", "'010.0.0.1' has leading zeros", "'10.0.0.1'"),
        (r"dualstack:80:interface=\:\:ffff\:127.0.0.1%lo", "zone id", "'127.0.0.1'"),
        (r"dualstack:80:interface=\:\:g", "interface '::g'", "'::1'"),
    ],
)
def test_malformed_strings_name_the_part_and_show_the_form(
    description: str, part: str, form: str
) -> None:
    with pytest.raises(ValueError) as caught:
        described(description)
    assert part in str(caught.value)
    assert form in str(caught.value)


@given(
    st.lists(
        st.sampled_from(["port", "interface", "backlog", "reusePort", "x", "=", ":", "::1", "\\:"])
        | st.text(max_size=8),
        max_size=8,
    )
)
def test_any_string_is_an_endpoint_or_a_ValueError(words: list[str]) -> None:
    description = "dualstack:" + "".join(words)
    if (len(description) - len(description.rstrip("\\"))) % 2:
        description += "\\"  # Twisted's own tokenizer fails on a lone backslash at the end.
    with contextlib.suppress(ValueError):
        described(description)


@given(st.ip_addresses(v=6), st.integers(0, 65535))
def test_every_IPv6_address_can_be_typed_with_backslashes_and_without(
    address: object, port: int
) -> None:
    right = described(f"dualstack:{port}:interface={quoteStringArgument(str(address))}")
    assert described(f"dualstack:{port}:interface={address}") == right
    assert described(f"dualstack:{port}:interface=[{address}]") == right


@pytest.mark.parametrize("name", ["dualstackServer", "canonicalServer"])
def test_the_drop_in_holds_the_server_parsers(name: str) -> None:
    assert verifyObject(IStreamServerEndpointStringParser, getattr(dsadapter_endpoints, name))


def test_the_drop_in_holds_the_client_parser() -> None:
    parser = dsadapter_endpoints.dualstackClient
    assert verifyObject(IStreamClientEndpointStringParserWithReactor, parser)
