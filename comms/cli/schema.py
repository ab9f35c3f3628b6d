"""``comms db``: the schema, brought up or down."""

import argparse
import asyncio

from comms import migrations
from comms.cli.running import running_database
from comms.settings import Settings


def upgrade(settings: Settings, chosen: argparse.Namespace) -> int:
    """The roles exist and the schema is at the revision asked for."""
    with running_database(settings) as (urls, _):
        print(f"schema is at {asyncio.run(migrations.upgrade(urls, chosen.revision))}")
    return 0


def downgrade(settings: Settings, chosen: argparse.Namespace) -> int:
    """The schema is back at the revision asked for."""
    with running_database(settings) as (urls, _):
        print(f"schema is at {asyncio.run(migrations.downgrade(urls, chosen.revision))}")
    return 0
