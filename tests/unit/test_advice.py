"""What the errors of endpoint strings and endpoints advise is taken back and means what was meant.

Nothing is opened.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from support.advice import advised_addresses, advised_strings
from twisted.internet.endpoints import clientFromString, serverFromString
from twisted.internet.testing import MemoryReactor

from dsadapter.frameworks.twisted import (
    DualStackClientEndpoint,
    DualStackDatagramEndpoint,
    DualStackServerEndpoint,
)

Parser = Callable[[str], str]


def server(description: str) -> str:
    """What an endpoint string means, as the endpoint says it."""
    return repr(serverFromString(MemoryReactor(), description))


def client(description: str) -> str:
    return repr(clientFromString(MemoryReactor(), description))


def meaning(parse: Parser, description: str) -> str:
    """What a string means that has to be taken."""
    try:
        return parse(description)
    except ValueError as error:
        pytest.fail(f"{description} is refused: {error}")


def refusal(parse: Parser, description: str) -> str:
    with pytest.raises(ValueError) as caught:
        parse(description)
    return str(caught.value)


@pytest.mark.parametrize(
    ("description", "meant"),
    [
        (r"dualstack:[::]:9090", "[::]:9090 "),
        (r"dualstack:[::1]:9090", "[::1]:9090 "),
        (r"dualstack:::1:9090", "[::1]:9090 "),
        ("dualstack:[127.0.0.7]:9090", "127.0.0.7:9090 "),
        *[
            ("dualstack:127.0.0.7:9090", "127.0.0.7:9090 "),
            (r"dualstack:127.0.0.7\:9090", "127.0.0.7:9090 "),
            (r"dualstack:9090:interface=127.0.0.7\:9090", "127.0.0.7:9090 "),
            ("dualstack:9090:127.0.0.7", "127.0.0.7:9090 "),
            ("dualstack:localhost:9090", "localhost:9090 "),
            (r"dualstack:localhost\:9090", "localhost:9090 "),
            ("dualstack:9090:localhost", "localhost:9090 "),
            ("dualstack:0.0.0.0:9090", "0.0.0.0:9090 "),
            ("dualstack:*:9090", "[::]:9090 "),
            ("dualstack:tcp:9090", "[::]:9090 "),
            (r"dualstack:tcp\:9090", "[::]:9090 "),
            ("dualstack://0.0.0.0:9090", "0.0.0.0:9090 "),
            ("dualstack://127.0.0.7:9090", "127.0.0.7:9090 "),
            ("dualstack::9090", "[::]:9090 "),
            ("dualstack:::9090", "[::]:9090 "),
            ("dualstack:9090:interface=*", "[::]:9090 "),
            ("dualstack:9090:interface=::1%lo", "[::1]:9090 "),
            (r"dualstack:9090:interface=\:\:1%lo", "[::1]:9090 "),
        ],
    ],
)
def test_ADDRESS_PORT_is_shown_the_string_to_listen_with(description: str, meant: str) -> None:
    advised = advised_strings(refusal(server, description), description)
    assert any(meant in meaning(server, each) for each in advised)


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("proxyFrom=::1", r"proxyFrom=\:\:1"),
        ("proxyFrom=10.0.0.1,::1", r"proxyFrom=10.0.0.1,\:\:1"),
        ("proxyFrom=::1,10.0.0.0/8:backlog=4", r"proxyFrom=\:\:1,10.0.0.0/8:backlog=4"),
        ("proxyFrom=2001:db8::/32:proxyTimeout=3", r"proxyFrom=2001\:db8\:\:/32:proxyTimeout=3"),
        ("proxyFrom=[2001:db8::1],[::1]", r"proxyFrom=2001\:db8\:\:1,\:\:1"),
        ("proxyFrom=::1:interface=::1", r"proxyFrom=\:\:1:interface=\:\:1"),
        ("interface=127.0.0.1,::1:proxyFrom=::2", r"interface=127.0.0.1,\:\:1:proxyFrom=\:\:2"),
        ("interface=127.0.0.1,::1:backlog=4", r"interface=127.0.0.1,\:\:1:backlog=4"),
    ],
)
def test_a_list_of_addresses_is_shown_with_its_backslashes(typed: str, meant: str) -> None:
    description = f"dualstack:9090:{typed}"
    [advised] = advised_strings(refusal(server, description), description)
    assert advised == f"dualstack:9090:{meant}"
    assert ":9090" in meaning(server, advised)


@pytest.mark.parametrize(
    ("description", "meant"),
    [
        ("dualstack:[::1]:80", "[::1]:80>"),
        ("dualstack:::1:80", "[::1]:80>"),
        ("dualstack:[192.0.2.1]:80", "192.0.2.1:80>"),
        *[
            ("dualstack:tcp:192.0.2.1:80", "192.0.2.1:80>"),
            ("dualstack://192.0.2.1:80", "192.0.2.1:80>"),
            (r"dualstack:192.0.2.1\:80", "192.0.2.1:80>"),
            ("dualstack:80:192.0.2.1", "192.0.2.1:80>"),
            ("dualstack:tcp:www.example.org:80", "www.example.org:80>"),
            ("dualstack://www.example.org:80", "www.example.org:80>"),
            (r"dualstack:http\://www.example.org:80", "www.example.org:80>"),
            (r"dualstack:www.example.org\:80", "www.example.org:80>"),
            ("dualstack:80:www.example.org", "www.example.org:80>"),
            (r"dualstack:\:\:1%lo:80", "[::1]:80>"),
            ("dualstack:::1%lo:80", "[::1]:80>"),
        ],
    ],
)
def test_ADDRESS_PORT_is_shown_the_string_to_connect_with(description: str, meant: str) -> None:
    advised = advised_strings(refusal(client, description), description)
    assert any(meant in meaning(client, each) for each in advised)


def takes_back(parse: Parser, description: str, option: str, base: str) -> None:
    """Whatever an error advises is not refused: whole strings, and addresses as they are shown."""
    try:
        parse(description)
    except ValueError as error:
        text = str(error)
    else:
        return
    for each in advised_strings(text, description):
        meaning(parse, each)
    values = [re.sub(r"\\(.)", r"\1", each) for each in re.split(r"(?<!\\)[:=]", description)]
    for each in advised_addresses(text, values):
        meaning(parse, f"{base}:{option}={each}")


LITERALS = (
    "127.0.0.1",
    "0.0.0.0",
    "010.0.0.1",
    "127.1",
    "::1",
    "::",
    "[::1]",
    "::1%lo",
    "fe80::1",
)
WORDS = (*LITERALS, "localhost", "*", "tcp", "//", "www.example.org", "8080", "http", "", "eth0")
SEPARATORS = (":", ":", ":", "\\:")
OPTIONS = {
    server: ("interface=", "port=", "backlog=", "fallback=", "reusePort=", "Interface=", "tls="),
    client: ("host=", "port=", "bindAddress=", "timeout=", "mappedAddresses=", "Timeout=", "tls="),
}


def descriptions(parse: Parser) -> st.SearchStrategy[str]:
    part = st.tuples(
        st.sampled_from(SEPARATORS),
        st.sampled_from(("", "", *OPTIONS[parse])),
        st.sampled_from(WORDS),
    ).map("".join)
    return st.lists(part, min_size=1, max_size=5).map(
        lambda parts: "dualstack:" + "".join(parts).removeprefix("\\").removeprefix(":")
    )


@settings(deadline=None)
@given(descriptions(server))
@example("dualstack:127.0.0.1:8080")
@example(r"dualstack:8080:interface=\:\:g")
@example("dualstack:::1%lo:interface=::1")
def test_listening_takes_back_whatever_its_errors_advise(description: str) -> None:
    takes_back(server, description, "interface", "dualstack:8080")


@settings(deadline=None)
@given(descriptions(client))
@example(r"dualstack:\:\:1%lo:80")
@example("dualstack:127.0.0.1:127.0.0.1:::1%lo")
@example("dualstack:www.example.org:80:bindAddress=eth0")
def test_connecting_takes_back_whatever_its_errors_advise(description: str) -> None:
    takes_back(client, description, "bindAddress", "dualstack:www.example.org:80")


HOSTS = st.sampled_from(WORDS) | st.tuples(
    st.sampled_from(WORDS), st.sampled_from((":8080", ":", "]", "%lo", "%"))
).map("".join)  # fmt: skip


@pytest.mark.parametrize(
    "make",
    [
        lambda host: DualStackServerEndpoint(MemoryReactor(), 0, interface=host),
        lambda host: DualStackDatagramEndpoint(MemoryReactor(), 0, interface=host),
        lambda host: DualStackClientEndpoint(MemoryReactor(), host, 80),
        lambda host: DualStackClientEndpoint(MemoryReactor(), "a.example", 80, bindAddress=host),
    ],
    ids=["listening", "datagrams", "connecting", "bindAddress"],
)
@settings(deadline=None)
@given(host=HOSTS)
def test_endpoints_take_back_whatever_their_errors_advise(
    make: Callable[[str], object], host: str
) -> None:
    try:
        make(host)
    except ValueError as error:
        for each in advised_addresses(str(error), [host]):
            make(each)


@pytest.mark.parametrize(
    ("parse", "description", "meant"),
    [
        (server, "dualstack:8080:interface=::1", r"dualstack:8080:interface=\:\:1"),
        (server, "dualstack:8080:interface=[::1]", r"dualstack:8080:interface=\:\:1"),
        (server, r"dualstack:8080:interface=[\:\:1]", r"dualstack:8080:interface=\:\:1"),
        (server, "dualstack:8080:interface=::", "dualstack:8080"),
        (server, "dualstack:8080:interface=[::]", "dualstack:8080"),
        (client, "dualstack:www.example.org:80:bindAddress=::1", r"80:bindAddress=\:\:1"),
        (client, "dualstack:www.example.org:80:bindAddress=[::1]", r"80:bindAddress=\:\:1"),
        (client, "dualstack:port=80:host=::1", r"dualstack:\:\:1:80"),
        (client, "dualstack:port=80:host=[::1]", r"dualstack:\:\:1:80"),
    ],
)
def test_an_address_at_the_end_needs_no_backslashes(
    parse: Parser, description: str, meant: str
) -> None:
    if not meant.startswith("dualstack:"):
        meant = f"dualstack:www.example.org:{meant}"
    assert meaning(parse, description) == parse(meant)


@pytest.mark.parametrize(
    ("parse", "base", "option", "others"),
    [
        (server, "dualstack:8080", "interface", ("backlog=5", "fallback=auto", "reusePort=no")),
        (client, "dualstack:192.0.2.1:80", "bindAddress", ("timeout=5", "rememberOutcomes=no")),
        (client, "dualstack:port=80", "host", ("timeout=5", r"bindAddress=\:\:")),
    ],
    ids=["interface", "bindAddress", "host"],
)
@settings(deadline=None)
@given(data=st.data())
def test_an_address_with_another_option_inside_is_not_one(
    parse: Parser, base: str, option: str, others: tuple[str, ...], data: st.DataObject
) -> None:
    """``interface=::backlog=5:1`` is not ``interface=::1:backlog=5``."""
    address = data.draw(st.just("::1") | st.ip_addresses(v=6).map(str))
    brackets = data.draw(st.booleans())
    parts = (f"[{address}]" if brackets else address).split(":")
    cut = data.draw(st.integers(1, len(parts) - 1))
    parts.insert(cut, data.draw(st.sampled_from(others)))
    with pytest.raises(ValueError):
        parse(f"{base}:{option}={':'.join(parts)}")


@pytest.mark.parametrize(
    ("parse", "description"),
    [
        (server, "dualstack:8080:interface=::1:backlog=5"),
        (server, "dualstack:interface=2001:db8::1:8080"),
        (server, "dualstack:::1:8080"),
        (client, "dualstack:::1:80"),
        (client, "dualstack:host=::1:80:timeout=5"),
        (client, "dualstack:www.example.org:80:bindAddress=::1:timeout=5"),
    ],
)
def test_what_is_to_be_typed_survives_a_shell(parse: Parser, description: str) -> None:
    text = refusal(parse, description)
    quoted = [each for each in re.findall(r"'dualstack:[^']*'", text) if description not in each]
    assert len(quoted) == 1
    [word] = shlex.split(quoted[0])
    assert [word] == advised_strings(text, description)
    meaning(parse, word)


WRONG = {
    server: [
        "dualstack:http",
        "dualstack:65536",
        "dualstack:80:backlog=0",
        "dualstack:80:backlog=many",
        "dualstack:80:fallback=maybe",
        "dualstack:80:reusePort=maybe",
        "dualstack:80:interface=eth0",
        "dualstack:80:interface=010.0.0.1",
        "dualstack:80:interface=0.0.0.0:fallback=ipv6",
        "dualstack:80:interface=127.1",
        "dualstack:80:127.0.0.1",
        "dualstack:80:port=90",
        "dualstack:80:colour=red",
        "dualstack:80:tls=/nowhere",
        "dualstack:80:privateKey=/nowhere",
        "dualstack:80:certKey=/nowhere",
    ],
    client: [
        "dualstack:www.example.org",
        "dualstack:www.example.org:http",
        "dualstack:www.example.org:0",
        "dualstack:127.1:80",
        "dualstack:*:80",
        "dualstack:www..example.org:80",
        "dualstack:www.example.org:80:10",
        "dualstack:www.example.org:80:colour=red",
        "dualstack:www.example.org:80:timeout=long",
        "dualstack:www.example.org:80:bindAddress=eth0",
        "dualstack:192.0.2.1:80:bindAddress=\\:\\:1",
        "dualstack:www.example.org:80:attemptDelay=9",
        "dualstack:www.example.org:80:firstAddressFamilyCount=0",
        "dualstack:www.example.org:80:rememberOutcomes=maybe",
        "dualstack:www.example.org:80:mappedAddresses=maybe",
    ],
}


@pytest.mark.parametrize(
    ("parse", "description"),
    [(parse, each) for parse, strings in WRONG.items() for each in strings],
)
def test_an_error_names_the_prefix_and_the_whole_string(parse: Parser, description: str) -> None:
    text = refusal(parse, description)
    assert re.search(re.escape(description) + r"(?![\w:=]\S)", text)


def test_no_string_is_advised_whose_two_addresses_are_of_two_families() -> None:
    text = refusal(client, "dualstack:8080:[::1]:bindAddress=127.0.0.1")
    assert advised_strings(text, "") == []


@pytest.mark.parametrize(
    ("parse", "description", "right"),
    [
        (server, "dualstack:80:reuseport=yes", "reusePort"),
        (server, "dualstack:80:Interface=127.0.0.1", "interface"),
        (server, "dualstack:PORT=80", "port"),
        (server, "dualstack:443:privatekey=key.pem", "privateKey"),
        (server, "dualstack:443:TLS=/nowhere", "tls"),
        (server, "dualstack:80:fallback=IPv4", "ipv4"),
        (client, "dualstack:www.example.org:80:Timeout=5", "timeout"),
        (client, "dualstack:www.example.org:80:bindaddress=127.0.0.1", "bindAddress"),
        (client, "dualstack:Host=www.example.org:80", "host"),
        (client, "dualstack:www.example.org:80:mappedAddresses=Refuse", "refuse"),
    ],
)
def test_wrong_case_is_asked_about(parse: Parser, description: str, right: str) -> None:
    assert re.search(rf"[Dd]id you mean \W{{0,2}}{right}\b", refusal(parse, description))


@pytest.mark.parametrize(
    ("parse", "description"),
    [
        *[
            (server, "dualstack:80:reactor=x"),
            (client, "dualstack:www.example.org:80:reactor=x"),
            (server, "dualstack:80:self=x"),
            (client, "dualstack:www.example.org:80:self=x"),
        ],
        (server, "dualstack:80:colour=x"),
        (client, "dualstack:www.example.org:80:colour=x"),
    ],
)
def test_every_unknown_option_is_a_ValueError_that_names_it(
    parse: Parser, description: str
) -> None:
    name = description.rpartition(":")[2].partition("=")[0]
    assert f"no option '{name}'" in refusal(parse, description)


@pytest.mark.parametrize("option", ["tls", "privateKey", "certKey"])
def test_a_client_string_with_a_TLS_option_says_how_TLS_is_done(option: str) -> None:
    text = refusal(client, f"dualstack:www.example.org:443:{option}=yes")
    assert "wrapClientTLS" in text or "'tls:" in text
