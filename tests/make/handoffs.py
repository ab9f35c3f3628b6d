"""Conversations that are handed on, over the API and by agents."""

import uuid
from typing import Any

from comms.ownership import ByAgent, handing
from comms.service import Service
from models.communications import Conversation
from models.communications.handoffs import Packet, Step, Target
from tests.conftest import Client
from tests.make import ownership as make

API = "/api/v1"
PACKET = {"summary": "Charged twice", "facts": {"order": "A-17"}, "sentiment": "negative", "language": "en"}


async def can(owner: Client, who: Client, *skills: str) -> None:
    """Somebody has these skills."""
    body = {"userId": str(who.user_id), "skills": list(skills)}
    answer = await owner.post(f"{API}/routing-profiles", json=body)
    assert answer.status_code == 201, answer.text


async def hand(client: Client, talk: Conversation, target: dict[str, Any], **more: Any) -> dict[str, Any]:
    body = {"reason": "Asks for a person", "target": target, "packet": PACKET, **more}
    answer = await client.post(f"{API}/conversations/{talk.id}/handoffs", json=body)
    assert answer.status_code == 201, answer.text
    row: dict[str, Any] = answer.json()
    return row


async def agent_hands(
    service: Service,
    talk: Conversation,
    agent_id: uuid.UUID,
    fence: int,
    target: Target,
    *,
    steps: tuple[Step, ...] = (),
    **packet: Any,
) -> uuid.UUID:
    wanted = handing.Handing(reason="Cannot help", target=target, packet=Packet(**packet), steps=steps)
    async with make.held(service, talk) as (db, row):
        return (await handing.hand_on(db, row, wanted, ByAgent(agent_id), fence=fence)).id


async def seen(client: Client, handoff_id: Any) -> dict[str, Any]:
    row: dict[str, Any] = (await client.get(f"{API}/conversation-handoffs/{handoff_id}")).json()
    return row


async def told(admin: Any, subject_id: Any) -> list[str]:
    rows = await admin.fetch("SELECT event FROM events WHERE subject_id = $1 ORDER BY seq", uuid.UUID(str(subject_id)))
    return [row["event"] for row in rows]


async def overdue(admin: Any) -> None:
    await admin.execute("UPDATE conversation_handoffs SET deadline_at = now() - interval '1 second'")
