"""A workspace in a database of its own, whose processes send, and are killed."""

from pathlib import Path
from typing import Any

from comms.simulators.exchange import Exchange
from tests.journeys import processes
from tests.journeys.desks import Desk
from tests.journeys.processes import Process

CUSTOMER = "+14155550199"


class Office:
    """A workspace in a database of its own, its provider, and processes that are begun and killed."""

    def __init__(self, desk: Desk, exchange: Exchange, books: Any, folder: Path, variables: dict[str, str]) -> None:
        self.desk = desk
        self.exchange = exchange
        self.books = books
        self._folder = folder
        self._variables = variables
        self.url = variables["DATABASE_URL"]
        self.begun: list[Process] = []

    def begin(self) -> Process:
        """Another process serves and sends."""
        process = processes.begin("serve", folder=self._folder, **self._variables)
        self.begun.append(process)
        return process
