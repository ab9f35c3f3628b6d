"""Importing what a command runs, when it is wanted and no sooner."""

import gc
import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def undisturbed() -> Iterator[None]:
    """Nobody looks for garbage meanwhile: what is made here stays, and the looking took a fifth of every start."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def imported(name: str) -> Any:
    """What ``module:attribute`` names."""
    module, _, attribute = name.partition(":")
    with undisturbed():
        return getattr(importlib.import_module(module), attribute)
