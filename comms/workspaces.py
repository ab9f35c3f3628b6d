"""A workspace begins: its row, its place in the event log, and the person who owns it. And what is set for it."""

import re
import uuid
from collections.abc import Callable, Mapping
from typing import Any

import msgspec
import phonenumbers
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from comms import reading
from comms.consent import hours
from comms.errors import Invalid
from comms.ownership import settings as owning
from models.base import now
from models.core import User, Workspace, WorkspaceMember
from models.events import EventCounter
from models.types import spelt, time_zones


async def found(
    db: AsyncSession,
    *,
    name: str,
    slug: str,
    email: str,
    first_name: str | None = None,
    workspace_id: uuid.UUID | None = None,
) -> tuple[Workspace, WorkspaceMember]:
    """The workspace exists and ``email`` owns it. Across workspaces: the transaction is ``database.everywhere()``."""
    workspace = Workspace(name=name, slug=slug)
    if workspace_id is not None:
        workspace.id = workspace_id
    db.add(workspace)
    await db.flush()
    db.add(EventCounter(workspace_id=workspace.id))
    return workspace, await enter(db, workspace.id, email=email, role="owner", first_name=first_name)


async def enter(
    db: AsyncSession, workspace_id: uuid.UUID, *, email: str, role: str, first_name: str | None = None
) -> WorkspaceMember:
    """The person with that e-mail address is a member; they are a user from now on if they were none."""
    user = await db.scalar(select(User).where(func.lower(User.email) == spelt(email).lower()))
    if user is None:
        user = User(email=email, first_name=first_name)
        db.add(user)
        await db.flush()
    member = WorkspaceMember(workspace_id=workspace_id, user_id=user.id, role=role, joined_at=now())
    db.add(member)
    await db.flush()
    return member


async def find_member(db: AsyncSession, workspace_id: uuid.UUID, email: str) -> WorkspaceMember | None:
    """The membership of whoever has that e-mail address, if they have one."""
    member: WorkspaceMember | None = await db.scalar(
        select(WorkspaceMember)
        .join(User, User.id == WorkspaceMember.user_id)
        .where(WorkspaceMember.workspace_id == workspace_id, func.lower(User.email) == spelt(email).lower())
    )
    return member


MOST_SECONDS = 315_360_000  # ten years, as the table's CHECK has it
LONGEST_PREFIX = 20
_LOCALE = re.compile(r"[a-z]{2,3}(-[A-Z][a-z]{3})?(-([A-Z]{2}|[0-9]{3}))?")


def settle(row: Workspace, sent: Mapping[str, Any]) -> None:
    """The settings that are named have these values, those named with null are unset, the others stay.

    ``Invalid`` names every one that is unknown or wrong.
    """
    errors: dict[str, str] = {}
    for name, value in sent.items():
        if name in _SHAPES:
            errors |= _wrong_in(_SHAPES[name], value, f"settings.{name}")
        elif name not in _LAWS:
            errors[f"settings.{name}"] = "is not a setting: keep what is yours under settings.custom"
        elif value is not None and (reason := _LAWS[name](value)):
            errors[f"settings.{name}"] = reason
    if errors:
        raise Invalid(errors)
    merged = {**row.settings, **sent}
    row.settings = {name: value for name, value in merged.items() if value is not None}


def _wrong_in(shape: type[msgspec.Struct], value: Any, place: str) -> dict[str, str]:
    try:
        if value is not None:
            reading.read(shape, value, place)
    except Invalid as error:
        return error.errors
    return {}


def _seconds(value: Any) -> str | None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return None if is_number and 0 <= value <= MOST_SECONDS else f"must be a number of seconds from 0 to {MOST_SECONDS}"


def _object(value: Any) -> str | None:
    return None if isinstance(value, dict) else "must be an object"


def _switches(value: Any) -> str | None:
    is_switches = isinstance(value, dict) and all(isinstance(on, bool) for on in value.values())
    return None if is_switches else "must be an object of true and false"


def _prefix(value: Any) -> str | None:
    is_short = isinstance(value, str) and len(value) <= LONGEST_PREFIX
    if not is_short or not value.isprintable() or value.isspace():
        return f"must be text of at most {LONGEST_PREFIX} characters, in one line and not blank"
    return None


def _timezone(value: Any) -> str | None:
    return (
        None if isinstance(value, str) and value in time_zones() else "is not an IANA time zone, such as Europe/Paris"
    )


def _country(value: Any) -> str | None:
    known = isinstance(value, str) and value in phonenumbers.SUPPORTED_REGIONS
    return None if known else "is not a country's two capital letters, such as US"


def _locale(value: Any) -> str | None:
    known = isinstance(value, str) and _LOCALE.fullmatch(value)
    return None if known else "is not a language tag, such as en or de-CH"


LONGEST_ANSWER = 1600


def _answers(value: Any) -> str | None:
    is_known = (
        isinstance(value, dict)
        and value.keys() <= {"stop", "start", "help"}
        and all(isinstance(text, str) and 0 < len(text.strip()) <= LONGEST_ANSWER for text in value.values())
    )
    return (
        None if is_known else f"must be an object of stop, start and help, texts of at most {LONGEST_ANSWER} characters"
    )


MOST_REPLIES = 99_999


def _replies(value: Any) -> str | None:
    is_number = isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MOST_REPLIES
    return None if is_number else f"must be a whole number from 0 to {MOST_REPLIES}"


_LAWS: Mapping[str, Callable[[Any], str | None]] = {
    "reopenWithin": _seconds,
    "branding": _object,
    "features": _switches,
    "notifications": _object,
    "invoicePrefix": _prefix,
    "timezone": _timezone,
    "defaultCountry": _country,
    "locale": _locale,
    "quietHours": hours.mistake,
    "keywordAnswers": _answers,
    "automaticRepliesPerHour": _replies,
    "custom": _object,
}
_SHAPES: Mapping[str, type[msgspec.Struct]] = {"handoffs": owning.HandoffSettings, "watchdog": owning.WatchdogSettings}
"""Every setting is in one of these: with what says why a value is refused, or with its shape."""
