"""The devices that members are told on: browsers whose push service has given them an address."""

from base64 import urlsafe_b64decode
from binascii import Error
from collections.abc import Collection
from datetime import datetime

import msgspec
from cryptography.hazmat.primitives.asymmetric import ec
from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from comms import events
from comms.errors import Conflict, Invalid
from comms.identity import Identity
from comms.outside import Refused, address_in, host_of, is_listed, is_public, parsed
from models.base import new_id, now
from models.communications import PushSubscription, PushSubscriptionView

MOST = 20
"""So many devices a member has in a workspace at most; one more takes the place of the oldest."""

_AUTH_BYTES = 16  # RFC 8291, 3.2


async def subscribe(
    db: AsyncSession,
    identity: Identity,
    *,
    endpoint: str,
    p256dh: str,
    auth: str,
    expires_at: datetime | None,
    hosts: Collection[str],
) -> PushSubscriptionView:
    """The device is the asker's, whosever it was; said again, it was said. Raises ``Invalid``.

    ``hosts`` are those ``host:port`` whose push service may be in a private network.
    """
    errors = _mistakes(endpoint, p256dh, auth, hosts)
    if errors:
        raise Invalid(errors)
    query = select(PushSubscription).filter_by(workspace_id=identity.workspace_id, endpoint=endpoint).with_for_update()
    there = await db.scalar(query.execution_options(populate_existing=True))
    if there is not None and there.user_id != identity.user_id:
        await forget(db, there)  # to whom it was it is gone, and to whom it is it is a new one
        there = None
    keys = {"p256dh": p256dh, "auth": auth, "expires_at": expires_at}
    if there is None:
        at = now()
        row = await db.scalar(
            insert(PushSubscription)
            .values(
                workspace_id=identity.workspace_id,
                id=new_id(),
                user_id=identity.user_id,
                endpoint=endpoint,
                created_at=at,
                updated_at=at,
                **keys,
            )
            .on_conflict_do_nothing()
            .returning(PushSubscription)
        )
        if row is None:
            raise Conflict("this device is just being subscribed: ask again")
        events.record(db, "push_subscription.created", row, shown(row))
        await _make_room(db, identity)
        return shown(row)
    before = shown(there)
    for name, value in keys.items():
        setattr(there, name, value)
    await db.flush()
    if msgspec.structs.replace(shown(there), updated_at=before.updated_at) != before:
        events.record(db, "push_subscription.updated", there, shown(there), before=before)
    return shown(there)


async def forget(db: AsyncSession, row: PushSubscription) -> None:
    """Nothing is pushed to the device any more."""
    events.record(db, "push_subscription.deleted", row, shown(row))
    await db.delete(row)
    await db.flush()


async def _make_room(db: AsyncSession, identity: Identity) -> None:
    devices = await db.scalars(
        select(PushSubscription)
        .filter_by(workspace_id=identity.workspace_id, user_id=identity.user_id)
        .order_by(PushSubscription.created_at.desc(), PushSubscription.id.desc())
        .offset(MOST)
        .with_for_update()
    )
    for row in devices:
        await forget(db, row)


def shown(row: PushSubscription) -> PushSubscriptionView:
    """The device as its member sees it."""
    return msgspec.convert(row, PushSubscriptionView, from_attributes=True)


def _mistakes(endpoint: str, p256dh: str, auth: str, hosts: Collection[str]) -> dict[str, str]:
    errors = {}
    if (wrong := refusal_of(endpoint, hosts)) is not None:
        errors["endpoint"] = wrong
    try:
        ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), _bytes(p256dh))
    except ValueError:
        errors["keys.p256dh"] = "must be a point on the curve P-256, uncompressed, in base64url"
    try:
        is_secret = len(_bytes(auth)) == _AUTH_BYTES
    except ValueError:
        is_secret = False
    if not is_secret:
        errors["keys.auth"] = f"must be {_AUTH_BYTES} bytes in base64url"
    return errors


def refusal_of(endpoint: str, hosts: Collection[str]) -> str | None:
    """Why nothing is pushed there; None where it may be. Whether its name leads to the world is seen at sending."""
    try:
        url = parsed(endpoint)
    except Refused:
        return "is not an address"
    host = host_of(url)
    if url.userinfo or not host:
        return "must be the https:// address of a push service"
    if is_listed(url, hosts):
        return None
    if url.scheme != "https" or url.port is not None:
        return "must be the https:// address of a push service"
    ip = address_in(host)
    may_be = "." in host.strip(".") if ip is None else is_public(ip)
    return None if may_be else "lies in a private network"


def _bytes(written: str) -> bytes:
    """Base64url with or without its padding, as browsers write it; raises ``ValueError``."""
    try:
        return urlsafe_b64decode(written.rstrip("=") + "=" * (-len(written.rstrip("=")) % 4))
    except Error as error:
        raise ValueError from error
