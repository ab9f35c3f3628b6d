"""Importing what a command runs, when it is wanted and no sooner."""

import gc
import importlib
from typing import Any


def imported(name: str) -> Any:
    """What ``module:attribute`` names.

    Nobody looks for garbage meanwhile: modules are made to stay, and the looking took a fifth of every start.
    """
    module, _, attribute = name.partition(":")
    gc.disable()
    try:
        return getattr(importlib.import_module(module), attribute)
    finally:
        gc.enable()
