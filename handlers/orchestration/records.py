"""Rows of the CRM that agents make and change, by the same rules as over the API: by those of its resources."""

import uuid
from collections.abc import Mapping
from typing import Any

from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession

from comms import reading
from comms.credentials import Identity
from comms.database import attempt
from comms.errors import Conflict, Forbidden, Invalid, Missing
from handlers import shapes
from handlers.problems import problem_of
from handlers.resource import RESOURCES, Resource

PLACE = "details.values"


class _Possible(Exception):
    """It could be written, and is not."""


class _Records:
    """As ``comms.agents.acting`` asks for them."""

    async def rehearse(
        self, db: AsyncSession, by: Identity, resource: str, row_id: uuid.UUID | None, values: Mapping[str, Any]
    ) -> None:
        """Written and taken back: only so is it known what the tables say of it."""
        try:
            async with attempt(db):
                await self.write(db, by, resource, row_id, values)
                raise _Possible
        except _Possible:
            return
        except Invalid as error:
            raise Invalid({_within(place): reason for place, reason in error.errors.items()}) from None
        except Missing as error:
            raise Invalid({"details.id": error.detail}) from None
        except Conflict as error:
            raise Invalid(dict.fromkeys(_below(error.fields), "is taken") or {PLACE: error.detail}) from None
        except DBAPIError as error:
            problem, _ = problem_of(error)
            if problem.status not in (400, 409):
                raise
            places = {place: wrong.reason for wrong in problem.errors for place in _below([wrong.field])}
            raise Invalid(places or {PLACE: problem.detail}) from None

    async def write(
        self, db: AsyncSession, by: Identity, resource: str, row_id: uuid.UUID | None, values: Mapping[str, Any]
    ) -> uuid.UUID:
        """As who asks would do it."""
        found = _resource(resource)
        if by.role not in found.who_writes.roles:
            raise Forbidden(f"A workspace's {by.role} may not write {resource}: it takes {found.who_writes}.")
        if row_id is not None:
            changed = shapes.given(_read(found.edit, values))
            return uuid.UUID(str((await found.update(db, by, row_id, changed)).id))
        row = await found.make(db, by, shapes.given(_read(found.new, values)))
        return uuid.UUID(str((await found.tell(db, by, "created", row)).id))


def _resource(name: str) -> Resource:
    return next(resource for resource in RESOURCES if resource.path == f"/{name}")


def _read(shape: Any, values: Mapping[str, Any]) -> Any:
    return reading.read(shape, dict(values), PLACE)


def _below(fields: Any) -> list[str]:
    return [f"{PLACE}.{field}" for field in fields if field]


def _within(place: str) -> str:
    return place if place.startswith(PLACE) else f"{PLACE}.{place}"


RECORDS = _Records()
"""The one there is."""
