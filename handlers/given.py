"""What handlers are given: who asks, their unit of work, and the service; written the one way Litestar will keep."""

import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from litestar import Request as LitestarRequest
from litestar.di import NamedDependency, Provide
from litestar.exceptions import HTTPException, SerializationException
from litestar.params import FromPath
from sqlalchemy.ext.asyncio import AsyncSession

from comms import reading
from comms.credentials import Identity
from comms.errors import Invalid
from comms.events import Actor
from comms.service import Service
from handlers import shapes
from handlers.idempotency import once
from handlers.preconditions import expecting

JSON = "application/json"

Db = NamedDependency[AsyncSession]
Asker = NamedDependency[Identity]
Here = NamedDependency[Service]
RowId = FromPath[uuid.UUID]


class Request(LitestarRequest[Identity, str, Any]):
    """A request whose JSON body has the shape its handler declares, or is refused naming everything that is wrong."""

    async def body(self) -> bytes:
        """The bytes that were sent; none at all is an object without a field, where an object is declared."""
        return await super().body() or (b"{}" if self._declared is not None else b"")

    async def json(self) -> Any:
        """The body as a value of the type of the handler's ``data``; read strictly, unlike Litestar's own way."""
        declared = self._declared
        if declared is not None and await super().body():
            _expect_json(self.headers.get("content-type"))
        try:
            sent = await super().json()
        except RecursionError:
            raise Invalid({"": "the body is nested too deeply"}) from None
        except UnicodeDecodeError:
            raise Invalid({"": "the body is not UTF-8"}) from None
        except SerializationException as error:
            sent = await self._nearly_json(error)
        return sent if declared is None else shapes.read(declared.annotation, sent)

    async def _nearly_json(self, error: SerializationException) -> Any:
        """The body whose only ``error`` is a value or two, so that these are refused by their names."""
        try:
            if self._declared is not None:
                return reading.leniently(await self.body())
        except ValueError:
            pass
        raise error

    @property
    def _declared(self) -> Any:
        return self.route_handler.parsed_fn_signature.parameters.get("data")


def _expect_json(content_type: str | None) -> None:
    """A body that says that it is something else than JSON is refused; one that says nothing is taken for JSON."""
    kind = (content_type or JSON).partition(";")[0].strip().lower()
    if kind != JSON and not (kind.startswith("application/") and kind.endswith("+json")):
        raise HTTPException(
            status_code=415,
            detail=f"Send the body as {JSON}, and say so in Content-Type: it says {content_type!r}.",
            headers={"Accept": JSON},
        )


def service(request: LitestarRequest[Any, Any, Any]) -> Service:
    """The process this request arrived in."""
    here: Service = request.app.state.service
    return here


def identity(request: LitestarRequest[Any, Any, Any]) -> Identity:
    """The member who asks."""
    asker: Identity = request.user
    return asker


async def db(service: Here, identity: Asker, request: LitestarRequest[Any, Any, Any]) -> AsyncIterator[AsyncSession]:
    """The asker's unit of work: committed when the handler has returned and before its response is sent.

    It changes only the version that ``If-Match`` names, and only once for an ``Idempotency-Key``. A route that asks for
    rows by their keys alone says so beside it (``by_keys``).
    """
    by_keys = request.route_handler.opt.get("by_keys", False)
    unit = service.database.workspace(identity.workspace_id, _actor(identity), by_keys=by_keys)
    async with unit as session, _promised(session, service, identity, request):
        yield session


async def across(
    service: Here, identity: Asker, request: LitestarRequest[Any, Any, Any]
) -> AsyncIterator[AsyncSession]:
    """The same across workspaces: for what counts on rows of another one. It says itself whose rows it means."""
    unit = service.database.everywhere(_actor(identity))
    async with unit as session, _promised(session, service, identity, request):
        yield session


def _actor(identity: Identity) -> Actor:
    return Actor("user", identity.user_id) if identity.agent_id is None else Actor("agent", identity.agent_id)


@asynccontextmanager
async def _promised(
    session: AsyncSession, service: Service, identity: Identity, request: LitestarRequest[Any, Any, Any]
) -> AsyncIterator[None]:
    """What the request's headers ask of a unit of work holds."""
    async with once(session, request, identity, service.vault):
        session.info["public_url"] = service.settings.server.public_url
        with expecting(session, request):
            yield


ACROSS = {"db": Provide(across)}
"""The ``dependencies`` of a route whose unit of work is across workspaces."""

DEPENDENCIES = {
    "service": Provide(service, sync_to_thread=False),
    "identity": Provide(identity, sync_to_thread=False),
    "db": Provide(db),
}
