"""The whole of comms in one process with its own PostgreSQL, which journeys stop, kill and start again."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg

from comms import demo
from comms.embedded import Embedded
from tests.journeys import processes
from tests.journeys.desks import Desk
from tests.journeys.processes import Process


class House:
    """``comms up`` over ``data_dir``, one process at a time."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.data_dir = folder / "data"
        self._process: Process | None = None

    @property
    def process(self) -> Process:
        assert self._process is not None
        return self._process

    async def up(self) -> Process:
        """A process runs: the one that did, or another if that one is gone."""
        if self._process is None or not self._process.is_alive:
            self._process = processes.begin(
                "up", "--data-dir", self.data_dir, folder=self.folder, COMMS_LOG_LEVEL="warning"
            )
            await asyncio.to_thread(self._process.await_start)
        return self._process

    @property
    def desk(self) -> Desk:
        """The demo workspace, as demo.json describes it."""
        made = demo.read(self.data_dir)
        assert made is not None
        line = made.connection("twilio")
        return Desk(
            workspace_id=made.workspace_id,
            token=made.access_token,
            connection_id=line.id,
            secret=line.secret,
            numbers=[str(line.phone_number)],
            public_url=made.public_url,
        )

    @asynccontextmanager
    async def books(self) -> AsyncIterator[Any]:
        """The database as its superuser."""
        connection = await asyncpg.connect(Embedded(self.data_dir).dsn())
        try:
            yield connection
        finally:
            await connection.close()

    def end(self) -> None:
        """Nothing runs any more."""
        if self._process is not None:
            self._process.end()
        processes.end_postgres(self.data_dir)
