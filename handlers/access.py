"""What members prove themselves with: access tokens, and tickets for the websocket."""

import uuid
from datetime import datetime
from typing import Annotated, Any

import msgspec
from litestar import Router, delete, post
from litestar.params import JSONBody
from sqlalchemy import ColumnElement, true
from sqlalchemy.ext.asyncio import AsyncSession

from comms import credentials, members
from comms.credentials import Identity
from handlers.given import Asker, Db, RowId
from handlers.guards import person, reader, writer
from handlers.resource import READ, crud
from models.base import now
from models.core import AccessToken, AccessTokenView, TokenScope


class NewAccessToken(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """A token to be made. Without ``scopes`` it may do all that its member's role may.

    With an ``agentId`` it is that agent's: it opens `/api/v1/agent` and the websocket, and nothing else.
    """

    name: Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
    scopes: Annotated[list[TokenScope], msgspec.Meta(max_length=3)] = []
    expires_at: datetime | None = None
    agent_id: Annotated[uuid.UUID, msgspec.Meta(description="The agent that is to have it.")] | None = None


class IssuedAccessToken(AccessTokenView, kw_only=True):
    """A new token, and this once its plain text."""

    token: str


class WsTicketView(msgspec.Struct, rename="camel"):
    """A ticket for one websocket: ``/ws?ticket=…``."""

    ticket: str
    expires_at: datetime


def own(identity: Identity) -> ColumnElement[bool]:
    """Members see their own tokens, administrators everybody's."""
    return true() if identity.role in ("owner", "admin") else AccessToken.user_id == identity.user_id


async def change_token(db: AsyncSession, identity: Identity, row: AccessToken, values: dict[str, Any]) -> None:
    """Renamed by whose it is, or by an administrator who does not stand below them."""
    await members.expect_not_above(db, identity, row.user_id)
    for name, value in values.items():
        setattr(row, name, value)


tokens = crud(
    "/access-tokens",
    AccessToken,
    AccessTokenView,
    search=("name",),
    filters=("user_id", "agent_id"),
    verbs=(*READ, "change"),
    whose=own,
    change=change_token,
)
tokens.new = NewAccessToken


@post("/", operation_id="create_access_token", guards=[writer])
async def issue(db: Db, identity: Asker, data: JSONBody[NewAccessToken]) -> IssuedAccessToken:
    """Make a token for yourself, or for an agent that you may write. Its text is in this answer and nowhere else."""
    row, plain = await credentials.issue_for(db, identity, data.name, data.scopes, data.expires_at, data.agent_id)
    view = await tokens.tell(db, identity, "created", row)
    return IssuedAccessToken(**msgspec.structs.asdict(view), token=plain)


@delete("/{row_id:uuid}", operation_id="revoke_access_token", guards=[person])
async def revoke(db: Db, identity: Asker, row_id: RowId) -> None:
    """The token opens nothing any more; its row stays, with the time."""
    row = await tokens.find(db, identity, row_id, to_change=True)
    await members.expect_not_above(db, identity, row.user_id)
    if row.revoked_at is None:
        row.revoked_at = now()
        await tokens.tell(db, identity, "revoked", row)


@post("/ws-tickets", operation_id="create_ws_ticket", guards=[reader])
async def ticket(db: Db, identity: Asker) -> WsTicketView:
    """A ticket that opens one websocket within 30 seconds, for clients that cannot send a first frame."""
    expires_at = now() + credentials.TICKET_LIFE
    return WsTicketView(await credentials.issue_ticket(db, identity), expires_at)


routes = Router("/", tags=["access"], route_handlers=[tokens.router(issue, revoke), ticket])
