"""Runs that are long over are not kept, nor their history: what they did, and the log of it, stays."""

from sqlalchemy import text

from comms.database import Database

AT_ONCE = 500


async def sweep(database: Database, days: int) -> int:
    """Runs that were over ``days`` ago are gone; how many. A short transaction for each few hundred."""
    swept = 0
    while True:
        async with database.everywhere() as db:
            gone = len((await db.execute(_OLD, {"days": days, "most": AT_ONCE})).all())
        swept += gone
        if gone < AT_ONCE:
            return swept


_OLD = text(
    """
    DELETE FROM agent_workflow_executions e USING (
        SELECT workspace_id, id FROM agent_workflow_executions
        WHERE completed_at < now() - make_interval(days => :days)
        ORDER BY completed_at LIMIT :most FOR UPDATE SKIP LOCKED
    ) old
    WHERE e.workspace_id = old.workspace_id AND e.id = old.id RETURNING e.id
    """
)
