"""A merge that meets somebody who is on the way in begins again, in the same unit of work."""

import uuid
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from comms.contacts import merging
from comms.credentials import Identity
from comms.events import Actor
from comms.service import Service
from handlers.crm.merges import TRIES, _patiently
from models.crm import ContactMerge
from tests.conftest import Client

API = "/api/v1"
DEADLOCK = text("DO $$ BEGIN RAISE EXCEPTION 'deadlock' USING ERRCODE = '40P01'; END $$")


async def two(client: Client) -> tuple[uuid.UUID, uuid.UUID]:
    made = [await client.post(f"{API}/contacts", json={"firstName": name}) for name in ("Ada", "Ada B.")]
    return uuid.UUID(made[0].json()["id"]), uuid.UUID(made[1].json()["id"])


async def merged(service: Service, owner: Client, kept: uuid.UUID, other: uuid.UUID, deadlocks: int) -> Any:
    """The merge, which ends in a deadlock that often before it is done."""
    identity = Identity(owner.workspace_id, owner.user_id, "owner")
    left = [DEADLOCK] * deadlocks

    async with service.database.workspace(owner.workspace_id, Actor("user", owner.user_id)) as db:

        async def story() -> ContactMerge:
            row = await merging.merge(db, identity, kept, other)
            if left:
                await db.execute(left.pop())
            return row

        return await _patiently(db, story)


async def test_a_merge_that_meets_a_deadlock_is_done_once(service: Service, owner: Client) -> None:
    kept, other = await two(owner)
    shown = await merged(service, owner, kept, other, deadlocks=TRIES - 1)
    listed = (await owner.get(f"{API}/contacts/{kept}/merges")).json()["items"]
    assert [row["id"] for row in listed] == [str(shown.id)]
    told = [fact["event"] for fact in (await owner.get(f"{API}/events", params={"limit": 200})).json()["items"]]
    assert (told.count("contact_merge.created"), told.count("contact.deleted")) == (1, 1)
    assert (await owner.get(f"{API}/contacts/{other}")).status_code == 404


async def test_a_merge_that_only_meets_deadlocks_leaves_nothing(service: Service, owner: Client) -> None:
    kept, other = await two(owner)
    with pytest.raises(DBAPIError):
        await merged(service, owner, kept, other, deadlocks=TRIES)
    assert (await owner.get(f"{API}/contacts/{other}")).status_code == 200
    assert (await owner.get(f"{API}/contacts/{kept}/merges")).json()["items"] == []
