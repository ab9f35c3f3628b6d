"""From which of our numbers, by which account, to which address of theirs.

Ours is the number that is asked for, else the one last used with the contact, else the workspace's oldest that can.
Theirs is the address that is asked for, else the one they last wrote from, else their primary one.
"""

import uuid
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec

from comms.errors import Missing, Unsendable
from comms.mail import leaving
from comms.outbox import chatting
from comms.outbox.intents import Intent, Route
from comms.outbox.rows import fetch
from comms.ownership.holding import Holding, Stale, expect_fence, holding_in
from comms.providers.addresses import channel_of, may_exist, read_address, region_of
from comms.providers.base import AddressKind
from models.communications.conversations import ConversationChannel

REPLY_WITHIN = timedelta(hours=24)

PREFIXES: Mapping[str, str] = {"sms": "", "whatsapp": "whatsapp:"}
"""What the wire puts before both addresses; a social channel's is in our number."""

SENT_HERE = ("sms", "whatsapp", "social")
"""Channels whose messages leave by a number; any other needs a ``route``."""


class Place(msgspec.Struct, frozen=True):
    """Where an intent leads: its conversation as it stands, locked, and the route.

    ``channel`` is the one it travels by, which of a chat may be another than its conversation's.
    """

    channel: ConversationChannel
    contact_id: uuid.UUID | None
    is_reply: bool
    route: Route
    holding: Holding
    mail: leaving.Leaving | None = None
    chat: chatting.Way | None = None

    @property
    def is_shown(self) -> bool:
        """Whether it is for a visitor's screen, and leaves by no provider."""
        return self.chat is not None and self.chat.by == "chat"


# The conversations are locked in the order of their ids, as arriving messages lock them.
_LOOK = """
WITH i AS MATERIALIZED (
    SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::boolean[]) WITH ORDINALITY
        AS i (workspace_id, conversation_id, number_id, is_routed, ord)
),
held AS MATERIALIZED (
    SELECT c.workspace_id, c.id, c.channel, c.contact_id, c.phone_number_id, c.assigned_to, c.agent_id,
        c.lease_expires_at, c.fence
    FROM conversations c
    JOIN (SELECT DISTINCT workspace_id, conversation_id FROM i) w
        ON w.workspace_id = c.workspace_id AND w.conversation_id = c.id
    ORDER BY c.workspace_id, c.id
    FOR NO KEY UPDATE OF c
)
SELECT i.ord, held.channel, held.contact_id, held.assigned_to, held.agent_id, held.lease_expires_at,
    held.fence, n.id AS number_id, n.phone_number, n.provider, n.status,
    n.sms, n.mms, n.connection_id, said.from_address AS last_address, said.created_at AS said_at, p.value AS point
FROM i JOIN held ON held.workspace_id = i.workspace_id AND held.id = i.conversation_id
LEFT JOIN LATERAL (
    SELECT n.id, n.phone_number, n.provider, n.status, n.capabilities->>'sms' AS sms, n.capabilities->>'mms' AS mms,
        coalesce(n.connection_id, (
            SELECT k.id FROM workspace_api_keys k
            WHERE k.workspace_id = n.workspace_id AND k.provider = n.provider AND k.is_active
            ORDER BY k.created_at, k.id LIMIT 1
        )) AS connection_id
    FROM workspace_phone_numbers n
    WHERE n.workspace_id = i.workspace_id AND NOT i.is_routed AND (n.id = i.number_id OR (
        i.number_id IS NULL AND n.status = 'active' AND coalesce(n.capabilities->>'sms', 'true') <> 'false'
        AND CASE held.channel WHEN 'sms' THEN n.phone_number ~ '^[+0-9]' WHEN 'whatsapp' THEN n.phone_number ~ '^[+]'
            ELSE n.phone_number ~ '^(messenger|rcs):' END))
    ORDER BY n.id IS NOT DISTINCT FROM held.phone_number_id DESC, CASE WHEN held.phone_number_id IS NULL THEN (
        SELECT max(c.last_message_at) FROM conversations c
        WHERE c.workspace_id = n.workspace_id AND c.contact_id = held.contact_id AND c.phone_number_id = n.id
    ) END DESC NULLS LAST, n.created_at, n.id LIMIT 1
) n ON true
LEFT JOIN LATERAL (
    SELECT m.from_address, m.created_at FROM conversation_messages m
    WHERE m.workspace_id = i.workspace_id AND m.conversation_id = i.conversation_id AND m.direction = 'inbound'
    ORDER BY m.created_at DESC, m.id DESC LIMIT 1
) said ON true
LEFT JOIN LATERAL (
    SELECT p.value FROM contact_points p
    WHERE p.workspace_id = i.workspace_id AND p.contact_id = held.contact_id
        AND CASE WHEN held.channel = 'social' THEN n.phone_number LIKE p.kind || ':%'
            ELSE p.kind IN ('phone', 'short_code') END
    ORDER BY p.kind = 'phone' DESC, p.is_primary DESC, p.created_at, p.id LIMIT 1
) p ON true
ORDER BY i.ord
"""


class ConversationMissing(Missing):
    """There is no such conversation in this workspace."""


