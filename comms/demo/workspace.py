"""A workspace to try comms with: a connection to each provider, a number each, and a token."""

import asyncio
import os
import secrets
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from comms import connections, contacts, credentials, workspaces
from comms.database import Database
from comms.demo.written import CUSTOMER, Demo, DemoConnection, base_url, make_room, read, write
from comms.embedded import locks
from comms.embedded.errors import explained
from comms.errors import CannotRun
from comms.settings import Settings
from comms.simulators import sendgrid, wire
from comms.vault import Vault
from models.base import now
from models.communications import Conversation, ConversationMessage, WorkspaceMailAddress, WorkspacePhoneNumber
from models.core import Workspace, WorkspaceApiKey, WorkspaceMember

SLUG = "demo"
PATIENCE_SECONDS = 30.0  # with another start over the same folder
EMAIL = "owner@demo.example"
NUMBERS = {"twilio": "+14155550100", "signalwire": "+14155550101"}
EMAIL_ADDRESS = "support@demo.example"


async def make(settings: Settings, database: Database) -> Demo:
    """The demo workspace exists, and demo.json says how to use it; what an earlier start made is used again."""
    make_room(settings.data_dir)  # before anything is committed that could not be told
    async with _nobody_else_in(settings.data_dir):
        made = await _still_there(read(settings.data_dir), database)
        if made is None:
            async with database.everywhere() as db:
                made = await _begin(db, Vault(settings.security))
        made.base_url = base_url(settings)
        made.public_url = settings.server.public_url
        write(made, settings.data_dir)
    return made


@asynccontextmanager
async def _nobody_else_in(data_dir: Path) -> AsyncIterator[None]:
    """Two that start at once make one demo: the second finds what the first has written.

    ``CannotRun`` when the first does not get there.
    """
    path, until = data_dir / "demo.lock", time.monotonic() + PATIENCE_SECONDS
    with explained(path):
        # The kernel tells nobody when a lock is free, and a thread that waited for it could not be called off.
        while (lock := locks.take(path)) is None:
            if time.monotonic() > until:
                raise CannotRun(
                    f"another comms has been making the demo in {data_dir} for {PATIENCE_SECONDS:.0f} s: see what holds"
                    " it up, end it, or take another --data-dir"
                )
            await asyncio.sleep(0.05)
    try:
        yield
    finally:
        os.close(lock)


async def _still_there(made: Demo | None, database: Database) -> Demo | None:
    if made is None:
        return None
    try:
        identity = await credentials.identify(database, made.access_token)
    except credentials.Unauthenticated:
        return None
    async with database.everywhere() as db:
        known = set(
            await db.scalars(select(WorkspaceApiKey.id).where(WorkspaceApiKey.workspace_id == identity.workspace_id))
        )
    return made if {connection.id for connection in made.connections} <= known else None


async def _begin(db: AsyncSession, vault: Vault) -> Demo:
    """A fresh demo; one whose demo.json was lost is left alone under another name."""
    taken = await db.scalar(select(func.count()).where(Workspace.slug.startswith(SLUG)))
    workspace, member = await workspaces.found(
        db, name="Demo", slug=f"{SLUG}-{taken + 1}" if taken else SLUG, email=EMAIL, first_name="Demo"
    )
    _, token = await credentials.issue(db, member, "demo")
    made = Demo(
        base_url="",
        public_url="",
        workspace_id=workspace.id,
        user_id=member.user_id,
        email=EMAIL,
        access_token=token,
        connections=[],
    )
    for provider, secret in _secrets().items():
        row = await connections.connect(
            db,
            vault,
            workspace_id=workspace.id,
            provider=provider,
            name=f"Demo {provider}",
            secret=secret,
            created_by=member.user_id,
        )
        made.connections.append(await _line(db, row, provider, secret))
    await _said_before(db, made, member)
    return made


async def _line(db: AsyncSession, row: WorkspaceApiKey, provider: str, secret: dict[str, Any]) -> DemoConnection:
    if provider not in NUMBERS:
        db.add(
            WorkspaceMailAddress(
                workspace_id=row.workspace_id,
                connection_id=row.id,
                address=EMAIL_ADDRESS,
                friendly_name="Demo Support",
            )
        )
        await db.flush()
        return DemoConnection(row.id, provider, secret, email_address=EMAIL_ADDRESS)
    number = WorkspacePhoneNumber(
        workspace_id=row.workspace_id,
        connection_id=row.id,
        phone_number=NUMBERS[provider],
        friendly_name=f"Demo {provider}",
        provider=provider,
    )
    db.add(number)
    await db.flush()
    return DemoConnection(row.id, provider, secret, phone_number=NUMBERS[provider], phone_number_id=number.id)


def _secrets() -> dict[str, dict[str, Any]]:
    """Accounts that exist nowhere, with secrets that nobody else has."""
    event_public, event_private = sendgrid.new_keys()
    parse_public, parse_private = sendgrid.new_keys()
    return {
        "twilio": {"accountSid": "AC" + "a" * 32, "authToken": secrets.token_hex(16)},
        "signalwire": {
            "projectId": "00000000-0000-4000-8000-00000000aaaa",
            "signingKey": "PSK" + secrets.token_hex(16),
            "apiToken": "PT" + secrets.token_hex(16),
            "spaceUrl": "demo.signalwire.com",
        },
        "sendgrid": {
            "eventPublicKey": event_public,
            "eventPrivateKey": event_private,
            "parsePublicKey": parse_public,
            "parsePrivateKey": parse_private,
            "apiKey": "SG." + secrets.token_urlsafe(16),
        },
    }


async def _said_before(db: AsyncSession, made: Demo, member: WorkspaceMember) -> None:
    """One conversation with a text already sent, so that a delivery report has something to be about."""
    line = made.connection("twilio")
    contact = await contacts.create(
        db, made.workspace_id, {"first_name": "Jane", "last_name": "Doe", "phone": CUSTOMER, "source": "demo"}
    )
    at = now()
    conversation = Conversation(
        workspace_id=made.workspace_id,
        contact_id=contact.id,
        channel="sms",
        phone_number_id=line.phone_number_id,
        message_count=1,
        last_message_at=at,
    )
    db.add(conversation)
    await db.flush()
    db.add(
        ConversationMessage(
            workspace_id=made.workspace_id,
            conversation_id=conversation.id,
            direction="outbound",
            content="Your table for two is booked for 7pm. See you tonight!",
            sender_type="user",
            sender_user_id=member.user_id,
            status="sent",
            sent_at=at,
            provider="twilio",
            provider_message_id=wire.sid("SM"),
            connection_id=line.id,
            phone_number_id=line.phone_number_id,
            from_address=NUMBERS["twilio"],
            to_address=CUSTOMER,
        )
    )
    await db.flush()
