"""An agent answers a text and hands it on; the deadline passes, and a person takes over while it is writing."""

import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from comms import ownership
from comms.database import Database, Urls, as_role
from comms.embedded import Embedded
from comms.outbox import Intent, put
from comms.ownership import ByAgent, Stale, handing
from comms.settings import Secret
from models.communications import Conversation
from models.communications.handoffs import Packet, Step, Target
from models.tenancy import WEB, WORKER
from tests.journeys.desks import listed, phone
from tests.journeys.house import House
from tests.journeys.lines import Line
from tests.journeys.waiting import until

CUSTOMER = phone(4711)


class Runtime:
    """What runs an agent, elsewhere: it knows the conversation and the fence that it has read, and nothing more."""

    def __init__(self, database: Database, workspace_id: uuid.UUID, agent_id: uuid.UUID, talk_id: uuid.UUID) -> None:
        self.database = database
        self.workspace_id = workspace_id
        self.agent_id = agent_id
        self.talk_id = talk_id
        self.fence = 0

    @asynccontextmanager
    async def _held(self) -> AsyncIterator[tuple[AsyncSession, Conversation]]:
        async with self.database.workspace(self.workspace_id) as db:
            query = select(Conversation).where(Conversation.id == self.talk_id).with_for_update(key_share=True)
            yield db, (await db.scalars(query)).one()

    async def claim(self) -> None:
        """It has the conversation."""
        async with self._held() as (db, row):
            await ownership.claim(db, row, self.agent_id, 60)
            self.fence = row.fence

    async def reply(self, content: str) -> None:
        """It has said so, under the fence it knows."""
        async with self.database.workspace(self.workspace_id) as db:
            said: dict[str, Any] = {"sender_type": "agent", "sender_agent_id": self.agent_id, "fence": self.fence}
            await put(db, Intent(workspace_id=self.workspace_id, conversation_id=self.talk_id, content=content, **said))

    async def hand_on(self, wanted: handing.Handing) -> uuid.UUID:
        """It has let go of the conversation; the handoff."""
        async with self._held() as (db, row):
            return (await handing.hand_on(db, row, wanted, ByAgent(self.agent_id), fence=self.fence)).id


@pytest.fixture
async def database(house: House) -> AsyncIterator[Database]:
    await house.up()
    owner = Secret(Embedded(house.data_dir).dsn())
    database = Database(Urls(owner=owner, web=as_role(owner, WEB), worker=as_role(owner, WORKER)), pool_size=1)
    yield database
    await database.close()


async def _made(client: httpx.AsyncClient, path: str, **body: Any) -> dict[str, Any]:
    answer = await client.post(f"/api/v1/{path}", json=body)
    assert answer.status_code == 201, answer.text
    row: dict[str, Any] = answer.json()
    return row


async def _said(client: httpx.AsyncClient, talk_id: str) -> list[tuple[str, str]]:
    rows = await listed(client, "conversation-messages", conversationId=talk_id, sort="createdAt")
    return [(row["senderType"], row["content"]) for row in rows]


async def test_what_an_agent_hands_on_is_escalated_and_taken_by_a_person_whom_it_does_not_talk_over(
    house: House, database: Database
) -> None:
    process, desk = await house.up(), house.desk
    async with desk.client(process.url) as person:
        assert await Line(process.port).post(desk.text(CUSTOMER, "I was charged twice")) == 200
        [contact] = await listed(person, "contacts", phone=CUSTOMER)
        [talk] = await listed(person, "conversations", contactId=contact["id"])
        agent = await _made(person, "agents", name="Ada")
        await person.put(f"/api/v1/agents/{agent['id']}/status", json={"status": "active"})
        team = await _made(person, "teams", name="Billing")
        ada = Runtime(database, desk.workspace_id, uuid.UUID(agent["id"]), uuid.UUID(talk["id"]))
        await ada.claim()
        await ada.reply("Let me have a look.")
        handoff = "/api/v1/conversation-handoffs/" + str(
            await ada.hand_on(
                handing.Handing(
                    reason="Refunds are for people",
                    target=Target(team_id=uuid.UUID(team["id"]), needed_skills=["refunds"]),
                    packet=Packet(summary="Charged twice", facts={"order": "A-17"}, tried=["Looked it up"]),
                    within_seconds=1,
                    steps=[
                        Step(tell_contact="We are on it.", target=Target(agent_id=ada.agent_id), within_seconds=600)
                    ],
                )
            )
        )
        with pytest.raises(Stale):
            await ada.reply("One more thing")

        async def escalated() -> bool:
            return bool((await person.get(handoff)).json()["stepsTaken"])

        await until(escalated, 10, every=0.1)
        await ada.claim()  # it is asked to bridge the time, and begins to write
        taken = (await person.put(f"/api/v1/conversations/{talk['id']}/ownership")).json()
        assert taken["fence"] == ada.fence + 1
        await _made(person, f"conversations/{talk['id']}/messages", content="Here is your money.")
        with pytest.raises(Stale) as refused:
            await ada.reply("Please hold the line!")
        assert str(refused.value.owner.user_id) == taken["assignedTo"]
        assert await _said(person, talk["id"]) == [
            ("contact", "I was charged twice"),
            ("agent", "Let me have a look."),
            ("system", "We are on it."),
            ("user", "Here is your money."),
        ]
        events = (await person.get("/api/v1/events", params={"conversationId": talk["id"], "limit": "200"})).json()
        moves = [one["event"] for one in events["items"] if one["event"].startswith("conversation")]
    assert [move for move in moves if "participant" not in move] == [
        "conversation.created",
        "conversation.claimed",
        "conversation.handed_on",
        "conversation_handoff.created",
        "conversation_handoff.escalated",
        "conversation.claimed",
        "conversation_handoff.accepted",
        "conversation.taken_over",
    ]
