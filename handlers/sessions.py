"""Coming in: with a password, or by the link of an invitation. And the sessions that come of it."""

import uuid
from datetime import datetime
from typing import Annotated

import msgspec
from litestar import Router, delete, get, post
from litestar.params import FromPath, JSONBody
from sqlalchemy import ColumnElement

from comms import invitations
from comms import sessions as stories
from comms.credentials import Identity
from comms.errors import Conflict
from comms.invitations import Invited
from comms.passwords import LONGEST, SHORTEST
from comms.sessions import From, SignedIn
from handlers.given import Asker, Db, Here, Request, RowId
from handlers.guards import anybody, person, person_at
from handlers.problems import SIGNING_IN
from handlers.resource import READ, crud
from models.access import Session, SessionView


class NewSession(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """Who signs in; ``workspace`` is the slug of the one that is meant, where there are several."""

    email: Annotated[str, msgspec.Meta(min_length=1, max_length=320)]
    password: Annotated[str, msgspec.Meta(min_length=1, max_length=LONGEST)]
    workspace: (
        Annotated[str, msgspec.Meta(max_length=200, description="The slug of the workspace that is meant.")] | None
    ) = None


class InvitationAcceptance(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """Who accepts an invitation; the names are those of a new user, a known one has theirs."""

    password: Annotated[str, msgspec.Meta(min_length=SHORTEST, max_length=LONGEST)]
    first_name: Annotated[str, msgspec.Meta(max_length=200)] | None = None
    last_name: Annotated[str, msgspec.Meta(max_length=200)] | None = None


class SignedInWorkspace(msgspec.Struct, rename="camel"):
    """The workspace a session is in."""

    id: uuid.UUID
    name: str
    slug: str


class SignedInView(msgspec.Struct, rename="camel"):
    """A new session, and this once its token: `Authorization: Bearer cs_…`."""

    id: uuid.UUID
    token: str
    user_id: uuid.UUID
    expires_at: datetime
    workspace: SignedInWorkspace


def shown(signed_in: SignedIn) -> SignedInView:
    """What whoever has just signed in is told."""
    session, place = signed_in.session, signed_in.workspace
    workspace = SignedInWorkspace(place.id, place.name, place.slug)
    return SignedInView(session.id, signed_in.token, session.user_id, session.expires_at, workspace)


def origin_of(request: Request) -> From:
    """Where a request comes from, as the server in front of us tells it."""
    address = None if request.client is None else request.client.host
    return From(address, request.headers.get("user-agent"))


def own(identity: Identity) -> ColumnElement[bool]:
    """Everybody sees their own sessions, and nobody another's."""
    return Session.user_id == identity.user_id


sessions = crud("/sessions", Session, SessionView, verbs=READ, who_writes=person, whose=own)


@post("/", operation_id="create_session", guards=[anybody], responses=SIGNING_IN)
async def sign_in(service: Here, request: Request, data: JSONBody[NewSession]) -> SignedInView:
    """Sign in with e-mail address and password. A session lives for 14 days after its last use, and 90 at most.

    409 names the slugs, if you are a member of several workspaces and none is named. 429 after too many attempts.
    """
    signed_in = await stories.sign_in(
        service.database, service.passwords, data.email, data.password, data.workspace, origin_of(request)
    )
    return shown(signed_in)


@delete("/current", operation_id="delete_current_session", guards=[person])
async def sign_out(db: Db, identity: Asker) -> None:
    """The session that asks has ended."""
    if identity.session_id is None:
        raise Conflict("You did not come by a session: delete one of your sessions by its id.")
    await sessions.remove(db, identity, identity.session_id)


@delete("/{row_id:uuid}", operation_id="delete_session", guards=[person])
async def end(db: Db, identity: Asker, row_id: RowId) -> None:
    """The session has ended, and the sockets it opened close."""
    await sessions.remove(db, identity, row_id)


@get("/invitations/{token:str}", operation_id="read_invitation", guards=[anybody])
async def invitation(service: Here, token: FromPath[str]) -> Invited:
    """What an invitation's link is for. 404, in the same words, whatever is wrong with the link."""
    return await invitations.read(service.database, token)


@post("/invitations/{token:str}/acceptance", operation_id="accept_invitation", guards=[anybody], responses=SIGNING_IN)
async def accept(
    service: Here, request: Request, token: FromPath[str], data: JSONBody[InvitationAcceptance]
) -> SignedInView:
    """Become a member, once, and be signed in.

    Whoever is new here chooses `password`; who has one already proves it; who signs in otherwise sends a credential of
    theirs as `Authorization` besides, and `password` is not looked at.
    """
    signed_in = await invitations.accept(
        service.database,
        service.passwords,
        token,
        names={"first_name": data.first_name, "last_name": data.last_name},
        password=data.password,
        asker=await person_at(request),
        origin=origin_of(request),
    )
    return shown(signed_in)


routes = Router("/", tags=["access"], route_handlers=[sessions.router(sign_in, sign_out, end), invitation, accept])
