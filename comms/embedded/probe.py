"""Whether a PostgreSQL answers on a unix socket, asked by a plain start-up message."""

import socket
import struct
import time
from enum import Enum, auto
from pathlib import Path

PROTOCOL = 196608  # 3.0
PARAMETERS = b"user\0postgres\0database\0postgres\0\0"
STARTUP = struct.pack("!ii", 8 + len(PARAMETERS), PROTOCOL) + PARAMETERS
TERMINATE = b"X\0\0\0\x04"
CANNOT_CONNECT_NOW = b"57P03"


class Answer(Enum):
    """What came back."""

    READY = auto()
    NOT_YET = auto()  # it is starting, recovering or ending, and says so
    SILENT = auto()


def ask(socket_file: Path) -> Answer:
    """What the server at ``socket_file`` says, within two seconds."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(2)
        try:
            connection.connect(str(socket_file))
            connection.sendall(STARTUP)
            return _answer(connection)
        except OSError:
            return Answer.SILENT


def _answer(connection: socket.socket) -> Answer:
    with connection.makefile("rb") as stream:
        while len(head := stream.read(5)) == 5:
            kind, size = struct.unpack("!ci", head)
            body = stream.read(size - 4)
            if kind == b"E":  # any other refusal ("too many clients") comes from a server at work
                return Answer.NOT_YET if b"C" + CANNOT_CONNECT_NOW in body.split(b"\0") else Answer.READY
            if kind == b"Z":
                connection.sendall(TERMINATE)
                return Answer.READY
    return Answer.SILENT


class Patience:
    """How long to go on asking: longer once the server says that it is busy starting."""

    def __init__(self, silent_seconds: int, busy_seconds: int) -> None:
        self._since = time.monotonic()
        self._busy_seconds = busy_seconds
        self.seconds = silent_seconds

    def is_over(self, answer: Answer) -> bool:
        """Whether ``answer`` was one too many."""
        if answer is Answer.NOT_YET:
            self.seconds = self._busy_seconds
        return time.monotonic() - self._since > self.seconds
