"""People as tests need them."""

import uuid

from comms.service import Service
from models.access import UserPassword

PASSWORD = "correct horse battery"


async def password(service: Service, user_id: uuid.UUID, plain: str = PASSWORD) -> str:
    """The person signs in with this password."""
    kept = await service.passwords.hash(plain)
    async with service.database.everywhere() as db:
        await db.merge(UserPassword(user_id=user_id, hash=kept))
    return plain
