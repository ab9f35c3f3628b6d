"""The demo where its folder is not there yet, or cannot be; and where two make it."""

import asyncio
import os
from pathlib import Path
from typing import Any

import msgspec
import pytest

from comms.database import Database
from comms.demo import workspace
from comms.embedded import locks
from comms.errors import CannotRun
from comms.settings import Settings


async def test_a_demo_makes_its_folder(settings: Settings, database: Database, tmp_path: Path) -> None:
    settings = msgspec.structs.replace(settings, data_dir=tmp_path / "not" / "there")
    made = await workspace.make(settings, database)
    assert (settings.data_dir / "demo.json").is_file()
    assert (await workspace.make(settings, database)).workspace_id == made.workspace_id


async def test_a_demo_that_could_not_be_told_is_not_made(
    settings: Settings, database: Database, tmp_path: Path, admin: Any
) -> None:
    (tmp_path / "file").touch()
    settings = msgspec.structs.replace(settings, data_dir=tmp_path / "file" / "below")
    with pytest.raises(CannotRun, match="--data-dir"):
        await workspace.make(settings, database)
    assert await admin.fetchval("SELECT count(*) FROM workspaces") == 0


async def test_two_that_start_at_once_make_one_demo(
    settings: Settings, database: Database, tmp_path: Path, admin: Any
) -> None:
    settings = msgspec.structs.replace(settings, data_dir=tmp_path / "both")
    one, other = await asyncio.gather(*(workspace.make(settings, database) for _ in range(2)))
    assert one == other
    assert await admin.fetchval("SELECT count(*) FROM workspaces") == 1


async def test_who_waits_too_long_for_the_others_demo_is_told_so(
    settings: Settings, database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workspace, "PATIENCE_SECONDS", 0.1)
    held = locks.take(tmp_path / "demo.lock")
    assert held is not None
    try:
        with pytest.raises(CannotRun, match="another comms"):
            async with asyncio.timeout(10):
                await workspace.make(msgspec.structs.replace(settings, data_dir=tmp_path), database)
    finally:
        os.close(held)
