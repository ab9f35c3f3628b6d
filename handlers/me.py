"""Whoever asks: their profile, their preferences, and their password."""

import uuid
from datetime import datetime
from typing import Annotated, Literal

import msgspec
from litestar import Router, get, patch, put
from litestar.params import JSONBody
from sqlalchemy.ext.asyncio import AsyncSession

from comms import events, members, people
from comms.credentials import Identity
from comms.errors import Invalid
from comms.passwords import LONGEST, SHORTEST
from comms.permissions import level_of
from comms.sessions import From
from handlers import shapes
from handlers.given import Asker, Db, Here, Request
from handlers.guards import in_full, person, reader
from handlers.problems import TRIES
from models.core import Area, Level, Role, TokenScope, User, WorkspaceMemberView
from models.types import Phone, time_zones

Name = Annotated[str, msgspec.Meta(max_length=200)]
Link = Annotated[str, msgspec.Meta(max_length=1_000, pattern=r"^https?://[^\s]+$")]
Channel = Literal["email", "push", "sms", "in_app"]


class NotificationPreferences(msgspec.Struct, rename="camel", forbid_unknown_fields=True, omit_defaults=True):
    """By which ways somebody wants to be notified, and of what. What is not said is as we think best."""

    channels: (
        Annotated[list[Channel], msgspec.Meta(max_length=4, description="The ways they are told.", examples=[["push"]])]
        | msgspec.UnsetType
    ) = msgspec.UNSET
    mentions: Annotated[bool, msgspec.Meta(description="Of being mentioned.")] | msgspec.UnsetType = msgspec.UNSET
    assignments: Annotated[bool, msgspec.Meta(description="Of what they are assigned.")] | msgspec.UnsetType = (
        msgspec.UNSET
    )
    messages: Annotated[bool, msgspec.Meta(description="Of new messages.")] | msgspec.UnsetType = msgspec.UNSET
    sound: Annotated[bool, msgspec.Meta(description="Whether one hears it.")] | msgspec.UnsetType = msgspec.UNSET


class Preferences(msgspec.Struct, rename="camel", forbid_unknown_fields=True, omit_defaults=True):
    """How somebody likes it; the same in all of their workspaces."""

    theme: Literal["light", "dark", "system"] | msgspec.UnsetType = msgspec.UNSET
    timezone: Annotated[str, msgspec.Meta(max_length=100)] | msgspec.UnsetType = msgspec.UNSET
    notifications: NotificationPreferences | msgspec.UnsetType = msgspec.UNSET


class MyChange(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """What may change of a profile; ``preferences`` changes those it names."""

    first_name: Name | msgspec.UnsetType | None = msgspec.UNSET
    last_name: Name | msgspec.UnsetType | None = msgspec.UNSET
    avatar_url: Link | msgspec.UnsetType | None = msgspec.UNSET
    preferences: Preferences | msgspec.UnsetType = msgspec.UNSET


class NewPassword(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """A password to sign in with; ``oldPassword`` is required where there is one."""

    new_password: Annotated[str, msgspec.Meta(min_length=SHORTEST, max_length=LONGEST)]
    old_password: Annotated[str, msgspec.Meta(max_length=LONGEST)] | None = None


class MyPhone(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """The phone that calls are put through to; null for none."""

    phone: Annotated[str, msgspec.Meta(max_length=40, extra={"law": Phone().normalise})] | None


class ClerkToken(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """A session token of Clerk's: it proves whose Clerk account is meant."""

    token: Annotated[str, msgspec.Meta(min_length=1, max_length=8_000)]


class MeView(msgspec.Struct, rename="camel"):
    """A person to themselves, and what they are and may do in this workspace with this credential."""

    id: uuid.UUID
    email: str
    first_name: str | None
    last_name: str | None
    avatar_url: str | None
    preferences: Preferences
    last_login_at: datetime | None
    workspace_id: uuid.UUID
    role: Role
    permissions: dict[Area, Level]
    scopes: list[TokenScope]
    created_at: datetime
    updated_at: datetime


def shown(user: User, identity: Identity) -> MeView:
    """The person who asks, as they see themselves; ``permissions`` are those that hold, of every area."""
    areas: tuple[Area, ...] = ("agents", "packs", "billing", "members")
    return MeView(
        id=user.id,
        email=user.email,
        first_name=user.first_name,
        last_name=user.last_name,
        avatar_url=user.avatar_url,
        preferences=msgspec.convert(user.preferences, Preferences),
        last_login_at=user.last_login_at,
        workspace_id=identity.workspace_id,
        role=identity.role,
        permissions={area: level_of(identity.role, identity.permissions, area) for area in areas},
        scopes=list(identity.scopes),
        created_at=user.created_at,
        updated_at=user.updated_at,
    )


@get("/me", operation_id="get_me", guards=[reader])
async def read(db: Db, identity: Asker) -> MeView:
    """Who you are, how you like it, and what you may do here."""
    return shown(await _user(db, identity), identity)


@patch("/me", operation_id="change_me", guards=[person])
async def change(service: Here, identity: Asker, data: JSONBody[MyChange]) -> MeView:
    """Change your profile or your preferences, in every workspace you are a member of."""
    values = shapes.given(data)
    preferences = values.pop("preferences", None)
    if preferences is not None:
        timezone = preferences.timezone
        if timezone is not msgspec.UNSET and timezone not in time_zones():
            raise Invalid({"preferences.timezone": "is not an IANA time zone, such as Europe/Paris"})
        values["preferences"] = msgspec.to_builtins(preferences)
    return shown(await people.change(service.database, identity, values), identity)


@put("/me/password", operation_id="put_my_password", status_code=204, guards=[in_full], responses=TRIES)
async def put_password(service: Here, request: Request, identity: Asker, data: JSONBody[NewPassword]) -> None:
    """Sign in with this password from now on. All your sessions end, except the one that asks."""
    address = None if request.client is None else request.client.host
    origin = From(address, request.headers.get("user-agent"))
    await people.change_password(
        service.database, service.passwords, identity, data.old_password, data.new_password, origin
    )


@put("/me/phone", operation_id="put_my_phone", guards=[person])
async def put_phone(db: Db, identity: Asker, data: JSONBody[MyPhone]) -> WorkspaceMemberView:
    """Calls of this workspace that are yours to take ring there from now on.

    400 for a number of the workspace itself.
    """
    member = await members.of(db, identity)
    before = msgspec.convert(member, WorkspaceMemberView, from_attributes=True)
    await members.give_phone(db, member, data.phone)
    await db.flush()
    view = msgspec.convert(member, WorkspaceMemberView, from_attributes=True)
    if before.phone != view.phone:
        events.record(db, "workspace_member.updated", member, view, before=before)
    return view


@put("/me/clerk-user", operation_id="put_my_clerk_user", guards=[in_full])
async def put_clerk_user(service: Here, identity: Asker, data: JSONBody[ClerkToken]) -> MeView:
    """Come in by Clerk from now on, as whoever Clerk says `token` is of. 409 when that is somebody else here."""
    return shown(await people.link_clerk(service.database, service.clerk, identity, data.token), identity)


async def _user(db: AsyncSession, identity: Identity) -> User:
    return await db.get_one(User, identity.user_id)


routes = Router("/", tags=["core"], route_handlers=[read, change, put_password, put_phone, put_clerk_user])
