"""The numbers people reach a business on."""

from datetime import datetime
from typing import Annotated, Any

import msgspec
from litestar import post
from litestar.params import JSONBody
from sqlalchemy.ext.asyncio import AsyncSession

from comms import connections
from comms.calls import numbers as stories
from comms.credentials import Identity
from handlers.given import Asker, Db, RowId
from handlers.guards import administrator, reader
from handlers.resource import crud
from models.communications import WorkspacePhoneNumber, WorkspacePhoneNumberView


async def create_number(db: AsyncSession, identity: Identity, values: dict[str, Any]) -> WorkspacePhoneNumber:
    """A number of the provider its connection is to."""
    await connections.expect(db, values["connection_id"], values["provider"])
    values["voice_flow"] = await stories.lawful(db, identity.workspace_id, values["voice_flow"])
    row = WorkspacePhoneNumber(workspace_id=identity.workspace_id, **values)
    db.add(row)
    return row


async def change_number(
    db: AsyncSession, identity: Identity, row: WorkspacePhoneNumber, values: dict[str, Any]
) -> None:
    """As before, a number of the provider its connection is to."""
    if "voice_flow" in values:
        values["voice_flow"] = await stories.lawful(db, identity.workspace_id, values["voice_flow"])
    for name, value in values.items():
        setattr(row, name, value)
    await connections.expect(db, row.connection_id, row.provider)


numbers = crud(
    "/workspace-phone-numbers",
    WorkspacePhoneNumber,
    WorkspacePhoneNumberView,
    search=("phone_number", "friendly_name"),
    filters=("phone_number", "provider", "status", "connection_id"),
    who_writes=administrator,
    create=create_number,
    change=change_number,
)


class VoiceFlowTrial(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """What is to be previewed: another flow than the number's, or the hours of one moment only."""

    voice_flow: (
        Annotated[
            dict[str, Any],
            msgspec.Meta(
                description="A flow to try; without one it is the number's own.",
                examples=[{"start": "message", "steps": {"message": {"type": "voicemail"}}}],
            ),
        ]
        | None
    ) = None
    at: (
        Annotated[
            datetime,
            msgspec.Meta(description="When the call comes; without it the hours of every day are told."),
        ]
        | None
    ) = None


class VoiceFlowPreview(msgspec.Struct, rename="camel"):
    """What a caller would hear, in lines that are indented below what leads to them."""

    lines: Annotated[
        list[str], msgspec.Meta(description="What is heard, line by line.", examples=[["“Welcome to Acme.”"]])
    ]


@post("/{row_id:uuid}/voice-flow-preview", operation_id="preview_voice_flow", status_code=200, guards=[reader])
async def preview(db: Db, identity: Asker, row_id: RowId, data: JSONBody[VoiceFlowTrial]) -> VoiceFlowPreview:
    """What a caller of this number would hear: of its own flow, or of one that is tried. Nothing is kept."""
    row = await numbers.find(db, identity, row_id)
    document = row.voice_flow if data.voice_flow is None else data.voice_flow
    return VoiceFlowPreview(await stories.heard(db, identity.workspace_id, document, data.at))


routes = [numbers.router(preview)]
