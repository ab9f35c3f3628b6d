"""Handlers whose parameters are known when they are declared, not when they are written."""

import inspect
from collections.abc import Sequence
from typing import Any

from litestar.params import JSONBody

_BODY: Any = JSONBody


def taking(fn: Any, parameters: Sequence[inspect.Parameter], answer: Any, doc: str | None) -> Any:
    """``fn``, which takes whatever it is given, says that it takes these ``parameters`` and returns ``answer``."""
    named = [each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in parameters]
    fn.__signature__ = inspect.Signature(named, return_annotation=answer)
    fn.__annotations__ = {each.name: each.annotation for each in named} | {"return": answer}
    fn.__doc__ = doc
    return fn


def own_of(fn: Any, *, without: str | None = None) -> list[inspect.Parameter]:
    """The parameters that ``fn`` was written with, but for one, and for those that stand for any others."""
    found = inspect.signature(fn).parameters.values()
    return [each for each in found if each.name != without and each.kind is not each.VAR_KEYWORD]


def sent(shape: Any) -> Any:
    """What ``data`` is declared as to be a JSON body of a shape that was made at run time."""
    return _BODY[shape]
