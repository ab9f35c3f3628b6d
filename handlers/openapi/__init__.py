"""The API's description, an OpenAPI 3.1 document: all of it follows from the routes, the views and the tables.

What an author can say beside a route: its docstring; ``problems={429: "…"}`` for statuses that are not obvious from
the route; ``example={…}`` and ``answers={…}`` where the derived example of what is sent or answered does not do;
``consumes="text/csv"`` for a body that is not JSON; ``media_type`` for an answer that is not.
"""

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import msgspec
from litestar import Litestar, Request
from litestar.openapi.config import OpenAPIConfig
from litestar.openapi.plugins import JsonRenderPlugin, SwaggerRenderPlugin
from litestar.routes import HTTPRoute

from handlers.openapi.operations import described, shared_responses
from handlers.openapi.schemas import Schemas

ABOUT = """Conversations with the outside, and everything around them, of one workspace: the one your token belongs to.

Ids are UUIDs, times RFC 3339 in UTC, money decimal strings. Lists are paged by `cursor`; an absent field of a PATCH
stays as it is and null clears it. Errors are `application/problem+json` and name every field that is wrong; an address
that does not exist is 404, a method it does not have 405 with `Allow`. `HEAD` is answered wherever `GET` is. Where one
row is answered its version is in `ETag`; `If-Match` changes only that version, and `Idempotency-Key` does a POST only
once.

Two things are described elsewhere: the websocket at `/ws` (docs/live.md), and what providers post to `/webhooks/…`
(docs/webhooks.md), which is theirs to define.
"""
TAGS = {
    "core": "The workspace, its members, and its connections to providers.",
    "access": "What members prove themselves with: tokens, sessions, tickets.",
    "crm": "The people a business talks to, and what is going on with them.",
    "communications": "Conversations with the outside, talk within the team, and what providers reported.",
    "agents": "AI agents: what they are, when they run, what they did.",
    "orchestration": "Agents together: teams, workflows, shared memory, and what people must approve.",
    "finance": "Invoices and expenses.",
    "marketing": "Campaigns, segments, and rules that act by themselves.",
    "search": "Messages, conversations and contacts by the words in them.",
    "events": "Everything that became true, in order: the activity feed and the audit trail.",
    "operations": "What an operator's machines ask.",
}
DOCS_ASSETS = "/assets/docs"
_BEARER = {
    "type": "http",
    "scheme": "bearer",
    "description": "An access token, a session's, or a session token of Clerk's.",
}


def document_of(api: Litestar) -> dict[str, Any]:
    """The document; made once for an application."""
    if "openapi" not in api.state:
        api.state.openapi = _document(api)
    made: dict[str, Any] = api.state.openapi
    return made


def _document(api: Litestar) -> dict[str, Any]:
    raw = api.openapi_schema.to_schema()
    handlers = {
        (route.path_format, method): handler
        for route in api.routes
        if isinstance(route, HTTPRoute)
        for handler in route.route_handlers
        for method in handler.http_methods
    }
    schemas = Schemas()
    paths: dict[str, Any] = {}
    used: set[str] = set()
    for path, methods in sorted(raw["paths"].items()):
        for method, operation in methods.items():
            made = described(handlers[path, method.upper()], operation, schemas)
            paths.setdefault(path, {})[method] = made
            used.update(made["tags"])
    responses = shared_responses(schemas)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": raw["info"]["title"],
            "version": raw["info"]["version"],
            "summary": "A self-hosted communications backend.",
            "description": ABOUT,
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": "/", "description": "This server."}],
        "tags": [{"name": name, "description": said} for name, said in TAGS.items() if name in used],
        "paths": paths,
        "components": {
            "schemas": dict(sorted(schemas.components.items())),
            "responses": responses,
            "securitySchemes": {"bearer": _BEARER},
        },
    }


class Document(JsonRenderPlugin):
    """``/schema/openapi.json``: our document instead of Litestar's."""

    def render(self, request: Request[Any, Any, Any], openapi_schema: dict[str, Any]) -> bytes:
        """The document as JSON."""
        return msgspec.json.encode(document_of(request.app))


class DocumentPage(SwaggerRenderPlugin):
    """``/schema``: the same for people."""

    def render(self, request: Request[Any, Any, Any], openapi_schema: dict[str, Any]) -> bytes:
        """A page that needs nothing from another server."""
        return super().render(request, document_of(request.app))


def config() -> OpenAPIConfig:
    """What Litestar is told: where the document is served, and what it is made of."""
    return OpenAPIConfig(
        title="comms",
        version="0.1.0",
        path="/schema",
        use_handler_docstrings=True,
        render_plugins=[
            DocumentPage(
                path="/",
                favicon="<link rel='icon' href='data:,'>",
                js_url=f"{DOCS_ASSETS}/swagger-ui-bundle.js",
                standalone_preset_js_url=f"{DOCS_ASSETS}/swagger-ui-bundle.js",
                css_url=f"{DOCS_ASSETS}/swagger-ui.css",
            ),
            Document(path="/openapi.json", media_type="application/json"),  # type: ignore[arg-type]
        ],
    )


def assets() -> Path:
    """Swagger UI's files, which ``fastapi-offline`` carries."""
    found = find_spec("fastapi_offline")
    assert found is not None
    assert found.origin is not None
    return Path(found.origin).parent / "static"
