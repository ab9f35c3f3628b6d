"""Who works in an office that is called, its flow, and what its conversations say."""

from typing import Any

from comms.directory import Connection
from tests.conftest import Client

OWNER, MEMBER = "+14155550111", "+14155550112"


def office(owner: Client, member: Client, **more: Any) -> dict[str, Any]:
    """A menu to a team, and from there to a queue."""
    return {
        "start": "menu",
        "missedCallText": "Sorry we missed you. What can we do for you?",
        "steps": {
            "menu": {
                "type": "menu",
                "text": "For sales press 1.",
                "choices": [{"digit": "1", "next": "team"}],
                "next": "message",
            },
            "team": {"type": "ring", "users": [str(owner.user_id), str(member.user_id)], "next": "queue"},
            "queue": {"type": "queue", "users": [str(member.user_id)], "seconds": 20, "next": "message"},
            "message": {"type": "voicemail", "text": "Please leave a message."},
        }
        | more,
    }


async def said(admin: Any, line: Connection, channel: str = "call") -> list[str]:
    """What stands in the workspace's conversations of that channel."""
    found = await admin.fetch(
        "SELECT m.content FROM conversation_messages m JOIN conversations c"
        " ON c.workspace_id = m.workspace_id AND c.id = m.conversation_id"
        " WHERE m.workspace_id = $1 AND c.channel = $2 ORDER BY m.created_at, m.id",
        line.workspace_id,
        channel,
    )
    return [row[0] for row in found]
