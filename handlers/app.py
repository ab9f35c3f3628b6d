"""The API as one ASGI application. Webhooks do not pass the framework: they are counted in thousands a second."""

import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import structlog
from litestar import Litestar, Router
from litestar.datastructures import State

from comms.service import Service
from handlers import (
    access,
    agents,
    business,
    communications,
    connections,
    core,
    crm,
    events,
    finance,
    health,
    hooks,
    invitations,
    live,
    marketing,
    me,
    media,
    members,
    openapi,
    orchestration,
    routing,
    search,
    sessions,
    sounds,
    unsubscribing,
    webhooks,
)
from handlers.given import DEPENDENCIES, Request
from handlers.guards import authenticated
from handlers.idempotency import Repeated, promises_are_kept, repeat
from handlers.instants import instants_are_exact
from handlers.methods import Application, Receive, Scope, Send, completed
from handlers.openapi import serving
from handlers.patience import in_time
from handlers.preconditions import Answer
from handlers.problems import answer

ROOT = "/api/v1"
LARGEST_BODY = 2 * 1024 * 1024


class _Own(Router):
    """A router made for one application alone: Litestar would copy it with all its routes, which takes 0.3 seconds."""

    def __deepcopy__(self, memo: dict[int, Any]) -> "_Own":
        return self


def create_app(service: Service, api: Any = None) -> Application:
    """The application of one process; its lifespan starts and stops ``service``.

    An ``api`` made before, for another service that is gone, serves this one from now on: to make one takes a second.
    """
    api = create_api() if api is None else api
    api.state.service = service
    ask = completed(api)
    take_webhook = webhooks.routes(service)
    ask_in_chat = communications.origins.across_origins(ask, service)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await api(scope, receive, send)
        elif scope["path"].startswith("/webhooks/"):
            await take_webhook(scope, receive, send)
        elif service.simulators is not None and scope["path"].startswith("/simulators/"):
            await service.simulators(scope, receive, send)
        else:
            scope["comms.request_id"] = request_id = uuid.uuid4().hex
            is_chat = communications.origins.is_about_chat(scope)
            with structlog.contextvars.bound_contextvars(request_id=request_id):
                await (ask_in_chat if is_chat else ask)(scope, in_time(receive), send)

    return app


def create_api(*, to_be_described: bool = False) -> Litestar:
    """Everything but the webhooks, for the service that its state will name; or for nobody, ``to_be_described``."""

    @asynccontextmanager
    async def lifespan(api: Litestar) -> AsyncIterator[None]:
        service: Service = api.state.service
        await service.start()
        try:
            yield
        finally:
            await api.state.description.stop()
            await api.state.live_description.stop()
            await service.stop()

    return Litestar(
        route_handlers=[
            health.routes,
            invitations.page,
            media.routes,
            sounds.routes,
            unsubscribing.routes,
            *serving.routes(),
            live.live,
            communications.visitors.routes,
            communications.visitor_socket.chat,
            _Own(
                ROOT,
                guards=[authenticated, promises_are_kept, instants_are_exact],
                response_class=Answer,
                security=[{"bearer": []}],
                route_handlers=[
                    core.routes,
                    members.routes,
                    me.routes,
                    sessions.routes,
                    connections.routes,
                    access.routes,
                    agents.routes,
                    orchestration.routes,
                    *orchestration.runtime.routes,
                    crm.routes,
                    business.routes,
                    finance.routes,
                    marketing.routes,
                    communications.routes,
                    events.routes,
                    routing.routes,
                    hooks.routes,
                    search.routes,
                ],
            ),
        ],
        lifespan=[lifespan],
        dependencies=DEPENDENCIES,
        request_class=Request,
        request_max_body_size=LARGEST_BODY,
        exception_handlers={Exception: answer, Repeated: repeat},
        openapi_config=openapi.config() if to_be_described else None,
        logging_config=None,
        state=State(
            {"description": serving.Served(serving.MAKE), "live_description": serving.Served(serving.MAKE_LIVE)}
        ),
    )


def description() -> dict[str, Any]:
    """The OpenAPI document, made from the routes alone: nothing has to run."""
    return openapi.document_of(create_api(to_be_described=True))


def encoded_description() -> bytes:
    """The same as JSON."""
    return msgspec.json.encode(description())
