"""The built-in PostgreSQL 18: a server of our own beside the data, started, shared, watched and ended by us.

``server`` tells the story; ``locks`` says who runs and who uses, ``cluster`` makes the data folder, ``accounts`` and
``folders`` say who may touch what, ``programs`` finds and starts the binaries, ``probe`` asks whether anybody answers.
Linux and macOS; the data belongs on a local disk, where ``flock`` is true.
"""

from comms.embedded.errors import (
    AccountUnusable,
    DataDirectoryUnusable,
    DiskFull,
    EmbeddedUnavailable,
    ProgramsMissing,
    StartFailed,
    StartTimedOut,
)
from comms.embedded.server import Embedded

__all__ = [
    "AccountUnusable",
    "DataDirectoryUnusable",
    "DiskFull",
    "Embedded",
    "EmbeddedUnavailable",
    "ProgramsMissing",
    "StartFailed",
    "StartTimedOut",
]
