"""Connections, numbers, conversations and messages as tests need them."""

import uuid
from typing import Any

from comms import connections
from comms.directory import Connection
from comms.service import Service
from comms.simulators import sendgrid
from models.base import now
from models.communications import Conversation, ConversationMessage, WorkspaceMailAddress, WorkspacePhoneNumber

TWILIO = {"accountSid": "AC" + "a" * 32, "authToken": "twilio-test-auth-token"}
SIGNALWIRE = {"projectId": "00000000-0000-4000-8000-00000000aaaa", "signingKey": "PSKtest1234567890abcdef"}
SECRETS = {"twilio": TWILIO, "signalwire": SIGNALWIRE}
OUR_NUMBER = "+14155550100"
OUR_MAIL = "support@inbound.example.com"


async def connection(
    service: Service, workspace_id: uuid.UUID, provider: str = "twilio", secret: dict[str, Any] | None = None
) -> Connection:
    """A connection that webhooks are accepted for from now on."""
    async with service.database.everywhere() as db:
        row = await connections.connect(
            db,
            service.vault,
            workspace_id=workspace_id,
            provider=provider,
            name=provider,
            secret=secret or SECRETS[provider],
        )
    await service.directory.load()
    found = service.directory.find(str(row.id))
    assert found is not None
    return found


async def number(
    service: Service, workspace_id: uuid.UUID, phone_number: str = OUR_NUMBER, provider: str = "twilio", **more: Any
) -> WorkspacePhoneNumber:
    """A number of the workspace."""
    row = WorkspacePhoneNumber(workspace_id=workspace_id, phone_number=phone_number, provider=provider, **more)
    async with service.database.everywhere() as db:
        db.add(row)
    return row


async def conversation(
    service: Service, workspace_id: uuid.UUID, contact_id: uuid.UUID | None = None, channel: str = "sms", **more: Any
) -> Conversation:
    """A conversation, of nobody unless a contact is named."""
    row = Conversation(workspace_id=workspace_id, contact_id=contact_id, channel=channel, **more)
    async with service.database.everywhere() as db:
        db.add(row)
    return row


async def sent(
    service: Service,
    workspace_id: uuid.UUID,
    provider_message_id: str,
    *,
    status: str = "queued",
    provider: str = "twilio",
    conversation_id: uuid.UUID | None = None,
    **more: Any,
) -> ConversationMessage:
    """A message we sent, as the provider has acknowledged it."""
    if conversation_id is None:
        conversation_id = (await conversation(service, workspace_id)).id
    row = ConversationMessage(
        workspace_id=workspace_id,
        conversation_id=conversation_id,
        direction="outbound",
        content="See you at 7pm",
        sender_type=more.pop("sender_type", "system"),
        status=status,
        provider=provider,
        provider_message_id=provider_message_id,
        created_at=now(),
        **more,
    )
    async with service.database.everywhere() as db:
        db.add(row)
    return row


async def sendgrid_connection(service: Service, workspace_id: uuid.UUID) -> Connection:
    """A connection to SendGrid whose webhooks the simulator can sign."""
    event_public, event_private = sendgrid.new_keys()
    parse_public, parse_private = sendgrid.new_keys()
    secret = {
        "eventPublicKey": event_public,
        "eventPrivateKey": event_private,
        "parsePublicKey": parse_public,
        "parsePrivateKey": parse_private,
        "apiKey": "SG.test",
    }
    return await connection(service, workspace_id, "sendgrid", secret)


async def mail_address(
    service: Service, workspace_id: uuid.UUID, address: str = OUR_MAIL, **more: Any
) -> WorkspaceMailAddress:
    """A mail address of the workspace."""
    row = WorkspaceMailAddress(workspace_id=workspace_id, address=address, **more)
    async with service.database.everywhere() as db:
        db.add(row)
    return row
