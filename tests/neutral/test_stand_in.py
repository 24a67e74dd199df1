"""Objects that are taken for others."""

from __future__ import annotations

import copy
import pickle
import socket
import weakref
from typing import Any

import pytest
from zope.interface import Interface, directlyProvides, implementer

from dsadapter.stand_in import StandIn


class INamed(Interface):
    pass


class ISecure(Interface):
    pass


@implementer(INamed)
class Original:
    def __init__(self) -> None:
        self.name = "original"
        self.items: list[int] = []


class Counting(StandIn):
    __slots__ = ("calls",)

    def __init__(self, original: Any) -> None:
        super().__init__(original)
        self.calls = 0

    @property
    def shown(self) -> str:
        return f"<{self.name}>"

    def call(self) -> None:
        self.calls += 1


class OverHandle:
    def __init__(self, handle: socket.socket) -> None:
        self.handle = handle


def test_what_it_does_not_define_is_the_originals() -> None:
    original = Original()
    stand_in = Counting(original)
    assert stand_in.name == "original"
    stand_in.name = stand_in.nickname = "renamed"
    assert original.name == original.nickname == "renamed"  # type: ignore[attr-defined]
    assert stand_in.shown == "<renamed>"
    del stand_in.nickname
    assert not hasattr(original, "nickname")
    with pytest.raises(AttributeError, match="nickname"):
        _ = stand_in.nickname


def test_its_own_state_is_not_the_originals() -> None:
    original = Original()
    first, second = Counting(original), Counting(original)
    first.call()
    assert (first.calls, second.calls) == (1, 0)
    assert not hasattr(original, "calls")


def test_a_copy_stands_for_the_same_original() -> None:
    original = Original()
    stand_in = Counting(original)
    stand_in.call()
    copied = copy.copy(stand_in)
    assert type(copied) is Counting
    assert copied.calls == 1
    copied.items.append(7)
    assert original.items == [7]
    copied.call()
    assert stand_in.calls == 1


@pytest.mark.parametrize("through", [copy.deepcopy, lambda it: pickle.loads(pickle.dumps(it))])
def test_a_deep_copy_stands_for_a_copy_of_the_original(through: Any) -> None:
    original = Original()
    stand_in = Counting(original)
    stand_in.call()
    copied = through(stand_in)
    assert copied.calls == 1
    copied.items.append(7)
    assert copied.items == [7]
    assert original.items == []


@pytest.mark.parametrize("through", [copy.deepcopy, pickle.dumps])
def test_what_can_not_be_copied_says_so_as_the_original_does(through: Any) -> None:
    with socket.socket() as handle:
        original = OverHandle(handle)
        with pytest.raises(TypeError) as said:
            through(original)
        with pytest.raises(TypeError) as also_said:
            through(Counting(original))
        assert str(also_said.value) == str(said.value)


def test_it_provides_what_its_original_provides_at_the_time() -> None:
    original = Original()
    stand_in = Counting(original)
    assert INamed.providedBy(stand_in)
    assert not ISecure.providedBy(stand_in)
    directlyProvides(original, ISecure)
    assert ISecure.providedBy(stand_in)
    assert not INamed.providedBy(Counting(object()))


def test_it_can_be_referred_to_weakly() -> None:
    stand_in = Counting(Original())
    reference = weakref.ref(stand_in)
    assert reference() is stand_in
    del stand_in
    assert reference() is None
