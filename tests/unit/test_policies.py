"""Policies: one constructor each, which checks everything that it is given."""

from __future__ import annotations

import copy
import pickle
import re
from dataclasses import FrozenInstanceError, fields, replace
from typing import Any

import pytest

from dsadapter.policy import ConnectPolicy, DatagramPolicy, ListenPolicy

KINDS = {
    "listen": lambda **options: ListenPolicy(**{"host": "::", "port": 0, **options}),
    "datagrams": lambda **options: DatagramPolicy(**{"host": "::", "port": 0, **options}),
    "connect": ConnectPolicy,
}


@pytest.mark.parametrize(
    ("kind", "options", "says"),
    [
        ("listen", {"port": 99999}, "port 99999 is not a whole number from 0 to 65535"),
        ("listen", {"port": "8080"}, "port '8080' is text; give a whole number from 0 to 65535"),
        ("listen", {"backlog": 0}, "backlog 0 is not a whole number from 1 to"),
        ("listen", {"backlog": -1}, "backlog -1 is not a whole number from 1 to"),
        ("listen", {"host": "anything"}, "host 'anything' is not an address literal"),
        ("listen", {"host": "127.0.0.1", "fallback": "pair"}, "one family only"),
        ("listen", {"fallback": "both"}, "fallback 'both' is none of"),
        ("listen", {"family": "ipx"}, "family 'ipx' is neither"),
        ("listen", {"family": "ipv6", "host": "127.0.0.1"}, "family 'ipv6' is not that of host"),
        ("listen", {"proxy_from": []}, "proxy_from names no proxy"),
        ("listen", {"proxy_from": "10.0.0.1"}, "proxy_from: '10.0.0.1' is not a list of rules"),
        (
            "listen",
            {"proxy_from": ["proxy"]},
            "proxy_from: rule 'proxy': 'proxy' is not an",
        ),
        ("listen", {"proxy_timeout": 0}, "proxy_timeout 0 is not a number of seconds from 0.01"),
        ("datagrams", {"host": "::1,::"}, "'::' covers '::1'"),
        ("datagrams", {"max_packet_size": 0}, "max_packet_size 0"),
        ("connect", {"timeout": -1}, "timeout -1 is not a number of seconds from 0"),
        ("connect", {"timeout": float("nan")}, "timeout nan"),
        ("connect", {"attempt_delay": 3}, "attempt_delay 3 is not a number of seconds from 0.01"),
        ("connect", {"bind_address": "example.com"}, "bind_address 'example.com'"),
        ("connect", {"bind_address": ("::1", 65536)}, "bind_address: port 65536"),
        ("connect", {"mapped_addresses": "drop"}, "mapped_addresses 'drop'"),
        ("connect", {"first_address_family_count": 65}, "first_address_family_count 65"),
    ],
)
def test_what_is_wrong_is_named_with_the_bounds(
    kind: str, options: dict[str, Any], says: str
) -> None:
    with pytest.raises(ValueError) as caught:
        KINDS[kind](**options)
    assert says in str(caught.value)


@pytest.mark.parametrize("kind", ["listen", "datagrams"])
def test_a_name_is_refused_with_hosts_that_any_policy_takes(kind: str) -> None:
    with pytest.raises(ValueError) as caught:
        KINDS[kind](host="example.com")
    hosts = [word for word in re.findall("'(.*?)'", str(caught.value)) if word != "example.com"]
    assert hosts == ["::", "0.0.0.0", "127.0.0.1", "::1"]
    for host in hosts:
        KINDS[kind](host=host)


@pytest.mark.parametrize(
    ("kind", "option"), [("listen", "reuse_port"), ("connect", "remember_outcomes")]
)
@pytest.mark.parametrize("value", ["no", "yes", "", 0, 1, None])
def test_only_booleans_switch_something_on_or_off(kind: str, option: str, value: Any) -> None:
    with pytest.raises(ValueError) as caught:
        KINDS[kind](**{option: value})
    assert str(caught.value) == (
        f"{option} {value!r} is neither True nor False; give {option}=True or False"
    )


@pytest.mark.parametrize(
    ("host", "family", "shown", "mode"),
    [
        ("::", None, "::", "dual-stack"),
        ("", "ipv6", "::", "ipv6"),
        ("::", "ipv4", "0.0.0.0", "ipv4"),
        ("LOCALHOST", None, "localhost", "pair"),
        ("localhost", "ipv4", "127.0.0.1", "ipv4"),
        ("localhost", "ipv6", "::1", "ipv6"),
        ("127.0.0.1", "ipv4", "127.0.0.1", "ipv4"),
        ("::1", "ipv6", "::1", "ipv6"),
    ],
)
def test_the_family_is_that_of_the_host_or_the_one_that_is_asked_for(
    host: str, family: Any, shown: str, mode: str
) -> None:
    policy = ListenPolicy(host, 80, family=family)
    assert (policy.host, policy.mode) == (shown, mode)


@pytest.mark.parametrize("kind", KINDS)
def test_a_policy_is_a_value(kind: str) -> None:
    policy = KINDS[kind]()
    assert replace(policy) == policy == pickle.loads(pickle.dumps(policy)) == copy.copy(policy)
    assert hash(policy) == hash(replace(policy))
    with pytest.raises(FrozenInstanceError):
        setattr(policy, fields(policy)[0].name, None)
    with pytest.raises(TypeError):
        tuple(policy)


def test_replacing_checks_again() -> None:
    policy = ListenPolicy("0::0", 0)
    assert replace(policy, port=80).port == 80
    assert replace(policy, host="0:0:0:0:0:0:0:1").host == "::1"
    with pytest.raises(ValueError, match="port 65536"):
        replace(policy, port=65536)


@pytest.mark.parametrize("mode", ["dual-stack", "pair"])
def test_each_family_alone(mode: str) -> None:
    policy = ListenPolicy("::" if mode == "dual-stack" else "localhost", 80, fallback="pair")
    assert policy.mode == mode
    for family in ("ipv4", "ipv6"):
        alone = policy.only(family)  # type: ignore[arg-type]
        assert alone.mode == family
        assert alone.port == 80
