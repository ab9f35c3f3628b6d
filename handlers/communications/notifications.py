"""What members are told about, how they want to be told, and on which devices."""

import uuid
from datetime import UTC, datetime
from typing import Annotated, Any

import msgspec
from litestar import delete, get, patch, post, put
from litestar.params import JSONBody
from sqlalchemy import ColumnElement
from sqlalchemy.ext.asyncio import AsyncSession

from comms.credentials import Identity
from comms.notifications import preferences, reading, subscriptions, vapid
from comms.notifications.keeping import counting
from comms.notifications.preferences import Clock, NotificationPreferenceView, SomeWays
from handlers import shapes
from handlers.given import Asker, Db, Here, RowId
from handlers.guards import person, reader
from handlers.resource import TOLD, crud
from models.base import now
from models.communications import (
    DigestRhythm,
    Notification,
    NotificationKind,
    NotificationPreference,
    NotificationReadState,
    NotificationReadStateView,
    NotificationView,
    PushSubscription,
    PushSubscriptionView,
)


def mine(identity: Identity) -> ColumnElement[bool]:
    """Notifications are the member's own; those that are only mailed or pushed are shown nowhere."""
    return (Notification.user_id == identity.user_id) & Notification.in_app


def my_devices(identity: Identity) -> ColumnElement[bool]:
    """So are devices."""
    return PushSubscription.user_id == identity.user_id


async def mark_read(db: AsyncSession, identity: Identity, row: Notification, values: dict[str, Any]) -> None:
    """Read or unread, with the time."""
    if "is_read" in values:
        await reading.mark(db, row, values["is_read"])


notifications = crud(
    "/notifications",
    Notification,
    NotificationView,
    filters=("is_read", "type", "kind", "subject_id"),
    verbs=("list", "get"),
    who_writes=reader,
    whose=mine,
    change=mark_read,
)
Edit: Any = notifications.edit
TOLD[NotificationReadState] = NotificationReadStateView
TOLD[NotificationPreference] = NotificationPreferenceView
devices = crud(
    "/push-subscriptions",
    PushSubscription,
    PushSubscriptionView,
    verbs=("list", "get"),
    who_writes=reader,
    whose=my_devices,
)


# That one has read is one's own affair, a viewer's too.
@patch("/{row_id:uuid}", operation_id="change_notification", guards=[reader])
async def change(db: Db, identity: Asker, row_id: RowId, data: JSONBody[Edit]) -> NotificationView:
    """The notification is read, or unread again, on all of your devices."""
    async with counting(db, identity.workspace_id, [identity.user_id]):
        view: NotificationView = await notifications.update(db, identity, row_id, shapes.given(data))
    return view


@delete("/{row_id:uuid}", operation_id="delete_notification", guards=[reader])
async def remove(db: Db, identity: Asker, row_id: RowId) -> None:
    """The notification is gone from all of your devices."""
    async with counting(db, identity.workspace_id, [identity.user_id]):
        await notifications.remove(db, identity, row_id)


