"""How a member wants to be told: of what, by which ways, and when not."""

import uuid
from collections.abc import Mapping
from datetime import datetime, time, timedelta
from typing import Annotated, Any, get_args
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec
from sqlalchemy import select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from comms import events
from comms.consent.hours import QuietHours
from comms.identity import Identity
from models.base import ReadOnly, View, now
from models.communications import DigestRhythm, NotificationKind, NotificationPreference
from models.core import User, Workspace

KINDS: tuple[NotificationKind, ...] = get_args(NotificationKind)
GATHERING = timedelta(seconds=60)
"""How long an immediate mail waits, so that ten messages are not ten mails."""


class Ways(msgspec.Struct, rename="camel", frozen=True):
    """By which ways somebody is told of something."""

    in_app: Annotated[bool, msgspec.Meta(description="Shown in the app, and counted.", examples=[True])] = True
    email: Annotated[bool, msgspec.Meta(description="Told in the next digest by mail.", examples=[True])] = True
    push: Annotated[bool, msgspec.Meta(description="Pushed to their devices.", examples=[True])] = True


class SomeWays(msgspec.Struct, rename="camel", forbid_unknown_fields=True, omit_defaults=True):
    """By which ways somebody wants to be told of something; what is not said is as by default."""

    in_app: Annotated[bool, msgspec.Meta(description="Show it in the app, and count it.")] | msgspec.UnsetType = (
        msgspec.UNSET
    )
    email: Annotated[bool, msgspec.Meta(description="Tell it in the next digest.")] | msgspec.UnsetType = msgspec.UNSET
    push: Annotated[bool, msgspec.Meta(description="Push it to their devices.")] | msgspec.UnsetType = msgspec.UNSET


DEFAULTS: Mapping[NotificationKind, Ways] = {kind: Ways(email=kind != "message") for kind in KINDS}
"""Every customer's message by mail would be a second inbox; it is in the app and on the phone."""

# What ``users.preferences.notifications`` (at /me, for all workspaces) says, and of which kinds.
_OF_USERS: Mapping[str, NotificationKind] = {
    "mentions": "mention",
    "assignments": "assignment",
    "messages": "message",
}
_CHANNELS: Mapping[str, str] = {"in_app": "in_app", "email": "email", "push": "push"}


