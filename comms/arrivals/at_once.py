"""What the shortcuts share: one statement, and so one round trip and one commit, for what happens most.

``known`` takes the messages of people we know, ``strangers`` those of people who write for the first time; the story
takes the rest. All lock in one order: contact points, conversations, messages, counters.
"""

import uuid
from collections.abc import Sequence
from typing import Any

from comms import receipts
from comms.arrivals.passage import KIND, Passage
from comms.consent.keywords import speaks_of_it
from comms.events import encode
from models.base import new_id

_COLUMNS = {
    "workspace_id": "uuid",
    "id": "uuid",
    "connection_id": "uuid",
    "line": "text",
    "kind": "text",
    "address": "text",
    "channel": "text",
    "content": "text",
    "content_type": "text",
    "metadata": "text",
    "provider": "text",
    "identity": "text",
    "from_address": "text",
    "at": "timestamptz",
    "receipt_id": "uuid",
    "method": "text",
    "url": "text",
    "headers": "text",
    "body": "bytea",
}


def incoming(**further: str) -> str:
    """SQL for the rows ``i`` of a statement: ``columns``, then these further ones with their types, then ``ord``."""
    columns = _COLUMNS | further
    parameters = ", ".join(f"${number}::{kind}[]" for number, kind in enumerate(columns.values(), 1))
    return f"unnest({parameters}) WITH ORDINALITY AS i ({', '.join(columns)}, ord)"


def columns(passages: Sequence[Passage], ids: Sequence[uuid.UUID]) -> list[list[Any]]:
    """The parameters of ``incoming``, a list each, for messages that will have these ids."""
    arrivals = [passage.arrival for passage in passages]
    messages = [arrival.message for arrival in arrivals]
    return [
        [passage.workspace_id for passage in passages],
        list(ids),
        [arrival.connection.id for arrival in arrivals],
        [passage.line for passage in passages],
        [message.sender.kind for message in messages],
        [message.sender.value for message in messages],
        [message.channel for message in messages],
        [message.content for message in messages],
        [passage.content_type for passage in passages],
        [encode(passage.metadata).decode() for passage in passages],
        [message.provider for message in messages],
        [message.provider_message_id for message in messages],
        [passage.said_by for passage in passages],
        [arrival.at for arrival in arrivals],
        [new_id() for _ in arrivals],
        [arrival.request.method for arrival in arrivals],
        [receipts.url_of(arrival.request) for arrival in arrivals],
        [receipts.headers_of(arrival.request) for arrival in arrivals],
        [arrival.request.body for arrival in arrivals],
    ]


def noted(rows: str) -> str:
    """SQL after which the webhooks of ``rows`` are kept, each as the message it became."""
    return f"""
    INSERT INTO webhook_receipts AS kept (workspace_id, id, connection_id, provider, kind, identity, method, url,
        headers, body, state, message_id, created_at, updated_at)
    SELECT workspace_id, receipt_id, connection_id, provider, '{KIND}', identity, method, url, headers::jsonb,
        body, 'processed', id, at, at
    FROM {rows}
    ORDER BY workspace_id, connection_id, identity
    {receipts.ONCE} RETURNING kept.id"""


def after(*parts: str) -> str:
    """SQL for a condition that is true once these parts of the statement are done.

    Whatever nobody asks for is done at the very end, while the counters are held, and everybody else who has something
    to tell in these workspaces waits.
    """
    return " AND ".join(f"(SELECT count(*) FROM {part}) >= 0" for part in parts)


def is_plain(passage: Passage) -> bool:
    """Whether a shortcut may try: the sender can be known, nothing is attached, and it is the first try.

    Nor does it say anything about hearing from us, which the story takes down.
    """
    arrival = passage.arrival
    is_first = not arrival.message.media and arrival.retried is None and passage.is_of_somebody
    return is_first and not speaks_of_it(arrival.message)


def cut(data: bytes, *gaps: uuid.UUID) -> list[str]:
    """JSON in parts, cut where each of the ``gaps`` stands: ids that only the statement knows come there."""
    text, parts = data.decode(), []
    for gap in gaps:
        part, _, text = text.partition(str(gap))
        parts.append(part)
    return [*parts, text]
