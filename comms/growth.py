"""What PostgreSQL knows of the tables' sizes. It plans by that, and a plan for an empty table reads a full one whole.

Autovacuum looks once a minute, which is too late: statements that are planned once for good (comms/groups.py) would
meanwhile read all contacts of a file that has just been imported, for every text that comes in. Whatever is analyzed
is planned anew by everybody.

What is being filled by one long transaction is left until that has ended. Its rows take room and are not there yet, so
that PostgreSQL would hold a large table for an empty one, and whatever the transaction does would be planned by that:
it reads a table of its own, from end to end, for each row it adds to another.
"""

import asyncio

import asyncpg
import structlog
from sqlalchemy import text

from comms.database import Database

log = structlog.get_logger(__name__)

MOST_SECONDS = 60.0
LONG_SECONDS = 0.1
"""What writes for longer may be filling a table; other transactions take some milliseconds."""

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
# Whose transactions write to it is seen by any role, unlike since when they do.
_GROWN = text(f"""
SELECT c.oid::regclass::text AS name, ARRAY(
    SELECT l.virtualtransaction FROM pg_locks l
    WHERE l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
    AND l.relation = c.oid AND l.mode = 'RowExclusiveLock' AND l.granted
) AS writers
FROM {_THAT_HAVE_GROWN}
""")


async def keep_up(database: Database) -> list[str]:
    """Every table that has doubled since PostgreSQL looked, and that nobody is filling, is analyzed; their names.

    Only its owner may, or who may do so for all. One that somebody else is analyzing is left to them.
    """
    grown = await _look(database)
    if any(grown.values()):
        await asyncio.sleep(LONG_SECONDS)
        # What has grown only now is looked at again in a second: nobody knows yet who fills it.
        again = await _look(database)
        grown = {name: writers & grown[name] for name, writers in again.items() if name in grown}
    settled = [name for name, writers in grown.items() if not writers]
    if not settled:
        return []
    owner = await database.connect(database.urls.owner, command_timeout=MOST_SECONDS)
    analyzed = []
    try:
        for name in settled:
            try:
                await owner.execute(f"ANALYZE (SKIP_LOCKED) {name}")  # the name is the catalogue's own
                analyzed.append(name)
            except (asyncpg.PostgresError, TimeoutError) as error:
                log.warning("growth.not_analyzed", table=name, error=type(error).__name__)
    finally:
        await owner.close()
    return analyzed


async def _look(database: Database) -> dict[str, set[str]]:
    """The tables that have grown, and the transactions that write to them."""
    async with database.everywhere() as db:
        return {name: set(writers) for name, writers in await db.execute(_GROWN)}
