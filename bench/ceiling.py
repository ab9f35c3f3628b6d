"""PostgreSQL alone: how many messages and reports it takes with one transaction each, driven by its own ``pgbench``.

Everything is made easy for it: prepared, one statement and so one round trip a transaction, nothing looked up that the
statement can be told, constants where we write what came, only senders that are known, ids in the order of time.
Several statements in a transaction, and several in a pipeline, were slower.
"""

import json
import re
import subprocess
import uuid
from datetime import UTC, datetime

import msgspec

from bench import machine
from bench.stage import ACCOUNT, FIRST_ID, FIRST_PHONE, OUR_NUMBER, PUBLIC_URL, Stage, Town
from bench.webhooks import STATUSES, Batch, requests
from comms.receipts import KEPT_HEADERS
from models.communications import ConversationMessageView
from models.tenancy import WORKER


class Ran(msgspec.Struct, frozen=True):
    """What pgbench says of a run."""

    transactions: int
    rate: float


def run(stage: Stage, town: Town, batch: Batch, clients: int, seconds: float) -> Ran:
    """Transactions, and how many a second; reports use up the messages of ``batch.run``."""
    path = stage.folder / f"{batch.kind}.sql"
    path.write_text(_message(town, batch) if batch.kind == "messages" else _report(town, batch, clients))
    command = [str(stage.embedded.pg_bin / "pgbench"), "--no-vacuum", "--protocol", "prepared", "--file", str(path)]
    command += ["--client", str(clients), "--time", str(round(seconds)), "--define", "n=-1"]
    with machine.pinned(stage.cores.service):  # the core that is the service's when there is one
        told = subprocess.run(
            [*command, stage.embedded.dsn(WORKER)], capture_output=True, text=True, check=False, timeout=seconds + 60
        )
    said = re.search(r"actually processed: (\d+).*^tps = ([\d.]+)", told.stdout, re.MULTILINE | re.DOTALL)
    if told.returncode or said is None:
        raise RuntimeError(f"pgbench failed:\n{told.stdout}\n{told.stderr}")
    return Ran(int(said[1]), float(said[2]))


def _message(town: Town, batch: Batch) -> str:
    last = FIRST_ID + len(town.ids) - 1
    statement = f"""
        WITH kept AS (
            INSERT INTO conversation_messages (workspace_id, id, conversation_id, direction, content, content_type,
                sender_type, sender_contact_id, metadata, status, provider, provider_message_id, connection_id,
                phone_number_id, from_address, to_address, created_at, updated_at)
            VALUES ({_id(town)}, uuidv7(), {_PERSON}, 'inbound', '{_TEXT}', 'text', 'contact', {_PERSON},
                '{json.dumps(_META)}', 'received', 'twilio', 'SM' || replace(gen_random_uuid()::text, '-', ''),
                {_id(town)}, {_id(town)}, '+{FIRST_PHONE}', '{OUR_NUMBER}', now(), now())
            ON CONFLICT (workspace_id, provider, provider_message_id) WHERE provider_message_id IS NOT NULL DO NOTHING
            RETURNING workspace_id, id, provider_message_id, conversation_id
        ),
        moved AS (
            UPDATE conversations SET message_count = message_count + 1, last_message_at = now(),
                phone_number_id = {_id(town)}, updated_at = now()
            WHERE workspace_id = {_id(town)} AND id = {_PERSON}
        ),
        receipt AS ({_receipt(town, batch, "provider_message_id")}),
        counted AS ({_counted(town)})
        {_told("message.received", "contact", _PERSON)}
    """
    return (
        f"\\set w random({FIRST_ID}, {last})\n"
        f"\\set c random({FIRST_ID}, {FIRST_ID + town.contacts_each - 1})\n"
        f"{_line(statement)}"
    )


def _report(town: Town, batch: Batch, clients: int) -> str:
    sent, delivered = (_line(_report_of(status, town, batch)) for status in STATUSES)
    return (
        f"\\set n :n + 1\n\\set m :n / 2 * {clients} + :client_id\n\\set w {FIRST_ID} + :m % {len(town.ids)}\n"
        f"\\if :n % 2 = 0\n{sent}\\else\n{delivered}\\endif\n"
    )


