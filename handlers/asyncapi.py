"""The live socket's description, an AsyncAPI 3.0 document: all of it follows from protocol, topics and views.

See docs/live.md for how to use it.
"""

import inspect
from collections.abc import Iterator
from typing import Any, get_args

import msgspec

from comms.chat import protocol as chat
from comms.hub import protocol, topics
from handlers.openapi.schemas import COMPONENTS, Schema, Schemas
from handlers.resource import RESOURCES, TOLD
from models.base import noun_of

ABOUT = """Everything that happens in a workspace, in order, a few milliseconds after it was committed.

The first frame of a client is `auth`, or it brings a ticket in the address; what it hears first is `ready`. Every frame
is a JSON text with a `type`: ignore types and fields you do not know. docs/live.md tells how to miss nothing.
"""
ADDRESS = "/ws"
CHAT_ADDRESS = "/chat/ws"


def document() -> dict[str, Any]:
    """The document; every resource must have been declared."""
    schemas = Schemas()
    messages: dict[str, Any] = {}
    said = list(_declared(schemas, messages, (protocol.Auth, *get_args(protocol.Heard))))
    heard = list(_declared(schemas, messages, get_args(protocol.Said)))
    _say_what_data_is(schemas)
    in_chat: dict[str, Any] = {}
    said_in_chat = list(_declared(schemas, in_chat, (chat.ChatAuth, *get_args(chat.ChatHeard)), "chat"))
    heard_in_chat = list(_declared(schemas, in_chat, get_args(chat.ChatTold), "chat"))
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "comms, live",
            "version": str(protocol.VERSION),
            "description": ABOUT,
            "license": {"name": "MIT"},
        },
        "servers": {
            "this": {
                "host": "{host}",
                "protocol": "ws",
                "variables": {"host": {"default": "127.0.0.1:8000", "description": "`wss` where TLS ends before it."}},
            }
        },
        "defaultContentType": "application/json",
        "channels": {
            "live": {
                "address": ADDRESS,
                "description": "One websocket; the token in its first frame says which workspace.",
                "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in messages},
                "bindings": {"ws": {"method": "GET", "query": _query(schemas), "bindingVersion": "0.1.0"}},
                "x-topics": [*sorted(topics.known()), *(f"{kind}:{{id}}" for kind in topics.KINDS)],
                "x-closing-codes": {str(code): meaning for code, meaning in protocol.CLOSING.items()},
            },
            "chat": {
                "address": CHAT_ADDRESS,
                "description": "A visitor of a website, whom the token in the first frame names: see docs/chat.md.",
                "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in in_chat},
                "bindings": {"ws": {"method": "GET", "bindingVersion": "0.1.0"}},
                "x-closing-codes": {str(code): meaning for code, meaning in chat.CLOSING.items()},
            },
        },
        "operations": {
            "say": _operation("receive", "live", "What a client says.", said),
            "hear": _operation("send", "live", "What a client hears.", heard),
            "sayInChat": _operation("receive", "chat", "What a visitor says.", said_in_chat),
            "hearInChat": _operation("send", "chat", "What a visitor hears.", heard_in_chat),
        },
        "components": {"messages": messages | in_chat, "schemas": dict(sorted(schemas.components.items()))},
    }


def encoded() -> bytes:
    """The same as JSON."""
    return msgspec.json.encode(document())


def _operation(action: str, channel: str, summary: str, messages: list[dict[str, str]]) -> dict[str, Any]:
    place = {"$ref": f"#/channels/{channel}"}
    return {"action": action, "channel": place, "summary": summary, "messages": messages}


def _declared(
    schemas: Schemas, messages: dict[str, Any], frames: tuple[type, ...], channel: str = "live"
) -> Iterator[dict[str, str]]:
    """References to a message for each frame, all of them now among ``messages``."""
    for frame in frames:
        name = frame.__name__
        payload = schemas.of(frame)
        messages[name] = {
            "name": name,
            "title": name,
            "summary": inspect.getdoc(frame),
            "payload": payload,
            "examples": [{"payload": schemas.example_of(payload)}],
        }
        yield {"$ref": f"#/channels/{channel}/messages/{name}"}


def _say_what_data_is(schemas: Schemas) -> None:
    """An event's ``data`` is what the noun's resource shows."""
    views = {resource.table: resource.view for resource in RESOURCES} | TOLD
    shown = {noun_of(table): schemas.of(view) for table, view in views.items()}
    event = schemas.components[protocol.Event.__name__]
    event["properties"]["data"] |= {"type": "object", "examples": [schemas.example_of(shown["message"])]}
    event["properties"]["changes"] |= {
        "type": ["object", "null"],
        "additionalProperties": {"type": "object", "required": ["before", "after"]},
        "examples": [None],
    }
    event["examples"] = [{name: said["examples"][0] for name, said in event["properties"].items()}]
    event["allOf"] = [
        {"if": {"properties": {"subjectType": {"const": noun}}}, "then": {"properties": {"data": schema}}}
        for noun, schema in sorted(shown.items())
    ]
    schemas.examples[protocol.Event.__name__] |= event["examples"][0]


def _query(schemas: Schemas) -> Schema:
    wishes = schemas.of(protocol.Wishes)["$ref"].removeprefix(COMPONENTS)
    properties = schemas.components.pop(wishes)["properties"]
    properties["topics"] = {
        "type": "string",
        "description": "What to hear of, with commas between.",
        "examples": ["inbox"],
    }
    ticket = {"type": "string", "description": "From `POST /api/v1/ws-tickets`, instead of an `auth` frame."}
    return {"type": "object", "properties": properties | {"ticket": ticket}}
