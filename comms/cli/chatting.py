"""``comms simulate chat``: somebody on a website writes to the running demo, and where to write as they do."""

import argparse
import uuid
from typing import Any

import httpx

from comms.cli.simulating import demo_of, expected
from comms.demo import SIMULATORS, Demo
from comms.errors import CannotRun
from comms.settings import Settings

WIDGET = "Demo chat"


def chat(settings: Settings, chosen: argparse.Namespace) -> int:
    """A visitor has said something, and what came of it is said; with the address of a page to chat in."""
    made = demo_of(settings)
    try:
        with httpx.Client(base_url=made.base_url) as client:
            key = _widget(client, made)
            begun = _asked(client, f"/chat/{key}/sessions", {"visitor": {"email": chosen.sender}})
            headers = {"Authorization": f"Bearer {begun['token']}"}
            said = {"clientId": uuid.uuid4().hex, "content": chosen.body}
            kept = _asked(client, f"/chat/{key}/messages", said, headers)
            visitor = expected(client.get(f"/api/v1/visitors/{begun['visitorId']}", headers=_member(made)))
    except httpx.TransportError as error:
        raise CannotRun(f"the service does not answer ({type(error).__name__}): is `comms up` running?") from error
    print(f"said as number {kept['place']} of conversation {visitor['conversationId']}")
    print(f"to chat yourself, open {made.base_url}{SIMULATORS}/chat?key={key}")
    return 0


def _widget(client: httpx.Client, made: Demo) -> str:
    """The key of the demo's widget, which is made if it is not there."""
    listed = expected(client.get("/api/v1/chat-widgets", params={"q": WIDGET}, headers=_member(made)))["items"]
    if listed:
        return str(listed[0]["key"])
    body = {"name": WIDGET, "allowedOrigins": [made.base_url], "texts": {"greeting": "How can we help?"}}
    return str(_asked(client, "/api/v1/chat-widgets", body, _member(made))["key"])


def _asked(client: httpx.Client, path: str, body: dict[str, Any], headers: dict[str, str] | None = None) -> Any:
    return expected(client.post(path, json=body, headers=headers))


def _member(made: Demo) -> dict[str, str]:
    return {"Authorization": f"Bearer {made.access_token}"}
