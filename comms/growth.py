"""What PostgreSQL knows of the tables' sizes. It plans by that, and a plan for an empty table reads a full one whole.

Autovacuum looks once a minute, which is too late: statements that are planned once for good (comms/groups.py) would
meanwhile read all contacts of a file that has just been imported, for every text that comes in. Whatever is analyzed
is planned anew by everybody.
"""

import asyncpg
import structlog
from sqlalchemy import text

from comms.database import Database

log = structlog.get_logger(__name__)

MOST_SECONDS = 60.0

_THAT_HAVE_GROWN = """
pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = 'public' AND c.relkind = 'r'
AND (
    pg_relation_size(c.oid) / current_setting('block_size')::int > 2 * c.relpages + 4
    -- Or it was looked at while it was nearly empty, as an outbox mostly is, and fills the room that it has.
    OR pg_stat_get_live_tuples(c.oid) > 2 * greatest(c.reltuples, 0) + 500
)
"""
IS_DUE = f"EXISTS (SELECT FROM {_THAT_HAVE_GROWN})"
"""When there is something to do, as PostgreSQL says it."""
_GROWN = text(f"SELECT c.oid::regclass::text AS name FROM {_THAT_HAVE_GROWN}")


async def keep_up(database: Database) -> list[str]:
    """Every table that has doubled since PostgreSQL looked is analyzed; their names.

    Only its owner may, or who may do so for all. One that somebody else is analyzing is left to them.
    """
    async with database.everywhere() as db:
        grown = list(await db.scalars(_GROWN))
    if not grown:
        return []
    owner = await database.connect(database.urls.owner, command_timeout=MOST_SECONDS)
    try:
        for name in grown:
            await owner.execute(f"ANALYZE (SKIP_LOCKED) {name}")  # the name is the catalogue's own
    except asyncpg.PostgresError as error:
        log.warning("growth.not_analyzed", error=type(error).__name__)
    finally:
        await owner.close()
    return grown