def _report_of(status: str, town: Town, batch: Batch) -> str:
    return f"""
        WITH kept AS (
            UPDATE conversation_messages SET status = '{status}', {status}_at = now(), updated_at = now()
            WHERE workspace_id = {_id(town)} AND provider = 'twilio'
                AND provider_message_id = 'SM' || md5('{batch.run}:' || :m) AND status <> '{STATUSES[-1]}'
            RETURNING workspace_id, id, provider_message_id, conversation_id
        ),
        report AS (
            INSERT INTO delivery_reports (workspace_id, id, message_id, provider, provider_message_id, reported, status,
                reported_at, created_at, updated_at)
            SELECT workspace_id, uuidv7(), id, 'twilio', provider_message_id, '{status}', '{status}', now(), now(),
                now()
            FROM kept
            ON CONFLICT (workspace_id, provider, provider_message_id, reported) DO NOTHING
        ),
        receipt AS ({_receipt(town, batch, f"provider_message_id || ':' || '{status}'")}),
        counted AS ({_counted(town)})
        {_told("message.status_changed", "system", "NULL")}
    """


def _receipt(town: Town, batch: Batch, identity: str) -> str:
    """The insert of a whole request as one of the generator's is kept."""
    head, _, body = next(requests(batch)).decode().partition("\r\n\r\n")
    sent = dict(line.split(": ", 1) for line in head.split("\r\n")[1:])
    headers = json.dumps({name.lower(): sent[name] for name in sent if name.lower() in KEPT_HEADERS})
    url = f"{PUBLIC_URL}/webhooks/twilio/{town.lines[0].connection}/{batch.kind}"
    return f"""
        INSERT INTO webhook_receipts (workspace_id, id, connection_id, provider, kind, identity, method, url, headers,
            body, state, message_id, created_at, updated_at)
        SELECT workspace_id, uuidv7(), {_id(town)}, 'twilio', '{batch.kind}', {identity}, 'POST', '{url}',
            '{headers}'::jsonb, '{body}'::bytea, 'processed', id, now(), now()
        FROM kept
        ON CONFLICT (workspace_id, connection_id, kind, identity) DO NOTHING"""


def _counted(town: Town) -> str:
    return f"UPDATE event_counters SET seq = seq + 1 WHERE workspace_id = {_id(town)} RETURNING seq"


def _told(event: str, actor_type: str, actor: str) -> str:
    return f"""
        INSERT INTO events (workspace_id, seq, event, subject_type, subject_id, data, at, conversation_id, actor_type,
            actor_id)
        SELECT workspace_id, counted.seq, '{event}', 'message', id, '{_data()}', now(), conversation_id, '{actor_type}',
            {actor}
        FROM kept, counted"""


def _data() -> str:
    """A message as the event log tells it; its instants without colons, which pgbench would take for variables."""
    id_ = uuid.UUID(int=7 << 76 | 2 << 62)
    view = ConversationMessageView(
        id=id_,
        conversation_id=id_,
        direction="inbound",
        content=_TEXT,
        sender_type="contact",
        sender_id=id_,
        meta=_META,
        status="received",
        provider="twilio",
        provider_message_id="SM" + "0" * 32,
        phone_number_id=id_,
        from_address=f"+{FIRST_PHONE}",
        to_address=OUR_NUMBER,
        created_at=datetime(2026, 1, 1, tzinfo=UTC),
        updated_at=datetime(2026, 1, 1, tzinfo=UTC),
    )
    return json.dumps(msgspec.json.decode(msgspec.json.encode(view))).replace("00:00:00", "00.00.00")


def _id(town: Town) -> str:
    """The id of the workspace at hand, of its connection and of its number."""
    return f"('{town.id_begins}' || :w)::uuid"


def _line(statement: str) -> str:
    return " ".join(statement.split()) + ";\n"


_PERSON = "('00000000-0000-7000-8000-' || :c)::uuid"  # the contact at hand, and its conversation
_TEXT = "Hello, is the 3pm slot still open? We would be two, and one of us brings a dog. Thanks - Jane"
_META = {
    "fromCountry": "US",
    "toCity": "SAN FRANCISCO",
    "toState": "CA",
    "toZip": "94105",
    "toCountry": "US",
    "account": ACCOUNT,
    "segments": 2,
}
