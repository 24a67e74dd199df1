"""An object that is taken for another one."""

from __future__ import annotations

from types import MemberDescriptorType
from typing import Any


class StandIn:
    """Is taken for another object, its original; what it does not define itself is the original's.

    A subclass keeps its own state in ``__slots__``; every other attribute that is set or deleted is
    the original's, too. A copy stands for the same original, a deep copy for a copy of it if it can
    be copied. Special methods, such as ``__len__``, are not passed on, but for what
    ``zope.interface`` asks.

    :param original: what it stands for; :attr:`_original` from then on.
    """

    __slots__ = ("__weakref__", "_original")

    def __init__(self, original: Any) -> None:
        set_original(self, original)

    def __getattr__(self, name: str) -> Any:
        if name == "_original":
            # copy and pickle ask an object that has not been initialized.
            raise AttributeError(name)
        return getattr(self._original, name)

    def __setattr__(self, name: str, value: Any) -> None:
        if _is_own(type(self), name):
            object.__setattr__(self, name, value)
        else:
            setattr(self._original, name, value)

    def __delattr__(self, name: str) -> None:
        if _is_own(type(self), name):
            object.__delattr__(self, name)
        else:
            delattr(self._original, name)

    @property
    def __providedBy__(self) -> Any:  # noqa: N802
        # Only zope.interface asks. Each time anew: a transport that starts TLS provides more.
        from zope.interface import providedBy

        return providedBy(self._original)


# Past __setattr__, which asks whose each attribute is: one or two stand-ins a connection.
set_original = vars(StandIn)["_original"].__set__


def _is_own(kind: type[StandIn], name: str) -> bool:
    return isinstance(getattr(kind, name, None), MemberDescriptorType)
