"""The API as one ASGI application. Webhooks do not pass the framework: they are counted in thousands a second."""

import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from contextlib import asynccontextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import structlog
from litestar import Litestar, Router
from litestar.datastructures import State
from litestar.openapi.config import OpenAPIConfig
from litestar.openapi.plugins import SwaggerRenderPlugin
from litestar.openapi.spec import Components, SecurityScheme
from litestar.static_files import create_static_files_router

from comms.service import Service
from handlers import access, communications, connections, core, crm, events, health, live, search, webhooks
from handlers.given import DEPENDENCIES, Request
from handlers.guards import authenticated
from handlers.problems import PROBLEMS, answer

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

ROOT = "/api/v1"
ABOUT = """Conversations with the outside, and everything around them, of one workspace: the one your token belongs to.

Ids are UUIDs, times RFC 3339 in UTC, money decimal strings. Lists are paged by `cursor`; an absent field of a PATCH
stays as it is and null clears it. Errors are `application/problem+json` and name every field that is wrong.
"""
LARGEST_BODY = 2 * 1024 * 1024


DOCS_ASSETS = "/assets/docs"


def _docs_assets() -> Path:
    """Swagger UI's files, which ``fastapi-offline`` carries: the docs page needs nothing from another server."""
    found = find_spec("fastapi_offline")
    assert found is not None
    assert found.origin is not None
    return Path(found.origin).parent / "static"


def create_app(service: Service) -> Application:
    """The application of one process; its lifespan starts and stops ``service``."""
    api: Any = create_api(service)
    take_webhook = webhooks.routes(service)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await api(scope, receive, send)
        elif scope["path"].startswith("/webhooks/"):
            await take_webhook(scope, receive, send)
        elif service.simulators is not None and scope["path"].startswith("/simulators/"):
            await service.simulators(scope, receive, send)
        else:
            scope["comms.request_id"] = request_id = uuid.uuid4().hex
            with structlog.contextvars.bound_contextvars(request_id=request_id):
                await api(scope, receive, send)

    return app


def create_api(service: Service) -> Litestar:
    """Everything but the webhooks."""

    @asynccontextmanager
    async def lifespan(_: Litestar) -> AsyncIterator[None]:
        await service.start()
        try:
            yield
        finally:
            await service.stop()

    api = Litestar(
        route_handlers=[
            health.routes,
            create_static_files_router(DOCS_ASSETS, directories=[_docs_assets()], include_in_schema=False),
            live.live,
            Router(
                ROOT,
                guards=[authenticated],
                security=[{"bearer": []}],
                route_handlers=[
                    core.routes,
                    connections.routes,
                    access.routes,
                    crm.routes,
                    communications.routes,
                    events.routes,
                    search.routes,
                ],
            ),
        ],
        lifespan=[lifespan],
        state=State({"service": service}),
        dependencies=DEPENDENCIES,
        request_class=Request,
        request_max_body_size=LARGEST_BODY,
        exception_handlers={Exception: answer},
        openapi_config=OpenAPIConfig(
            title="comms",
            version="0.1.0",
            description=ABOUT,
            path="/schema",
            use_handler_docstrings=True,
            render_plugins=[
                SwaggerRenderPlugin(
                    path="/",
                    favicon="<link rel='icon' href='data:,'>",
                    js_url=f"{DOCS_ASSETS}/swagger-ui-bundle.js",
                    standalone_preset_js_url=f"{DOCS_ASSETS}/swagger-ui-bundle.js",
                    css_url=f"{DOCS_ASSETS}/swagger-ui.css",
                )
            ],
            components=Components(
                security_schemes={
                    "bearer": SecurityScheme(type="http", scheme="bearer", description="An access token.")
                }
            ),
        ),
        logging_config=None,
    )
    for route in api.routes:
        for handler in getattr(route, "route_handlers", ()):
            if route.path.startswith(ROOT):
                handler.responses = PROBLEMS
    return api