async def places_of(db: Any, intents: Sequence[Intent], at: datetime) -> list["Place | Exception"]:
    """Where each intent leads, its conversation locked until the commit; or ``Unsendable``, ``ConversationMissing``."""
    rows = await fetch(
        db,
        _LOOK,
        [intent.workspace_id for intent in intents],
        [intent.conversation_id for intent in intents],
        [intent.number_id for intent in intents],
        [intent.route is not None for intent in intents],
    )
    found = {row["ord"]: row for row in rows}
    free = [ord_ for ord_, row in found.items() if intents[ord_ - 1].route is None]
    chats = [ord_ for ord_ in free if found[ord_]["channel"] == "live_chat"]
    ways = dict(zip(chats, await chatting.ways_of(db, [intents[ord_ - 1] for ord_ in chats], at), strict=True))
    mailed = {ord_: intents[ord_ - 1] for ord_ in free if found[ord_]["channel"] == "email"}
    for ord_, way in ways.items():
        if isinstance(way, chatting.Way) and way.by == "email":
            mailed[ord_] = chatting.mailed(intents[ord_ - 1], way)
    answers = [_is_reply(intent, found[ord_], at) for ord_, intent in mailed.items()]
    leavings = dict(zip(mailed, await leaving.routes_of(db, list(mailed.values()), answers, at), strict=True))
    places: list[Place | Exception] = []
    for ord_, intent in enumerate(intents, start=1):
        row = found.get(ord_)
        try:
            if row is None:
                raise ConversationMissing
            expect_fence(
                holding := holding_in(row),
                fence=intent.fence,
                agent_id=intent.sender_agent_id,
                is_agents=intent.sender_type == "agent",
                at=at,
            )
            places.append(_place(intent, row, holding, at, leavings.get(ord_), ways.get(ord_)))
        except (Unsendable, ConversationMissing, Stale) as error:
            places.append(error)
    return places


def _place(
    intent: Intent,
    row: Mapping[str, Any],
    holding: Holding,
    at: datetime,
    mail: "leaving.Leaving | Unsendable | None",
    way: "chatting.Way | Unsendable | None",
) -> Place:
    is_reply = _is_reply(intent, row, at)
    if isinstance(way, Unsendable):
        raise way
    if isinstance(mail, Unsendable):
        raise mail
    if mail is not None:
        return Place("email", row["contact_id"], is_reply, mail.route, holding, mail, way)
    if way is not None and way.by == "chat":
        ours, theirs = f"widget:{way.widget_id}", f"visitor:{way.visitor_id}"
        route = Route(provider="", connection_id=None, from_address=ours, to_address=theirs)
        return Place("live_chat", row["contact_id"], is_reply, route, holding, chat=way)
    if way is not None:
        row = {**row, **way.row, "channel": "sms"}
        route = _route(msgspec.structs.replace(intent, to=way.to), row)
        return Place("sms", row["contact_id"], is_reply, route, holding, chat=way)
    return Place(row["channel"], row["contact_id"], is_reply, intent.route or _route(intent, row), holding)


def _is_reply(intent: Intent, row: Mapping[str, Any], at: datetime) -> bool:
    """Whether it answers somebody: as is said, or because they have written a short while before it leaves."""
    if intent.is_reply is not None:
        return intent.is_reply
    return row["said_at"] is not None and (intent.scheduled_at or at) - row["said_at"] < REPLY_WITHIN


def _route(intent: Intent, row: Mapping[str, Any]) -> Route:
    channel = row["channel"]
    if channel not in SENT_HERE:
        raise Unsendable("channel", f"nothing can be sent in a conversation of channel {channel}", field="channel")
    _expect_number(intent, row)
    said = row["last_address"] if intent.to is None else intent.to
    return Route(
        provider=row["provider"],
        connection_id=row["connection_id"],
        number_id=row["number_id"],
        from_address=row["phone_number"],
        to_address=_recipient(said, row, is_asked=intent.to is not None),
    )


def _expect_number(intent: Intent, row: Mapping[str, Any]) -> None:
    if row["number_id"] is None:
        if intent.number_id is not None:
            raise Unsendable("number", "refers to no number of this workspace", field="phoneNumberId")
        raise Unsendable("number", f"no active number of this workspace can send by {row['channel']}", field="from")
    if row["status"] != "active":
        raise Unsendable("number", f"the number is {row['status']}: nothing leaves by it", field="phoneNumberId")
    if row["sms"] == "false" or (intent.media and row["mms"] == "false"):
        what = "pictures" if intent.media else "texts"
        raise Unsendable("number", f"the number cannot send {what}", field="phoneNumberId")
    if row["connection_id"] is None:
        raise Unsendable(
            "connection", f"there is no active connection to {row['provider']} to send by", field="phoneNumberId"
        )


def _recipient(said: str | None, row: Mapping[str, Any], *, is_asked: bool) -> str:
    """The address that can be sent to, as we write it: E.164, a short code, a messenger's id."""
    channel, ours = row["channel"], row["phone_number"]
    for text in (said,) if is_asked else (said, row["point"]):
        if not text:
            continue
        if channel == "social":
            return str(text)
        address = read_address(text, region_of(ours))
        if is_asked and (channel_of(text) not in (None, channel) or not may_exist(address)):
            continue
        if address.kind is AddressKind.PHONE or (address.kind is AddressKind.SHORT_CODE and channel == "sms"):
            return address.value
    if said is None:
        raise Unsendable("address", "the contact has no address on this channel")
    raise Unsendable("address", f"{said} is no address that a message can be sent to by {channel}")


def on_the_wire(channel: str, from_address: str, to_address: str) -> tuple[str, str]:
    """Both addresses as a provider wants them."""
    if channel == "social":
        prefix = from_address.partition(":")[0]
        return from_address, f"{prefix}:{to_address}"
    prefix = PREFIXES.get(channel, "")
    return prefix + from_address, prefix + to_address