class Clock(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """From when until when nothing is pushed or mailed, by the member's own clock."""

    start: Annotated[
        str,
        msgspec.Meta(pattern=r"^([01]\d|2[0-3]):[0-5]\d\Z", description="When it begins.", examples=["22:00"]),
    ]
    end: Annotated[
        str,
        msgspec.Meta(pattern=r"^([01]\d|2[0-3]):[0-5]\d\Z", description="When it is over.", examples=["07:00"]),
    ]


class NotificationPreferenceView(View, kw_only=True):
    """How the member who asks is told in this workspace: every kind is there, as it holds.

    ``timezone`` is the member's own, else the workspace's, else UTC. During ``quietHours`` the app still shows what
    happens; mail and push wait until they are over.
    """

    user_id: ReadOnly[uuid.UUID]
    kinds: Annotated[
        dict[NotificationKind, Ways],
        msgspec.Meta(
            description="By kind, whether it is shown in the app, mailed in a digest, and pushed.",
            examples=[{"message": {"inApp": True, "email": False, "push": True}}],
        ),
    ]
    digest: Annotated[
        DigestRhythm,
        msgspec.Meta(
            description="How often what is unread is mailed, all in one: `immediately` means a minute later.",
            examples=["hourly"],
        ),
    ]
    digest_hour: Annotated[
        int, msgspec.Meta(description="At which hour of the member's day a `daily` digest is sent.", examples=[8])
    ]
    quiet_hours: Annotated[Clock, msgspec.Meta(description="When nothing is mailed or pushed.")] | None = None
    timezone: ReadOnly[str]


class Plan(msgspec.Struct, frozen=True):
    """What holds for one member."""

    ways: Mapping[str, Ways]
    digest: DigestRhythm = "hourly"
    digest_hour: int = 8
    quiet: QuietHours | None = None
    zone: str = "UTC"

    def mail_due(self, kind: str, at: datetime) -> datetime | None:
        """When something of that kind, of now, is to be mailed; None for never."""
        if self.digest == "never" or not self.ways[kind].email:
            return None
        if self.digest == "immediately":
            return self.not_before(at + GATHERING)
        local = at.astimezone(ZoneInfo(self.zone))
        if self.digest == "hourly":
            return self.not_before(local.replace(minute=0, second=0, microsecond=0) + timedelta(hours=1))
        today = datetime.combine(local.date(), time(self.digest_hour), ZoneInfo(self.zone))
        due = today if today > local else today + timedelta(days=1)
        return self.not_before(due)

    def push_due(self, kind: str, at: datetime) -> datetime | None:
        """When it is to be pushed; None for never."""
        return self.not_before(at) if self.ways[kind].push else None

    def not_before(self, at: datetime) -> datetime:
        """``at``, or the end of the quiet hours it falls into."""
        return at if self.quiet is None else self.quiet.over_at(at, self.zone)


def plan_of(row: Any, person: Mapping[str, Any], workspace: Mapping[str, Any]) -> Plan:
    """What holds for a member: what they said here, else what they said of themselves, else the defaults.

    ``row`` is theirs of ``notification_preferences``, or one without any value.
    """
    said: Mapping[str, Any] = person.get("notifications") or {}
    ways: dict[str, Ways] = {}
    for kind in KINDS:
        values = msgspec.structs.asdict(DEFAULTS[kind])
        if "channels" in said:
            values = {way: values[way] and _CHANNELS[way] in said["channels"] for way in values}
        if any(of == kind and said.get(name) is False for name, of in _OF_USERS.items()):
            values = dict.fromkeys(values, False)
        here = (row.kinds or {}).get(kind, {})
        ways[kind] = Ways(**(values | {way: here[name] for way, name in _NAMES.items() if name in here}))
    quiet = None
    if row.quiet_start is not None:
        quiet = QuietHours(time.fromisoformat(row.quiet_start), time.fromisoformat(row.quiet_end))
    zone = _known(person.get("timezone") or workspace.get("timezone") or "UTC")
    return Plan(ways, row.digest or "hourly", 8 if row.digest_hour is None else row.digest_hour, quiet, zone)


def _known(zone: str) -> str:
    """The time zone, or UTC where the system has forgotten it since it was chosen."""
    try:
        ZoneInfo(zone)
    except (ValueError, OSError, ZoneInfoNotFoundError):
        return "UTC"
    return zone


_NAMES = {field.name: field.encode_name for field in msgspec.structs.fields(Ways)}


async def read(db: AsyncSession, identity: Identity) -> NotificationPreferenceView:
    """How the member who asks is told."""
    row = await db.get(NotificationPreference, (identity.workspace_id, identity.user_id))
    return await _shown(db, row or NotificationPreference(id=identity.user_id))


async def change(
    db: AsyncSession, workspace_id: uuid.UUID, user_id: uuid.UUID, values: Mapping[str, Any]
) -> NotificationPreferenceView:
    """They are told like this from now on, and so of what waits to be mailed."""
    here = {"workspace_id": workspace_id, "id": user_id}
    made = await db.scalar(
        insert(NotificationPreference).values(**here).on_conflict_do_nothing().returning(NotificationPreference.id)
    )
    query = select(NotificationPreference).filter_by(**here).with_for_update()
    row = (await db.scalars(query.execution_options(populate_existing=True))).one()
    before = await _shown(db, row)
    for name, value in values.items():
        setattr(row, name, value)
    await db.flush()
    after = await _shown(db, row)
    if made is not None:
        events.record(db, "notification_preference.created", row, after)
    elif after != before:
        events.record(db, "notification_preference.updated", row, after, before=before)
    await _put_off(db, workspace_id, user_id, row)
    return after


async def _put_off(db: AsyncSession, workspace_id: uuid.UUID, user_id: uuid.UUID, row: NotificationPreference) -> None:
    """What waits to be mailed is mailed when it would be if it had happened now, or not at all."""
    plan = await _plan(db, row)
    at = now()
    due = {kind: plan.mail_due(kind, at) for kind in KINDS}
    told = [kind for kind in KINDS if due[kind] is not None]
    here = {"here": workspace_id, "user": user_id, "kinds": told, "due": due[told[0]] if told else None}
    await db.execute(_PUT_OFF, here)


async def _shown(db: AsyncSession, row: NotificationPreference) -> NotificationPreferenceView:
    plan = await _plan(db, row)
    return NotificationPreferenceView(
        user_id=row.id,
        kinds={kind: plan.ways[kind] for kind in KINDS},
        digest=plan.digest,
        digest_hour=plan.digest_hour,
        quiet_hours=None if row.quiet_start is None else Clock(row.quiet_start, row.quiet_end or ""),
        timezone=plan.zone,
    )


async def _plan(db: AsyncSession, row: NotificationPreference) -> Plan:
    person = await db.scalar(select(User.preferences).where(User.id == row.id))
    workspace = await db.scalar(select(Workspace.settings).where(Workspace.id == db.info["workspace_id"]))
    return plan_of(row, person or {}, workspace or {})


# Past the row's updated_at: nobody sees this column.
_PUT_OFF = text(
    "UPDATE notifications"
    " SET email_due_at = CASE WHEN kind = ANY(CAST(:kinds AS text[])) THEN CAST(:due AS timestamptz) END"
    " WHERE workspace_id = :here AND user_id = :user AND email_due_at IS NOT NULL AND NOT is_read"
)
