"""A workspace as it is after two years with a hundred thousand customers: made up in one commit."""

import uuid
from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy import select, text

from comms import workspaces
from comms.database import Database
from comms.demo import vocabulary as words
from comms.errors import CannotRun
from comms.search.following import keep_up
from models.core import WorkspaceMember

FIRST = "first@scale.demo.example"  # the first contact's address, which a workspace can have once
COLLEAGUES = 8
CHUNK = 50_000
STATEMENT_SECONDS = 900.0


async def fill(
    database: Database, workspace_id: uuid.UUID, contacts: int, messages: int, say: Callable[[str], None]
) -> None:
    """The workspace has so many contacts and messages more, and all of them can be found.

    ``CannotRun`` the second time. All of it or, if interrupted, nothing. No events are told of it.
    """
    if contacts < 1 or messages < 1:
        raise CannotRun("it takes at least one contact and one message")
    await _hire(database, workspace_id)
    conversations = max(1, min(contacts * 27 // 20, messages // 3))
    async with database.alone() as db:
        await _refuse_again(db, workspace_id)
        scene = (workspace_id, contacts, conversations, messages)
        for words_said, statement in _BEFORE:
            say(words_said.format(contacts=contacts, conversations=conversations))
            await db.execute(_with(statement, *scene), timeout=STATEMENT_SECONDS)
        for first in range(1, messages + 1, CHUNK):
            last = min(messages, first + CHUNK - 1)
            await db.execute(
                _with(_MESSAGES, *scene) + f" WHERE s.m BETWEEN {first} AND {last}", timeout=STATEMENT_SECONDS
            )
            say(f"{last:,} of {messages:,} messages")
        say("delivery reports, attachments, participants")
        for statement in _AFTER:
            await db.execute(_with(statement, *scene), timeout=STATEMENT_SECONDS)
    say("the search index")
    async with database.everywhere() as session:
        await session.execute(_LOOK_AGAIN, {"here": workspace_id})
    await keep_up(database, [workspace_id], most=5_000)
    say("statistics")
    await _analyse(database)


async def _hire(database: Database, workspace_id: uuid.UUID) -> None:
    """The workspace has colleagues to assign conversations to."""
    async with database.everywhere() as db:
        there = len(
            (await db.scalars(select(WorkspaceMember.id).where(WorkspaceMember.workspace_id == workspace_id))).all()
        )
        for number in range(there, COLLEAGUES):
            email = f"colleague{number}@{workspace_id.hex[-12:]}.demo.example"
            await workspaces.enter(db, workspace_id, email=email, role="member", first_name=f"Colleague {number}")


async def _refuse_again(db: Any, workspace_id: uuid.UUID) -> None:
    # Held to the end: of two that fill the same workspace at once, the second finds it full.
    await db.execute("SELECT FROM workspaces WHERE id = $1 FOR UPDATE", workspace_id)
    full = "SELECT true FROM contact_points WHERE workspace_id = $1 AND kind = 'email' AND value_key = $2"
    if await db.fetchval(full, workspace_id, FIRST):
        raise CannotRun("this workspace has been filled already: take another --data-dir, or another workspace")


async def _analyse(database: Database) -> None:
    """The planner knows what is there; only the owner may do that."""
    connection = await database.connect(database.urls.owner, command_timeout=STATEMENT_SECONDS)
    try:
        for table in (*_FILLED, "search_documents"):
            await connection.execute(f"VACUUM (ANALYZE) {table}")
    finally:
        await connection.close()


def _array(values: Sequence[str]) -> str:
    quoted = ", ".join("'" + value.replace("'", "''") + "'" for value in values)
    return f"(ARRAY[{quoted}])"


def _one_of(values: Sequence[str]) -> str:
    return f"{_array(values)}[1 + floor(random() * {len(values)})::int]"


def _id(at: str, seed: str) -> str:
    """A UUIDv7 of that time."""
    digits = f"md5('{{workspace}}' || {seed})"
    return (
        f"(lpad(to_hex((extract(epoch FROM {at}) * 1000)::bigint), 12, '0') || '7' || substr({digits}, 1, 3) || '8'"
        f" || substr({digits}, 4, 15))::uuid"
    )


def _with(statement: str, workspace_id: uuid.UUID, contacts: int, conversations: int, messages: int) -> str:
    replacements = {
        "workspace": workspace_id,
        "contacts": contacts,
        "conversations": conversations,
        "messages": messages,
    }
    for name, value in replacements.items():
        statement = statement.replace("{" + name + "}", str(value))
    return statement


_PEOPLE = f"""
SELECT setseed(0.42);
CREATE TEMP TABLE people ON COMMIT DROP AS
SELECT n, at, {_id("at", "'contact' || n")} AS id,
    CASE WHEN r_named < 0.93 THEN {_array([name for name, _ in words.FIRST_NAMES])}[f] END AS first_name,
    CASE WHEN r_named < 0.88 THEN {_array([name for name, _ in words.LAST_NAMES])}[l] END AS last_name,
    CASE WHEN n = 1 THEN '{FIRST}' WHEN r_email < 0.7 THEN
        {_array([name for _, name in words.FIRST_NAMES])}[f] || '.'
        || {_array([name for _, name in words.LAST_NAMES])}[l] || n || '@' || {_one_of(words.DOMAINS)} END AS email,
    CASE WHEN r_phone < 0.92 THEN
        (ARRAY['+1', '+44', '+49', '+33', '+81'])[1 + n % 5]
        || (ARRAY[2120000000, 7400000000, 15100000000, 600000000, 9010000000])[1 + n % 5] + n END AS phone,
    CASE WHEN r_company < 0.4 THEN {_one_of(words.COMPANIES)} || {_one_of(words.COMPANY_FORMS)} END AS company,
    CASE WHEN r_company < 0.4 THEN {_one_of(words.JOBS)} END AS job_title,
    {_one_of(words.SOURCES)} AS source,
    CASE WHEN r_status < 0.45 THEN 'customer' WHEN r_status < 0.75 THEN 'lead' WHEN r_status < 0.9 THEN 'active'
        WHEN r_status < 0.99 THEN 'inactive' ELSE 'blocked' END AS status,
    CASE WHEN r_tags < 0.2 THEN ARRAY[{_one_of(words.TAGS)}] WHEN r_tags < 0.205 THEN ARRAY['vip', 'gold']
        ELSE ARRAY[]::text[] END AS tags,
    CASE WHEN r_score < 0.6 THEN floor(random() * 101)::int END AS lead_score,
    CASE WHEN r_owner < 0.5 THEN m.ids[1 + floor(r_owner * 2 * cardinality(m.ids))::int] END AS owner_id
FROM (
    -- A day before the first conversation with them.
    SELECT n, now() - interval '731 days' + interval '730 days'
            * ((n - 1)::bigint * {{conversations}} / {{contacts}}) / {{conversations}} AS at,
        1 + floor(random() * {len(words.FIRST_NAMES)})::int AS f,
        1 + floor(random() * {len(words.LAST_NAMES)})::int AS l,
        random() AS r_named, random() AS r_email, random() AS r_phone, random() AS r_company, random() AS r_status,
        random() AS r_tags, random() AS r_score, power(random(), 2) AS r_owner
    FROM generate_series(1, {{contacts}}) AS n
) AS x,
(SELECT array_agg(user_id ORDER BY id) AS ids FROM workspace_members
    WHERE workspace_id = '{{workspace}}' AND is_active) AS m;
CREATE INDEX ON people (n);
ANALYZE people
"""

# Each conversation opens with a message of its own; the others go to those there are, most of them to a few.
_SAID = """
CREATE TEMP TABLE said ON COMMIT DROP AS
SELECT m, CASE WHEN is_opening THEN o ELSE 1 + floor(o * power(random(), 3))::int END AS k,
    now() - interval '730 days' + interval '730 days' * m / {messages} - interval '1 minute' AS at
FROM (
    SELECT m, ((m - 1)::bigint * {conversations} / {messages})::int + 1 AS o,
        m = 1 OR (m - 1)::bigint * {conversations} / {messages} <> (m - 2)::bigint * {conversations} / {messages}
            AS is_opening
    FROM generate_series(1, {messages}) AS m
) AS x;
CREATE INDEX ON said (m);
ANALYZE said
"""

_THREADS = f"""
CREATE TEMP TABLE threads ON COMMIT DROP AS
SELECT k, n, is_first, told.at, told.last_at, told.messages, {_id("told.at", "'conversation' || k")} AS id,
    CASE WHEN NOT is_first THEN 'email' WHEN n % 10 = 0 THEN 'whatsapp' WHEN n % 29 = 0 THEN 'live_chat' ELSE 'sms' END
        AS channel,
    CASE WHEN r_status < 0.3 THEN 'active' WHEN r_status < 0.8 THEN 'closed' WHEN r_status < 0.98 THEN 'archived'
        ELSE 'spam' END AS status,
    CASE WHEN r_tags < 0.25 THEN ARRAY[{_one_of(words.TAGS)}] ELSE ARRAY[]::text[] END AS tags,
    CASE WHEN r_user < 0.6
        THEN c.members[1 + floor(power(r_user / 0.6, 2) * cardinality(c.members))::int] END AS user_id,
    CASE WHEN NOT is_first THEN {_one_of(words.SUBJECTS)} END AS subject,
    c.lines[1 + k % greatest(1, cardinality(c.lines))] AS number_id
FROM (
    SELECT k, (k::bigint * {{contacts}} + {{conversations}} - 1) / {{conversations}} AS n,
        k = 1 OR ((k - 1)::bigint * {{contacts}} + {{conversations}} - 1) / {{conversations}}
            <> (k::bigint * {{contacts}} + {{conversations}} - 1) / {{conversations}} AS is_first,
        random() AS r_status, random() AS r_tags, random() AS r_user
    FROM generate_series(1, {{conversations}}) AS k
) AS x
JOIN (SELECT k, min(at) AS at, max(at) AS last_at, count(*) AS messages FROM said GROUP BY k) AS told USING (k),
(SELECT (SELECT array_agg(user_id ORDER BY id) FROM workspace_members
        WHERE workspace_id = '{{workspace}}' AND is_active) AS members,
    (SELECT array_agg(id ORDER BY id) FROM workspace_phone_numbers
        WHERE workspace_id = '{{workspace}}' AND status = 'active') AS lines) AS c;
CREATE INDEX ON threads (k);
ANALYZE threads
"""

_CONTACTS = """
INSERT INTO contacts (workspace_id, id, owner_id, first_name, last_name, email, phone, company, job_title, source,
    status, tags, last_contacted_at, lead_score, created_at, updated_at)
SELECT '{workspace}', p.id, owner_id, first_name, last_name, email, phone, company, job_title, source, p.status, p.tags,
    t.last_at, lead_score, p.at, coalesce(t.last_at, p.at)
FROM people p LEFT JOIN (SELECT n, max(last_at) AS last_at FROM threads GROUP BY n) AS t ON t.n = p.n ORDER BY p.n
"""

_POINTS = f"""
INSERT INTO contact_points (workspace_id, id, contact_id, kind, value, label, is_primary, created_at, updated_at)
SELECT '{{workspace}}', {_id("at", "kind || is_primary || n")}, id, kind, value, label, is_primary, at, at
FROM (
    SELECT n, id, at, 'phone' AS kind, phone AS value, NULL AS label, true AS is_primary FROM people
        WHERE phone IS NOT NULL
    UNION ALL SELECT n, id, at, 'email', email, NULL, true FROM people WHERE email IS NOT NULL
    UNION ALL SELECT n, id, at, 'phone', '+39' || 3200000000 + n, 'work', false FROM people WHERE n % 10 = 0
) AS x
"""

_CONVERSATIONS = """
INSERT INTO conversations (workspace_id, id, contact_id, channel, status, subject, last_message_at, message_count,
    assigned_to, waiting_since, tags, phone_number_id, created_at, updated_at)
SELECT '{workspace}', t.id, p.id, t.channel, t.status, t.subject, t.last_at, t.messages, t.user_id,
    CASE WHEN t.user_id IS NULL THEN t.last_at END, t.tags,
    CASE WHEN t.channel IN ('sms', 'whatsapp') THEN t.number_id END, t.at, t.last_at
FROM threads t JOIN people p USING (n) ORDER BY t.k
"""

_MESSAGES = f"""
INSERT INTO conversation_messages (workspace_id, id, conversation_id, direction, content, content_type, sender_type,
    sender_contact_id, sender_user_id, is_read, read_at, delivered_at, sent_at, status, error_code, provider,
    provider_message_id, connection_id, phone_number_id, from_address, to_address, created_at, updated_at)
SELECT '{{workspace}}', {_id("s.at", "'message' || s.m")}, t.id,
    CASE WHEN s.is_inbound THEN 'inbound' ELSE 'outbound' END, s.content, 'text',
    CASE WHEN s.is_inbound THEN 'contact' WHEN t.user_id IS NOT NULL THEN 'user' ELSE 'system' END,
    CASE WHEN s.is_inbound THEN p.id END, CASE WHEN NOT s.is_inbound THEN t.user_id END,
    s.is_inbound AND s.at < now() - interval '2 days',
    CASE WHEN s.is_inbound AND s.at < now() - interval '2 days' THEN s.at + interval '1 hour' END,
    CASE WHEN NOT s.is_inbound AND s.r < 0.9 THEN s.at + interval '3 seconds' END,
    CASE WHEN NOT s.is_inbound THEN s.at + interval '1 second' END,
    CASE WHEN s.is_inbound THEN 'received' WHEN s.r < 0.9 THEN 'delivered' WHEN s.r < 0.96 THEN 'sent'
        WHEN s.r < 0.99 THEN 'failed' ELSE 'undelivered' END,
    CASE WHEN NOT s.is_inbound AND s.r >= 0.96 THEN '30003' END,
    line.provider, CASE WHEN line.provider IS NOT NULL THEN 'SM' || md5('{{workspace}}' || s.m) END, line.connection_id,
    line.id, CASE WHEN s.is_inbound THEN p.phone ELSE line.phone_number END,
    CASE WHEN s.is_inbound THEN line.phone_number ELSE p.phone END, s.at, s.at
FROM (
    SELECT m, k, at, random() < 0.55 AS is_inbound, random() AS r,
        {_one_of(words.OPENINGS)} || ' ' || {_one_of(words.TOPICS)} || ' ' || {_one_of(words.CLOSINGS)}
        || CASE WHEN random() < 0.2 THEN ' ' || substr(md5(m::text), 1, 7) ELSE '' END
        || CASE WHEN random() < 0.05
            THEN ' ' || repeat({_one_of(words.OPENINGS)} || ' ' || {_one_of(words.TOPICS)} || '. ', 8) ELSE '' END
        AS content
    FROM said
) AS s
JOIN threads t USING (k) JOIN people p USING (n)
LEFT JOIN workspace_phone_numbers line ON line.workspace_id = '{{workspace}}' AND line.id = t.number_id
    AND t.channel IN ('sms', 'whatsapp')
"""

_REPORTS = f"""
INSERT INTO delivery_reports (workspace_id, id, message_id, provider, provider_message_id, reported, status,
    reported_at, created_at, updated_at)
SELECT workspace_id, {_id("created_at", "'report' || provider_message_id")}, id, provider, provider_message_id, status,
    status, created_at, created_at, created_at
FROM conversation_messages
WHERE workspace_id = '{{workspace}}' AND direction = 'outbound' AND provider_message_id IS NOT NULL
    AND provider_message_id < 'SM4' AND conversation_id IN (SELECT id FROM threads)
"""

_ATTACHMENTS = f"""
INSERT INTO message_attachments (workspace_id, id, message_id, position, source_url, declared_type, state, error,
    created_at, updated_at)
SELECT workspace_id, {_id("created_at", "'attachment' || id")}, id, 0, 'https://media.example/' || id, 'image/jpeg',
    'failed', 'made up: there never was a file', created_at, created_at
FROM conversation_messages WHERE workspace_id = '{{workspace}}' AND direction = 'inbound' AND id::text LIKE '%0'
    AND conversation_id IN (SELECT id FROM threads)
"""

_PARTICIPANTS = f"""
INSERT INTO conversation_participants (workspace_id, id, conversation_id, user_id, role, created_at, updated_at)
SELECT '{{workspace}}', {_id("at", "'participant' || k")}, id, user_id, 'owner', at, at FROM threads
WHERE user_id IS NOT NULL
"""

_LOOK_AGAIN: Any = text(
    "UPDATE search_progress SET backfill = 'contact', backfill_after = NULL WHERE workspace_id = :here"
)

_BEFORE = (
    ("{contacts:,} people are made up", _PEOPLE),
    ("what they say, and when", _SAID),
    ("{conversations:,} conversations", _THREADS),
    ("{contacts:,} contacts", _CONTACTS),
    ("their addresses", _POINTS),
    ("{conversations:,} conversations are opened", _CONVERSATIONS),
)
_AFTER = (_REPORTS, _ATTACHMENTS, _PARTICIPANTS)
_FILLED = (
    "contacts",
    "contact_points",
    "conversations",
    "conversation_messages",
    "delivery_reports",
    "message_attachments",
    "conversation_participants",
)
