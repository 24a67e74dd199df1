"""Whoever doesn't read PROXY headers doesn't open where they are asked for."""

from __future__ import annotations

import pytest

from dsadapter.addressing import AddressSet
from dsadapter.listener import Listener
from dsadapter.policy import ListenPolicy


def test_nothing_opens_where_nobody_reads_headers() -> None:
    policy = ListenPolicy("::", 0, proxy_from=AddressSet(["127.0.0.1"]))
    listener = Listener("somebody's", policy)
    with pytest.raises(NotImplementedError, match="proxy_from can't be used here"):
        listener.open()
    assert listener.addresses() == ()
    for sock in listener.open(reads_headers=True):
        sock.close()
