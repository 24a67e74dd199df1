"""Texts that name parameters in their reader's spelling."""

from __future__ import annotations

import copy
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsadapter.errors import AddressFamilyError, BindAddressError, NotDualStackError, PluginError
from dsadapter.messages import MAX_QUOTED, Message, quoted, spelled

NAMES = {"attempt_delay": "attemptDelay", "bind_address": "bindAddress"}


@given(st.text())
def test_a_value_is_never_a_template(value: str) -> None:
    message = Message("{attempt_delay} {value}", value=value)
    assert message == f"attempt_delay {value}"
    assert message.spelled(NAMES) == f"attemptDelay {value}"


def test_a_message_inside_another_is_spelled_along() -> None:
    inner = Message("{attempt_delay} is short")
    outer = Message("{bind_address}: {reason}", reason=inner)
    assert outer == "bind_address: attempt_delay is short"
    assert outer.spelled(NAMES) == "bindAddress: attemptDelay is short"


@pytest.mark.parametrize(
    "error",
    [
        ValueError(Message("{bind_address} is wrong")),
        BindAddressError(99, Message("{bind_address} is wrong")),
        AddressFamilyError(Message("{bind_address} is wrong")),
        NotDualStackError(Message("{bind_address} is wrong"), OSError(97, "not supported")),
    ],
)
def test_an_error_is_spelled_and_survives_copy_and_pickle(error: Exception) -> None:
    before = str(error)
    shown = spelled(error, NAMES)
    assert type(shown) is type(error)
    assert str(error) == before
    assert str(shown) == before.replace("bind_address", "bindAddress")
    for copied in (copy.copy(shown), pickle.loads(pickle.dumps(shown))):
        assert type(copied) is type(shown)
        assert str(copied) == str(shown)
        assert getattr(copied, "errno", None) == getattr(shown, "errno", None)
        assert vars(copied) == vars(shown)
    # Once more from a copy.
    assert str(spelled(pickle.loads(pickle.dumps(error)), NAMES)) == str(shown)


def test_an_error_without_parameters_is_itself() -> None:
    error = OSError(13, "Permission denied")
    assert spelled(error, NAMES) is error


def test_a_plugin_error_survives_copy_and_pickle() -> None:
    error = PluginError("plugin 'a' refused", "a")
    for copied in (copy.copy(error), pickle.loads(pickle.dumps(error))):
        assert (str(copied), copied.plugin) == ("plugin 'a' refused", "a")


@given(st.one_of(st.text(), st.binary()))
def test_what_is_quoted_is_short_and_on_one_line(value: str | bytes) -> None:
    shown = quoted(value)
    assert len(shown) <= 10 * MAX_QUOTED + 40
    assert shown.isprintable()


def test_what_is_long_is_cut_and_its_length_told() -> None:
    assert quoted("a" * 5000).endswith("... (5000 characters)")
