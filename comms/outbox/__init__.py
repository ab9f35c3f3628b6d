"""What leaves: said in a transaction, sent after it, once, in the order of each conversation.

    await put(db, Intent(workspace_id=…, conversation_id=…, content="See you at 7pm"))

keeps a message to be sent in the caller's transaction: the message, its place in the conversation's line, and a job
that wakes a worker. ``put_all`` does the same for many, on an asyncpg connection too. What then happens is in
``sender``.
"""

from comms.errors import Unsendable
from comms.outbox.intents import Intent, Route
from comms.outbox.lines import waiting
from comms.outbox.putting import SEND, put, put_all

__all__ = ["SEND", "Intent", "Route", "Unsendable", "put", "put_all", "waiting"]
