"""The API's description, an OpenAPI 3.1 document: all of it follows from the routes, the views and the tables.

What an author can say beside a route: its docstring; ``problems={429: "…"}`` for statuses that are not obvious from
the route; ``example={…}`` and ``answers={…}`` where the derived example of what is sent or answered does not do;
``may_make=True`` where 201 is answered instead of 200 when there was none before; ``consumes="text/csv"`` for a body
that is not JSON; ``media_type`` for an answer that is not.
"""

from typing import Any

from litestar import Litestar
from litestar.openapi.config import OpenAPIConfig
from litestar.routes import HTTPRoute

from handlers.openapi.operations import described, shared_responses
from handlers.openapi.schemas import Schemas

ABOUT = """Conversations with the outside, and everything around them, of one workspace: the one your token belongs to.

Ids are UUIDs, times RFC 3339 in UTC, money decimal strings. Lists are paged by `cursor`; an absent field of a PATCH
stays as it is and null clears it. Errors are `application/problem+json` and name every field that is wrong; an address
that does not exist is 404, a method it does not have 405 with `Allow`. `HEAD` is answered wherever `GET` is. Where one
row is answered its version is in `ETag`; `If-Match` changes only that version, and `Idempotency-Key` does a POST only
once.

Two things are described elsewhere: the websocket at `/ws` (`/schema/asyncapi.json`, docs/live.md), and what providers
post to `/webhooks/…` (docs/webhooks.md), which is theirs to define.
"""
TAGS = {
    "core": "The workspace, its members, and its connections to providers.",
    "access": "What members prove themselves with: tokens, sessions, tickets.",
    "crm": "The people a business talks to, and what is going on with them.",
    "communications": "Conversations with the outside, talk within the team, and what providers reported.",
    "chat": "What a widget's page asks for its visitor: outside the members' API, with a token of its own.",
    "agents": "AI agents: what they are, when they run, what they did.",
    "agent API": "What runs an agent asks here by the agent's own token: docs/agents.md.",
    "orchestration": "Agents together: teams, workflows, shared memory, and what people must approve.",
    "finance": "Invoices and expenses.",
    "marketing": "Campaigns, segments, and rules that act by themselves.",
    "search": "Messages, conversations and contacts by the words in them.",
    "hooks": "Outbound webhooks: what happens, posted to addresses of yours, signed, in order, and again if you like.",
    "events": "Everything that became true, in order: the activity feed and the audit trail.",
    "operations": "What an operator's machines ask.",
}
_BEARER = {
    "type": "http",
    "scheme": "bearer",
    "description": "An access token, a session's, or a session token of Clerk's.",
}


def document_of(api: Litestar) -> dict[str, Any]:
    """The document, from the routes of an ``api`` that was made to be described."""
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


def config() -> OpenAPIConfig:
    """What Litestar is told, to look at its routes. Where it would serve what it sees is nobody's: we serve ours."""
    return OpenAPIConfig(title="comms", version="0.1.0", path="/schema/raw", use_handler_docstrings=True)
