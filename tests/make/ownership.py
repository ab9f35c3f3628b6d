"""Conversations and those who have them: agents, and what they say under which fence."""

import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from comms import ownership
from comms.outbox import Intent, put
from comms.service import Service
from models.agents import Agent
from models.communications import Conversation, ConversationMessageView
from models.crm import Contact, ContactPoint
from tests.make import communications as make

CUSTOMER = "+14155550199"


async def agent(service: Service, workspace_id: uuid.UUID, name: str = "Ada") -> uuid.UUID:
    """An active agent."""
    row = Agent(workspace_id=workspace_id, id=uuid.uuid4(), name=name, status="active")
    async with service.database.everywhere() as db:
        db.add(row)
    return row.id


async def talk(service: Service, workspace_id: uuid.UUID, phone: str = CUSTOMER, **more: Any) -> Conversation:
    """A conversation with somebody who has a phone."""
    contact = Contact(workspace_id=workspace_id, id=uuid.uuid4(), phone=phone)
    async with service.database.everywhere() as db:
        db.add(contact)
        await db.flush()
        db.add(
            ContactPoint(workspace_id=workspace_id, contact_id=contact.id, kind="phone", value=phone, is_primary=True)
        )
    return await make.conversation(service, workspace_id, contact.id, **more)


@asynccontextmanager
async def held(service: Service, talk: Conversation) -> AsyncIterator[tuple[AsyncSession, Conversation]]:
    """The conversation's row, which nobody else changes until the end, which commits."""
    async with service.database.workspace(talk.workspace_id) as db:
        query = select(Conversation).where(Conversation.id == talk.id).with_for_update(key_share=True)
        yield db, (await db.scalars(query)).one()


async def claim(service: Service, talk: Conversation, agent_id: uuid.UUID, seconds: float = 60) -> int:
    """The agent has the conversation; the fence."""
    async with held(service, talk) as (db, row):
        await ownership.claim(db, row, agent_id, seconds)
        return row.fence


async def reply(
    service: Service, talk: Conversation, agent_id: uuid.UUID, fence: int | None, content: str = "Hello", **more: Any
) -> ConversationMessageView:
    """The agent has said something under that fence."""
    return await say(service, talk, content, sender_type="agent", sender_agent_id=agent_id, fence=fence, **more)


async def say(service: Service, talk: Conversation, content: str = "Hello", **more: Any) -> ConversationMessageView:
    """Somebody has said something."""
    async with service.database.workspace(talk.workspace_id) as db:
        return await put(db, Intent(workspace_id=talk.workspace_id, conversation_id=talk.id, content=content, **more))


async def now_of(service: Service, talk: Conversation) -> Conversation:
    """The conversation as it stands."""
    async with service.database.workspace(talk.workspace_id) as db:
        return (await db.scalars(select(Conversation).where(Conversation.id == talk.id))).one()
