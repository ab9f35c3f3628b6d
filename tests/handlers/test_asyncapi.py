"""The live socket's description: that every frame is in it, and that what is heard is what it says."""

import json
from functools import cache
from typing import Any, get_args

import msgspec
import pytest
from jsonschema import Draft202012Validator, FormatChecker

import handlers.app
from comms.chat import protocol as chat
from comms.hub import protocol, topics
from comms.service import Service
from handlers import asyncapi
from handlers.openapi import serving as documents
from handlers.resource import RESOURCES, TOLD
from models.base import noun_of
from tests.conftest import Client
from tests.make.chat import visiting, widget
from tests.screens import serving, watching

API = "/api/v1"


@cache
def document() -> dict[str, Any]:
    assert handlers.app  # all resources are declared
    return asyncapi.document()


def mistakes(message: str, frame: dict[str, Any]) -> list[str]:
    """Why a frame is not what the document says of such a message."""
    schema = document()["components"]["messages"][message]["payload"] | {"components": document()["components"]}
    validator = Draft202012Validator(schema, format_checker=FormatChecker())
    return [f"{error.json_path}: {error.message}" for error in validator.iter_errors(frame)]


def test_every_declared_frame_is_a_message_of_the_side_that_says_it() -> None:
    operations = document()["operations"]
    for name, channel, frames in (
        ("say", "live", (protocol.Auth, *get_args(protocol.Heard))),
        ("hear", "live", get_args(protocol.Said)),
        ("sayInChat", "chat", (chat.ChatAuth, *get_args(chat.ChatHeard))),
        ("hearInChat", "chat", get_args(chat.ChatTold)),
    ):
        named = [reference["$ref"].rpartition("/")[2] for reference in operations[name]["messages"]]
        assert named == [frame.__name__ for frame in frames]
        assert set(named) <= document()["channels"][channel]["messages"].keys()


def test_every_example_is_what_its_schema_says() -> None:
    for name, message in document()["components"]["messages"].items():
        for example in message["examples"]:
            assert mistakes(name, example["payload"]) == []


def test_every_reference_leads_somewhere() -> None:
    text = json.dumps(document())
    for place in {part.split('"')[0] for part in text.split('"$ref": "#/')[1:]}:
        found: Any = document()
        for step in place.split("/"):
            found = found[step]


def test_what_topics_are_read_from_is_shown() -> None:
    views = {resource.table: resource.view for resource in RESOURCES} | TOLD
    shown = {noun_of(table): set(fields_of(view)) for table, view in views.items()}
    assert set(topics.SUBJECTS) <= shown.keys()
    for noun, fields in topics.ABOUT.items():
        assert fields.keys() <= shown[noun], noun


def fields_of(view: Any) -> tuple[str, ...]:
    return tuple(field.encode_name for field in msgspec.structs.fields(view))


def test_a_field_that_is_not_declared_cannot_be_said() -> None:
    frame: Any = protocol.Heartbeat
    with pytest.raises(TypeError):
        frame(seq=1, more=2)


def test_it_is_what_the_served_program_makes(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    exec(documents.MAKE_LIVE)
    assert json.loads(capfdbinary.readouterr().out) == document()


async def test_what_a_visitor_hears_is_what_it_says(service: Service, owner: Client, app: Any) -> None:
    heard: dict[str, list[dict[str, Any]]] = {}
    of = {frame.__struct_config__.tag: frame.__name__ for frame in get_args(chat.ChatTold)}
    made = await widget(owner)
    async with serving(app) as url, watching(url, owner.token) as agent, visiting(url, made["key"]) as visitor:
        await visitor.begin()
        async with visitor.connected() as page:
            heard["ChatReady"] = [page.ready]
            await page.say(type="ping")
            await page.say(type="fish")
            await page.say(type="say", clientId="1", content="Hello")
            told = await agent.next("event")
            while told["event"] != "message.received":
                told = await agent.next("event")
            place = f"{API}/conversations/{told['conversationId']}"
            await owner.put(f"{place}/read-state", json={"lastReadMessageId": told["data"]["id"]})
            while {"ChatKept", "ChatMessageSeen", "ChatRead"} - heard.keys():
                frame = await page.next()
                heard.setdefault(of[frame["type"]], []).append(frame)
            await agent.say(type="typing", conversationId=told["conversationId"], typing=True)
            while "ChatTypingSeen" not in heard:
                frame = await page.next()
                heard.setdefault(of[frame["type"]], []).append(frame)
    assert {
        name: [mistakes(name, frame) for frame in frames if mistakes(name, frame)] for name, frames in heard.items()
    } == {name: [] for name in heard}
    assert set(of.values()) - heard.keys() == {"ChatHeartbeat"}


async def test_what_is_heard_is_what_it_says(service: Service, owner: Client, member: Client, app: Any) -> None:
    heard: dict[str, list[dict[str, Any]]] = {}
    async with serving(app) as url, watching(url, owner.token) as screen, watching(url, member.token) as other:
        heard["Ready"] = [screen.ready]
        contact = (await owner.post(f"{API}/contacts", json={"firstName": "Ann", "phone": "+14155550199"})).json()
        await owner.patch(f"{API}/contacts/{contact['id']}", json={"lastName": "Lee"})
        made = {"contactId": contact["id"], "channel": "sms"}
        conversation = (await owner.post(f"{API}/conversations", json=made)).json()
        await owner.delete(f"{API}/contacts/{contact['id']}")
        await screen.say(type="ping")
        await screen.say(type="fish")
        await screen.say(type="subscribe", topics=["workspace", "presence"])
        await other.say(type="typing", conversationId=conversation["id"], typing=True)
        await other.say(type="presence", status="away")
        of = {frame.__struct_config__.tag: frame.__name__ for frame in get_args(protocol.Said)}
        while not {"Event", "Pong", "Error", "Listening", "TypingSeen", "PresenceSeen", "Here"} <= heard.keys():
            frame = await screen.next()
            heard.setdefault(of[frame["type"]], []).append(frame)
    assert {"contact.created", "contact.updated", "conversation.created"} <= {e["event"] for e in heard["Event"]}
    assert {
        name: [mistakes(name, frame) for frame in frames if mistakes(name, frame)] for name, frames in heard.items()
    } == {name: [] for name in heard}
