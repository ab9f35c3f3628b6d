"""A reader of the log that can go on in every workspace but one."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from tests.conftest import Client


@asynccontextmanager
async def poisoned(admin: Any, progress: str, client: Client) -> AsyncIterator[None]:
    """The reader's statements are refused in this workspace."""
    no = f"ADD CONSTRAINT poison CHECK (workspace_id <> '{client.workspace_id}') NOT VALID"
    await admin.execute(f"ALTER TABLE {progress} {no}")
    try:
        yield
    finally:
        await admin.execute(f"ALTER TABLE {progress} DROP CONSTRAINT poison")
