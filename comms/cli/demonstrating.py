"""``comms demo``: the demo workspace, and as much in it as there is after two years."""

import argparse
import asyncio
import time

from comms import demo, migrations
from comms.cli.running import running_database, with_keys
from comms.database import Database, Urls
from comms.demo import scale, workspace
from comms.errors import CannotRun
from comms.settings import Settings


def make(settings: Settings, chosen: argparse.Namespace) -> int:
    """The demo workspace exists; with ``--scale`` it has so many contacts and messages."""
    if not chosen.scale and (chosen.contacts is not None or chosen.messages is not None):
        raise CannotRun("--contacts and --messages say how much --scale makes: add --scale")
    with running_database(settings) as (urls, _):
        asyncio.run(migrations.upgrade(urls))
        asyncio.run(_make(with_keys(settings), urls, chosen))
    return 0


async def _make(settings: Settings, urls: Urls, chosen: argparse.Namespace) -> None:
    began = time.monotonic()

    def say(words: str) -> None:
        print(f"{time.monotonic() - began:5.0f} s  {words}", flush=True)

    database = Database(urls, pool_size=2)
    try:
        made = await workspace.make(settings, database)
        if chosen.scale:
            await scale.fill(
                database,
                made.workspace_id,
                contacts=100_000 if chosen.contacts is None else chosen.contacts,
                messages=1_000_000 if chosen.messages is None else chosen.messages,
                say=say,
            )
    finally:
        await database.close()
    say(f"workspace {made.workspace_id}; its token is in {demo.path_in(settings.data_dir)}")
