"""The standard library's servers read no PROXY headers, and say so."""

from __future__ import annotations

import pytest

from dsadapter.addressing import AddressSet
from dsadapter.frameworks import get_framework
from dsadapter.policy import ListenPolicy


def test_a_policy_with_proxies_is_refused() -> None:
    policy = ListenPolicy("::", 0, proxy_from=AddressSet(["127.0.0.1"]))
    endpoint = get_framework("blocking").server(None, policy)
    with pytest.raises(NotImplementedError, match="proxy_from can't be used here"):
        endpoint.listen()
