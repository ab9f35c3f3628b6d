"""What websites show to chat with us: where it may stand, what it asks, when somebody answers, and its secret."""

import re
import secrets
import uuid
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta
from sqlalchemy import delete, select
from sqlalchemy.ext.asyncio import AsyncSession

from comms import jobs, reading
from comms.calls.hours import Holiday, Span, Weekday, is_open
from comms.database import Database
from comms.errors import Conflict, Invalid, Missing
from comms.media import REMOVE
from comms.vault import Sealed, Unsealable, Vault
from models.base import new_id, now
from models.communications import ChatWidget, Upload, Visitor
from models.core import Workspace
from models.types import TimeZone

PREFIX = "cw_"
SHORTEST_SECRET, LONGEST_SECRET = 16, 200
OWN_FIELDS = ("name", "email", "phone")

_ORIGIN = re.compile(r"https?://(\*\.)?[a-z0-9]([a-z0-9.-]*[a-z0-9])?(:[0-9]{1,5})?")
_COLOUR = re.compile(r"#[0-9a-fA-F]{6}")
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,39}")
_KEY = re.compile(r"[\w-]{1,64}", re.ASCII)


class Hours(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """When somebody answers."""

    schedule: dict[Weekday, Annotated[tuple[Span, ...], Meta(max_length=10)]]
    holidays: Annotated[tuple[Holiday, ...], Meta(max_length=366)] = ()
    timezone: str | None = None


class Question(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """Something a visitor is asked before the first message."""

    name: Annotated[str, Meta(min_length=1, max_length=40)]
    label: Annotated[str, Meta(min_length=1, max_length=200)]
    required: bool = False


class Sealing(msgspec.Struct, rename="camel", omit_defaults=True):
    """What is sealed: the secret, and the one that is to come."""

    current: str
    next: str | None = None


async def create(db: AsyncSession, workspace_id: uuid.UUID, values: Mapping[str, Any]) -> ChatWidget:
    """A widget with a key of its own; raises ``Invalid``."""
    row = ChatWidget(workspace_id=workspace_id, id=new_id(), key=PREFIX + secrets.token_urlsafe(15))
    await change(db, row, values)
    db.add(row)
    return row


async def change(db: AsyncSession, row: ChatWidget, values: Mapping[str, Any]) -> None:
    """The widget has these values; raises ``Invalid`` naming all that is wrong with them."""
    values = dict(values)
    wrong: dict[str, str] = {}
    if "allowed_origins" in values:
        values["allowed_origins"] = _origins(values["allowed_origins"], wrong)
    for name in ("texts", "colours"):
        _check_words(name, values.get(name, {}), wrong)
    if values.get("hours") is not None:
        hours = reading.read(Hours, values["hours"], "hours")
        try:
            TimeZone().normalise(hours.timezone or "UTC")
        except ValueError as error:
            wrong["hours.timezone"] = str(error)
    if "pre_chat_fields" in values:
        _check_questions(values["pre_chat_fields"], wrong)
    if wrong:
        raise Invalid(wrong)
    for name, value in values.items():
        setattr(row, name, value)
    if row.continues_by == "sms" and row.phone_number_id is None:
        raise Invalid({"phoneNumberId": "is required where chats go on by sms"})
    if row.continues_by == "email" and row.mail_address_id is None:
        raise Invalid({"mailAddressId": "is required where chats go on by email"})


def _origins(said: list[str], wrong: dict[str, str]) -> list[str]:
    origins = [one.strip().lower().rstrip("/") for one in said]
    if len(origins) > 100:
        wrong["allowedOrigins"] = "must be at most 100"
    for position, origin in enumerate(origins):
        if not _ORIGIN.fullmatch(origin):
            wrong[f"allowedOrigins[{position}]"] = "is not an origin, such as https://shop.example.com"
    return list(dict.fromkeys(origins))


def _check_words(name: str, said: Mapping[str, str], wrong: dict[str, str]) -> None:
    if len(said) > 50:
        wrong[name] = "must have at most 50 names"
    for key, value in said.items():
        if not _NAME.fullmatch(key):
            wrong[f"{name}.{key[:80]}"] = "is no name: letters, digits and underscores, 40 at most"
        elif name == "colours" and not _COLOUR.fullmatch(value):
            wrong[f"{name}.{key}"] = "is not a colour, such as #0a7d55"
        elif len(value) > 2_000:
            wrong[f"{name}.{key}"] = "must be at most 2000 characters"


def _check_questions(said: list[Any], wrong: dict[str, str]) -> None:
    if len(said) > 20:
        wrong["preChatFields"] = "must be at most 20"
        return
    names = [question.name for question in reading.read_all(Question, said, "preChatFields")]
    for position, name in enumerate(names):
        if not _NAME.fullmatch(name):
            wrong[f"preChatFields[{position}].name"] = "is no name: letters, digits and underscores"
        elif name in names[:position]:
            wrong[f"preChatFields[{position}].name"] = "is asked twice"


async def remove(db: AsyncSession, row: ChatWidget) -> None:
    """The widget is gone with its visitors and the files they brought; what was said stays in its conversations."""
    theirs = select(Visitor.id).where(Visitor.workspace_id == row.workspace_id, Visitor.widget_id == row.id)
    keys = await db.scalars(
        delete(Upload)
        .where(Upload.workspace_id == row.workspace_id, Upload.visitor_id.in_(theirs))
        .returning(Upload.storage_key)
        .execution_options(synchronize_session=False)
    )
    await jobs.enqueue(db, REMOVE, [{"storageKey": key} for key in keys])


# Whom it serves


async def find(database: Database, key: str) -> ChatWidget | None:
    """The active widget of that key, whosever it is."""
    if not _KEY.fullmatch(key):
        return None
    async with database.everywhere() as db:
        found: ChatWidget | None = await db.scalar(
            select(ChatWidget)
            .join(Workspace, (Workspace.id == ChatWidget.workspace_id) & Workspace.is_active)
            .where(ChatWidget.key == key, ChatWidget.is_active)
        )
        return found


def admits(origins: list[str], origin: str | None) -> bool:
    """Whether a page of this origin may use it.

    Every browser names the origin of a page that asks across origins, and no page can change that; whoever names none
    is no page, and could name any.
    """
    if origin is None:
        return True
    origin = origin.strip().lower()
    if origin in origins:
        return True
    parts = urlsplit(origin)
    for allowed in origins:
        scheme, _, rest = allowed.partition("://*.")
        if rest and parts.scheme == scheme and parts.netloc.endswith(f".{rest}"):
            return True
    return False


def keeps_hours(row: ChatWidget, zone: str, at: datetime | None = None) -> bool:
    """Whether it is a time at which somebody answers."""
    if row.hours is None:
        return True
    hours = msgspec.convert(row.hours, Hours)
    return is_open(hours.schedule, hours.holidays, hours.timezone or zone, at or now())


# Its secret


def put_secret(row: ChatWidget, vault: Vault, secret: str) -> None:
    """Identities are proved with this secret, and with no other."""
    _seal(row, vault, Sealing(_checked(secret)))


def announce(row: ChatWidget, vault: Vault, secret: str) -> None:
    """Identities proved with this next secret are believed too."""
    _seal(row, vault, Sealing(_opened(row, vault).current, _checked(secret)))


def rotate(row: ChatWidget, vault: Vault) -> None:
    """The next secret is the current one, and the one before proves nothing any more."""
    opened = _opened(row, vault)
    if opened.next is None:
        raise Conflict("There is no next secret to rotate to: PUT it at next-secret first.")
    _seal(row, vault, Sealing(opened.next))


def call_off(row: ChatWidget, vault: Vault) -> None:
    """Only the current secret proves identities."""
    opened = _opened(row, vault)
    if opened.next is None:
        raise Missing("This widget has no next secret.")
    _seal(row, vault, Sealing(opened.current))


def secrets_of(row: ChatWidget, vault: Vault) -> list[str]:
    """What identities may be proved with: nothing, one secret, or two during a rotation."""
    if row.encrypted_secret is None:
        return []
    opened = _opened(row, vault)
    return [opened.current, *([opened.next] if opened.next else [])]


def _checked(secret: str) -> str:
    if not SHORTEST_SECRET <= len(secret) <= LONGEST_SECRET or not secret.isascii():
        raise Invalid({"secret": f"must be {SHORTEST_SECRET} to {LONGEST_SECRET} characters of ASCII"})
    return secret


def _seal(row: ChatWidget, vault: Vault, sealing: Sealing) -> None:
    sealed = vault.seal(msgspec.json.encode(sealing), row.workspace_id, row.id)
    row.encryption_key_id, row.iv = sealed.key_id, sealed.iv
    row.encrypted_secret, row.auth_tag = sealed.encrypted_key, sealed.auth_tag
    row.last_four = sealing.current[-4:]
    row.next_last_four = sealing.next and sealing.next[-4:]


def _opened(row: ChatWidget, vault: Vault) -> Sealing:
    if row.encrypted_secret is None or row.iv is None or row.auth_tag is None or row.encryption_key_id is None:
        raise Conflict("This widget has no secret yet: PUT it at secret first.")
    try:
        sealed = Sealed(row.encryption_key_id, row.iv, row.encrypted_secret, row.auth_tag)
        return msgspec.json.decode(vault.open(sealed, row.workspace_id, row.id), type=Sealing)
    except Unsealable as error:
        raise Conflict(f"The secret cannot be opened: {error}. Or set it anew.") from None
