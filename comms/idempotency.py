"""Asking twice does it once: what a POST under a client's key did, and its answer, are one commit.

The key's row is written first. Whoever comes with the same key at the same time waits at the unique constraint for the
first to commit, and is then told what the first was told; if the first fails, nothing of it is left and the second does
the work. Answers are sealed, because some of them hold a secret that is shown once.
"""

import hashlib
import uuid
from collections.abc import Mapping
from datetime import timedelta

import msgspec
from sqlalchemy import delete, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from comms.credentials import Identity
from comms.database import Database
from comms.errors import Conflict, Reused
from comms.vault import Sealed, Unsealable, Vault
from models.base import new_id, now
from models.idempotency import IdempotencyKey

KEPT_FOR = timedelta(hours=24)


class Question(msgspec.Struct, frozen=True):
    """What is asked under a key: the method and address, and the body as it came."""

    key: str
    request: str
    body: bytes

    @property
    def digest(self) -> bytes:
        """What tells this body from another."""
        return hashlib.sha256(self.body).digest()


class Answer(msgspec.Struct, frozen=True):
    """What was told: status, the headers worth repeating, and the body."""

    status: int
    headers: Mapping[str, str]
    body: bytes


async def claim(db: AsyncSession, vault: Vault, identity: Identity, asked: Question) -> uuid.UUID | Answer:
    """The id of a new claim to this key, or the answer that was given under it; raises ``Reused``."""
    claimed = (
        insert(IdempotencyKey)
        .values(
            workspace_id=identity.workspace_id,
            id=new_id(),
            user_id=identity.user_id,
            agent_id=identity.agent_id,
            key=asked.key,
            request=asked.request,
            request_digest=asked.digest,
        )
        .on_conflict_do_nothing()
        .returning(IdempotencyKey.id)
    )
    claim_id = await db.scalar(claimed)
    if claim_id is not None:
        return claim_id
    if identity.agent_id is None:
        whose = [IdempotencyKey.user_id == identity.user_id, IdempotencyKey.agent_id.is_(None)]
    else:
        whose = [IdempotencyKey.agent_id == identity.agent_id]
    here = IdempotencyKey.workspace_id == identity.workspace_id
    kept = await db.scalar(select(IdempotencyKey).where(here, *whose, IdempotencyKey.key == asked.key))
    if kept is None:  # swept away between the two statements
        return await claim(db, vault, identity, asked)
    if (kept.request, kept.request_digest) != (asked.request, asked.digest):
        raise Reused(
            f"The Idempotency-Key {asked.key!r} was sent with another request ({kept.request}): take a new one."
        )
    return _opened(vault, kept)


async def keep(db: AsyncSession, vault: Vault, identity: Identity, claim_id: uuid.UUID, answer: Answer) -> None:
    """``answer`` is what the claim's key is answered with from the commit on."""
    sealed = vault.seal(answer.body, identity.workspace_id, claim_id)
    await db.execute(
        update(IdempotencyKey)
        .where(IdempotencyKey.workspace_id == identity.workspace_id, IdempotencyKey.id == claim_id)
        .values(
            status=answer.status,
            headers=dict(answer.headers),
            encrypted_body=sealed.encrypted_key,
            iv=sealed.iv,
            auth_tag=sealed.auth_tag,
            encryption_key_id=sealed.key_id,
        )
        .execution_options(synchronize_session=False)
    )


def _opened(vault: Vault, kept: IdempotencyKey) -> Answer:
    assert kept.status is not None
    assert kept.encryption_key_id is not None
    assert kept.iv is not None
    assert kept.encrypted_body is not None
    assert kept.auth_tag is not None
    sealed = Sealed(kept.encryption_key_id, kept.iv, kept.encrypted_body, kept.auth_tag)
    try:
        body = vault.open(sealed, kept.workspace_id, kept.id)
    except Unsealable:
        raise Conflict("This was done, but its answer can no longer be read: look for what it made.") from None
    return Answer(kept.status, kept.headers, body)


async def sweep(database: Database) -> None:
    """Keys are forgotten after a day."""
    async with database.everywhere() as db:
        await db.execute(
            delete(IdempotencyKey)
            .where(IdempotencyKey.created_at < now() - KEPT_FOR)
            .execution_options(synchronize_session=False)
        )
