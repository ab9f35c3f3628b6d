"""``comms openapi``: the API's description, for generators of clients."""

import argparse
import sys

import msgspec
from uvicorn.importer import import_from_string

from comms.settings import Settings

# The web layer is above this one: it is named here, never imported.
_DESCRIPTION = "handlers.app:description"


def openapi(_settings: Settings, _chosen: argparse.Namespace) -> int:
    """The OpenAPI document is on standard output; nothing has to run for it."""
    document = msgspec.json.encode(import_from_string(_DESCRIPTION)())
    sys.stdout.write(msgspec.json.format(document, indent=2).decode() + "\n")
    return 0