class ReadUntil(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """What one has read: all until ``at`` (all there is, unless said), or of that what is about ``subjectId``."""

    at: Annotated[datetime, msgspec.Meta(description="Until when; all there is, unless said.")] | None = None
    subject_id: (
        Annotated[uuid.UUID, msgspec.Meta(description="What it is about, such as a conversation; anything, if null.")]
        | None
    ) = None


@get("/read-state", operation_id="get_notification_read_state", guards=[reader])
async def read_state(db: Db, identity: Asker) -> NotificationReadStateView:
    """How many notifications you have not read. Told live as `notification_read_state.updated`."""
    return await reading.read_state(db, identity.workspace_id, identity.user_id)


@put("/read-state", operation_id="set_notification_read_state", guards=[reader])
async def read_all(db: Db, identity: Asker, data: JSONBody[ReadUntil]) -> NotificationReadStateView:
    """You have read all notifications, or those about one thing, that had happened by `at`."""
    about = None if data.subject_id is None else [data.subject_id]
    # No earlier than anything could have happened: with its offset, a time of the year 1 is none for PostgreSQL.
    until = None if data.at is None else max(min(data.at, now()), datetime.fromtimestamp(0, UTC))
    await reading.read_all(db, identity.workspace_id, identity.user_id, until=until, subject_ids=about)
    return await reading.read_state(db, identity.workspace_id, identity.user_id)


class WantedPreferences(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """How one wants to be told; what is left out is as by default."""

    kinds: Annotated[
        dict[NotificationKind, SomeWays],
        msgspec.Meta(
            description="By kind, the ways that are to be other than by default.",
            examples=[{"message": {"email": True, "push": False}}],
        ),
    ] = {}
    digest: Annotated[
        DigestRhythm, msgspec.Meta(description="How often what is unread is mailed.", examples=["daily"])
    ] = "hourly"
    digest_hour: Annotated[
        int, msgspec.Meta(ge=0, le=23, description="The hour of your day for a `daily` digest.", examples=[8])
    ] = 8
    quiet_hours: Annotated[Clock, msgspec.Meta(description="When not to be mailed or pushed anything.")] | None = None


@get("/notification-preferences", operation_id="get_notification_preferences", guards=[reader])
async def read_preferences(db: Db, identity: Asker) -> NotificationPreferenceView:
    """How you are told in this workspace: by kind and way, how often by mail, and when not."""
    return await preferences.read(db, identity)


@put("/notification-preferences", operation_id="put_notification_preferences", guards=[person])
async def put_preferences(db: Db, identity: Asker, data: JSONBody[WantedPreferences]) -> NotificationPreferenceView:
    """Be told like this from now on. What is left out is as by default again."""
    values = {
        "kinds": {kind: msgspec.to_builtins(ways) for kind, ways in data.kinds.items()},
        "digest": data.digest,
        "digest_hour": data.digest_hour,
        "quiet_start": None if data.quiet_hours is None else data.quiet_hours.start,
        "quiet_end": None if data.quiet_hours is None else data.quiet_hours.end,
    }
    return await preferences.change(db, identity.workspace_id, identity.user_id, values)


class PushKeys(msgspec.Struct, forbid_unknown_fields=True):
    """What a browser wants what is pushed to it to be sealed with, in base64url."""

    p256dh: Annotated[
        str,
        msgspec.Meta(
            max_length=200,
            description="Its public key.",
            examples=["BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4"],
        ),
    ]
    auth: Annotated[str, msgspec.Meta(max_length=100, description="Its secret.", examples=["BTBZMqHH6r4Tts7J_aSIgg"])]


class Device(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """A browser's subscription, exactly as its ``JSON.stringify(subscription)`` says it (W3C Push API)."""

    endpoint: Annotated[
        str,
        msgspec.Meta(
            max_length=1000,
            description="The device's address at its push service.",
            examples=["https://push.example.net/send/8c1d1f0a"],
        ),
    ]
    keys: Annotated[PushKeys, msgspec.Meta(description="What to seal what is pushed with.")]
    expiration_time: (
        Annotated[
            float, msgspec.Meta(ge=0, le=253402300799000, description="When it ends, in milliseconds since 1970.")
        ]
        | None
    ) = None


@post("/", operation_id="create_push_subscription", guards=[person])
async def subscribe(service: Here, db: Db, identity: Asker, data: JSONBody[Device]) -> PushSubscriptionView:
    """You are told on this device too. Whosever it was before, it is yours now; 20 devices at most, the newest."""
    ends = data.expiration_time
    return await subscriptions.subscribe(
        db,
        identity,
        endpoint=data.endpoint,
        p256dh=data.keys.p256dh,
        auth=data.keys.auth,
        expires_at=None if ends is None else datetime.fromtimestamp(ends / 1000, UTC),
        hosts=service.settings.push.hosts,
    )


@delete("/{row_id:uuid}", operation_id="delete_push_subscription", guards=[person])
async def unsubscribe(db: Db, identity: Asker, row_id: RowId) -> None:
    """Nothing is pushed to this device any more: have a page do so when its user signs out."""
    await subscriptions.forget(db, await devices.find(db, identity, row_id, to_change=True))


class PushKey(msgspec.Struct, rename="camel"):
    """What browsers subscribe with."""

    public_key: Annotated[
        str,
        msgspec.Meta(
            description="The `applicationServerKey` of `pushManager.subscribe`, in base64url.",
            examples=["BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4"],
        ),
    ]


@get("/push-key", operation_id="get_push_key", guards=[reader])
async def push_key(service: Here) -> PushKey:
    """The public key of this installation, by which browsers know that it is us who push (VAPID)."""
    return PushKey((await vapid.key(service.database, service.vault)).public_key)


routes: list[Any] = [
    notifications.router(change, remove, read_state, read_all),
    devices.router(subscribe, unsubscribe),
    read_preferences,
    put_preferences,
    push_key,
]
