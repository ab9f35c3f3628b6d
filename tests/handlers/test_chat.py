"""Chats over HTTP: who may, from where, how often; who a visitor turns out to be; and how a widget is set up."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import pytest
from litestar.handlers import HTTPRouteHandler

from comms.chat.tokens import PREFIX, Tokens
from comms.service import Service
from comms.settings import SecuritySettings
from models.base import new_id
from tests.conftest import PUBLIC_URL, Client
from tests.handlers.descriptions import api
from tests.make.chat import API, SECRET, SITE, Visitor, answered, conversation_of, proof, refused, widget


@pytest.fixture
async def shop(owner: Client) -> dict[str, Any]:
    return await widget(owner)


@pytest.fixture
async def visitor(app: Any, shop: dict[str, Any]) -> AsyncIterator[Visitor]:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=PUBLIC_URL) as client:
        yield Visitor("", shop["key"], client)


def another(visitor: Visitor, key: str | None = None) -> Visitor:
    return Visitor("", key or visitor.key, visitor.client)


def visitors_routes() -> Iterator[tuple[str, str]]:
    """Every route there is for visitors, but for the one that ends their session."""
    for route in api().routes:
        below = route.path.removeprefix("/chat/{widget_key:str}")
        for handler in getattr(route, "route_handlers", ()):
            if below != route.path and isinstance(handler, HTTPRouteHandler):
                yield from ((str(method), below) for method in handler.http_methods - {"HEAD", "OPTIONS", "DELETE"})


# From where


async def test_pages_of_other_origins_are_refused_and_counted(visitor: Visitor, owner: Client) -> None:
    before = await refused(owner, "origin")
    for origin in ("https://evil.example", "null", "https://shop.example.com.evil.example", "http://shop.example.com"):
        answer = await visitor.ask("POST", "/sessions", json={}, headers={"Origin": origin})
        assert answer.status_code == 403, origin
        assert "access-control-allow-origin" not in answer.headers
    assert await refused(owner, "origin") == before + 4
    assert (await owner.get(f"{API}/visitors")).json()["items"] == []
    allowed = await visitor.ask("POST", "/sessions", json={})
    assert allowed.status_code == 201
    assert allowed.headers["access-control-allow-origin"] == SITE
    wrong = await visitor.ask("POST", "/sessions", json={"fish": 1})
    assert (wrong.status_code, wrong.headers["access-control-allow-origin"]) == (400, SITE)


async def test_a_browser_that_asks_before_is_told_what_the_widget_allows(visitor: Visitor, owner: Client) -> None:
    asks = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"}
    answer = await visitor.ask("OPTIONS", "/messages", headers=asks)
    assert answer.status_code == 204
    assert answer.headers["access-control-allow-origin"] == SITE
    assert "Authorization" in answer.headers["access-control-allow-headers"]
    assert {"POST", "PATCH"} <= set(answer.headers["access-control-allow-methods"].split(", "))
    foreign = await visitor.ask("OPTIONS", "/messages", headers={**asks, "Origin": "https://evil.example"})
    assert foreign.status_code == 403


async def test_all_pages_below_a_domain_may_be_allowed(visitor: Visitor, owner: Client, shop: dict[str, Any]) -> None:
    changed = await owner.patch(f"{API}/chat-widgets/{shop['id']}", json={"allowedOrigins": ["https://*.example.com"]})
    assert changed.status_code == 200
    for origin, status in ((SITE, 201), ("https://a.b.example.com", 201), ("https://example.com.evil.org", 403)):
        assert (await visitor.ask("POST", "/sessions", json={}, headers={"Origin": origin})).status_code == status


# Who


async def test_a_forged_token_is_refused_and_counted_and_touches_no_row(
    visitor: Visitor, owner: Client, settings: Any
) -> None:
    begun = await visitor.begin()
    token = visitor.token
    others = Tokens(SecuritySettings(keys=(("other", b"o" * 32),)))
    real = Tokens(settings.security)
    forged = [
        "cv_",
        "nonsense",
        PREFIX + "A" * 86,
        token[:-4] + ("AAAA" if not token.endswith("AAAA") else "BBBB"),
        others.token_of(owner.workspace_id, uuid.UUID(begun["sessionId"])),
        owner.token,
        real.token_of(owner.workspace_id, new_id()),
        real.token_of(new_id(), uuid.UUID(begun["sessionId"])),
    ]
    before = await refused(owner, "forged") + await refused(owner, "ended")
    for one in forged:
        assert (await visitor.ask("GET", "/messages", token=one)).status_code == 401, one
    assert await refused(owner, "forged") + await refused(owner, "ended") == before + len(forged)
    assert (await visitor.ask("GET", "/messages")).status_code == 200
    assert (await owner.get(f"{API}/contacts", headers={"Authorization": f"Bearer {token}"})).status_code == 401


async def test_an_expired_session_and_one_that_was_ended_are_good_for_nothing(visitor: Visitor, admin: Any) -> None:
    await visitor.begin()
    other = another(visitor)
    await other.begin()
    await admin.execute("UPDATE visitor_sessions SET expires_at = now() WHERE id = $1", other.begun["sessionId"])
    assert (await other.ask("GET", "/messages")).status_code == 401
    assert (await visitor.ask("DELETE", "/session")).status_code == 204
    assert (await visitor.ask("DELETE", "/session")).status_code == 401


async def test_no_route_shows_a_visitor_anything_of_another(
    visitor: Visitor, owner: Client, stranger: Client, shop: dict[str, Any]
) -> None:
    await visitor.begin(visitor={"email": "ada@example.com"})
    up = (await visitor.ask("POST", "/uploads?fileName=secret.txt", content=b"the secret")).json()
    await visitor.says("the secret", uploadIds=[up["id"]])
    conversation = await conversation_of(owner)
    await answered(owner, conversation["id"], "the secret answer")
    [mine, theirs] = sorted((await visitor.fetched()).values(), key=lambda one: one["place"])
    other = another(visitor)  # of the same widget, saying to be the same person
    await other.begin(visitor={"email": "ada@example.com", "name": "Ada"})
    elsewhere = another(visitor, (await widget(stranger))["key"])
    await elsewhere.begin(visitor={"email": "ada@example.com"})
    crossed = another(visitor, (await widget(owner))["key"])
    crossed.token = visitor.token  # of another widget of the same workspace
    tried = 0
    theirs_and_mine = (mine["files"][0]["id"], up["id"], mine["id"], theirs["id"])
    for method, path in visitors_routes():
        for file_id in theirs_and_mine:
            for body in [None] if method == "GET" else [{}, {"clientId": "x", "uploadIds": [up["id"]]}]:
                for asker in (other, elsewhere, crossed):
                    answer = await asker.ask(method, path.replace("{file_id:uuid}", file_id), json=body)
                    assert "secret" not in answer.text, (method, path, answer.text)
                    tried += 1
    assert tried > 60
    await other.says("it is me")
    assert [one["content"] for one in (await other.fetched()).values()] == ["it is me"]
    conversations = {one["id"]: one for one in (await owner.get(f"{API}/conversations")).json()["items"]}
    assert len(conversations) == 2
    assert len({one["contactId"] for one in conversations.values()}) == 1
    assert all(one["isUnproven"] for one in conversations.values())
    await answered(owner, conversation["id"], "the secret again")
    assert "secret" not in str(await other.fetched())


async def test_who_gives_a_known_address_joins_its_contact_and_is_not_shown_it(visitor: Visitor, owner: Client) -> None:
    known = (
        await owner.post(f"{API}/contacts", json={"firstName": "Ada", "lastName": "L", "email": "ada@example.com"})
    ).json()
    begun = await visitor.begin(visitor={"name": "Mallory", "email": "Ada@example.com", "phone": "+14155550166"})
    await visitor.says("Hello")
    conversation = await conversation_of(owner)
    assert (conversation["contactId"], conversation["isUnproven"]) == (known["id"], True)
    shown = (await owner.get(f"{API}/visitors/{begun['visitorId']}")).json()
    assert (shown["contactId"], shown["isVerified"], shown["name"]) == (known["id"], False, "Mallory")
    assert known["id"] not in str(await visitor.fetched()) + str(begun)
    after = (await owner.get(f"{API}/contacts/{known['id']}")).json()
    assert after == known, "what somebody says who proves nothing changes nothing of the contact"
    points = (await owner.get(f"{API}/contact-points", params={"contactId": known["id"]})).json()["items"]
    assert [point["value"] for point in points] == ["ada@example.com"]


async def test_who_gives_an_address_later_is_the_contact_from_then_on(visitor: Visitor, owner: Client) -> None:
    await visitor.begin(visitor={"email": "x@example.com"})
    unnamed = another(visitor)
    await unnamed.begin()
    with_staff = await unnamed.ask("POST", "/messages", json={"clientId": "1", "content": "Hello"})
    assert with_staff.status_code == 400, "nobody is here: an address is needed"
    answer = await unnamed.ask("PATCH", "/visitor", json={"email": "new@example.com", "name": "Grace"})
    assert (answer.status_code, answer.json()["email"]) == (200, "new@example.com")
    await unnamed.says("Hello")
    conversation = await conversation_of(owner)
    contact = (await owner.get(f"{API}/contacts/{conversation['contactId']}")).json()
    assert (contact["email"], contact["firstName"], contact["source"]) == ("new@example.com", "Grace", "live_chat")
    wrong = await unnamed.ask("PATCH", "/visitor", json={"email": "nonsense"})
    assert (wrong.status_code, [error["field"] for error in wrong.json()["errors"]]) == (400, ["email"])


async def test_outside_hours_one_leaves_a_message_with_an_address(
    visitor: Visitor, owner: Client, shop: dict[str, Any]
) -> None:
    closed = await owner.patch(f"{API}/chat-widgets/{shop['id']}", json={"hours": {"schedule": {}}})
    assert closed.status_code == 200, closed.text
    begun = await visitor.begin()
    assert begun["widget"]["isOpen"] is False
    assert (await visitor.ask("GET", "")).json()["isOpen"] is False
    answer = await visitor.ask("POST", "/messages", json={"clientId": "1", "content": "Call me"})
    assert [error["field"] for error in answer.json()["errors"]] == ["email"]
    assert (await owner.get(f"{API}/conversations")).json()["items"] == []
    await visitor.ask("PATCH", "/visitor", json={"phone": "+1 415 555 0166"})
    await visitor.says("Call me", "1")
    conversation = await conversation_of(owner)
    [message] = (await owner.get(f"{API}/conversations/{conversation['id']}/messages")).json()["items"]
    assert message["metadata"]["leftAsMessage"] is True
    assert message["metadata"]["contactPoint"] == "+14155550166"


# Whom the website knows


async def known(owner: Client) -> dict[str, Any]:
    made = await widget(owner)
    answer = await owner.put(f"{API}/chat-widgets/{made['id']}/secret", json={"secret": SECRET})
    assert answer.status_code == 200, answer.text
    return made


@pytest.mark.parametrize("who", [{"user_id": "4711"}, {"email": "ada@example.com"}])
async def test_who_is_proved_goes_on_in_their_chat_on_another_device(
    visitor: Visitor, owner: Client, who: dict[str, str]
) -> None:
    made = await known(owner)
    identity = proof(**who)
    identity = {"userId" if name == "user_id" else name: value for name, value in identity.items()}
    first, second = another(visitor, made["key"]), another(visitor, made["key"])
    assert (await first.begin(identity=identity, visitor={"phone": "+14155550166"}))["isVerified"] is True
    await first.says("From my desk")
    begun = await asyncio.gather(*(another(visitor, made["key"]).begin(identity=identity) for _ in range(4)))
    assert len({one["visitorId"] for one in begun}) == 1
    await second.begin(identity=identity)
    assert [one["content"] for one in (await second.fetched()).values()] == ["From my desk"]
    await second.says("From my phone")
    conversation = await conversation_of(owner)
    assert conversation["messageCount"] == 2
    assert conversation["isUnproven"] is ("user_id" in who)


async def test_two_devices_that_write_first_at_once_are_one_conversation(visitor: Visitor, owner: Client) -> None:
    made = await known(owner)
    identity = {"userId": "7", "hmac": proof(user_id="7")["hmac"]}
    devices = [another(visitor, made["key"]) for _ in range(4)]
    await asyncio.gather(*(one.begin(identity=identity, visitor={"email": "z@example.com"}) for one in devices))
    await asyncio.gather(*(one.says(str(number)) for number, one in enumerate(devices)))
    assert (await conversation_of(owner))["messageCount"] == 4
    assert sorted(one["place"] for one in (await devices[0].fetched()).values()) == [1, 2, 3, 4]


async def test_a_proved_address_is_one_conversation_in_all_widgets_and_nobody_else_gets_into_it(
    visitor: Visitor, owner: Client
) -> None:
    first, second = await known(owner), await known(owner)
    ada, again = another(visitor, first["key"]), another(visitor, second["key"])
    mallory = another(visitor, first["key"])
    await mallory.begin(visitor={"email": "ada@example.com"})
    await mallory.says("Hello")
    theirs = await conversation_of(owner)
    await ada.begin(identity=proof(email="ada@example.com"))
    await ada.says("mine")
    await again.begin(identity=proof(email="Ada@Example.com"))
    await again.says("mine too")
    chats = (await owner.get(f"{API}/conversations")).json()["items"]
    assert {chat["id"]: chat["messageCount"] for chat in chats if chat["id"] != theirs["id"]} == {
        next(chat["id"] for chat in chats if not chat["isUnproven"]): 2
    }
    assert len({chat["contactId"] for chat in chats}) == 1
    await owner.delete(f"{API}/conversations/{theirs['id']}")
    await mallory.says("and now?")
    chats = (await owner.get(f"{API}/conversations")).json()["items"]
    assert sorted((chat["isUnproven"], chat["messageCount"]) for chat in chats) == [(False, 2), (True, 1)]
    assert "mine" not in str(await mallory.fetched())


async def test_a_wrong_proof_is_refused_and_counted(visitor: Visitor, owner: Client) -> None:
    made = await known(owner)
    other = another(visitor, made["key"])
    before = await refused(owner, "forged")
    right = proof(email="ada@example.com")
    for identity in (
        {"email": "eve@example.com", "hmac": right["hmac"]},
        {"email": "ada@example.com", "hmac": right["hmac"][:-1] + ("0" if right["hmac"][-1] != "0" else "1")},
        {"email": "ada@example.com", "hmac": ""},
        {"userId": "é", "hmac": "é"},
    ):
        answer = await other.ask("POST", "/sessions", json={"identity": identity})
        assert answer.status_code == 403, answer.text
    assert await refused(owner, "forged") == before + 4
    both = {"email": "a@example.com", "userId": "1", "hmac": "x"}
    assert (await other.ask("POST", "/sessions", json={"identity": both})).status_code == 400
    without = await visitor.ask("POST", "/sessions", json={"identity": right})
    assert without.status_code == 403, "a widget without a secret proves nothing"


async def test_whose_id_is_proved_and_not_the_address_resumes_nothing_of_it(visitor: Visitor, owner: Client) -> None:
    made = await known(owner)
    ada = another(visitor, made["key"])
    await ada.begin(identity=proof(email="ada@example.com"))
    await ada.says("the secret")
    eve = another(visitor, made["key"])
    hmac = proof(user_id="666")["hmac"]
    await eve.begin(identity={"userId": "666", "hmac": hmac}, visitor={"email": "ada@example.com"})
    await eve.says("Hello")
    assert "secret" not in str(await eve.fetched())
    assert [one["content"] for one in (await ada.fetched()).values()] == ["the secret"]


async def test_a_secret_goes_in_never_out_and_is_rotated(visitor: Visitor, owner: Client, member: Client) -> None:
    made = await known(owner)
    path = f"{API}/chat-widgets/{made['id']}"
    fresh = "a-secret-that-is-to-come"
    assert (await owner.post(f"{path}/rotation")).status_code == 409
    answer = await owner.put(f"{path}/next-secret", json={"secret": fresh})
    assert (answer.json()["lastFour"], answer.json()["nextLastFour"]) == (SECRET[-4:], fresh[-4:])
    page = another(visitor, made["key"])

    async def is_believed(secret: str) -> bool:
        identity = proof(secret, email="ada@example.com")
        return (await page.ask("POST", "/sessions", json={"identity": identity})).status_code == 201

    assert await is_believed(SECRET)
    assert await is_believed(fresh)
    assert (await owner.post(f"{path}/rotation")).status_code == 201
    assert not await is_believed(SECRET)
    assert await is_believed(fresh)
    await owner.put(f"{path}/next-secret", json={"secret": SECRET})
    assert (await owner.delete(f"{path}/next-secret")).status_code == 204
    assert (await owner.delete(f"{path}/next-secret")).status_code == 404
    assert not await is_believed(SECRET)
    everything = (await owner.get(path)).text + (await owner.get(f"{API}/events")).text
    assert fresh not in everything
    assert SECRET not in everything
    assert (await member.put(f"{path}/secret", json={"secret": SECRET})).status_code == 403


# How often


async def test_a_flood_of_messages_is_refused_and_counted_and_others_do_not_notice(
    visitor: Visitor, owner: Client
) -> None:
    await visitor.begin(visitor={"email": "ada@example.com"})
    calm = another(visitor)
    await calm.begin(visitor={"email": "grace@example.com"})
    before = await refused(owner, "flood")
    answers = [
        await visitor.ask("POST", "/messages", json={"clientId": str(number), "content": "x"}) for number in range(25)
    ]
    refusals = [answer for answer in answers if answer.status_code == 429]
    assert 1 <= len(refusals) <= 5
    assert int(refusals[0].headers["retry-after"]) >= 1
    assert await refused(owner, "flood") == before + len(refusals)
    await calm.says("Hello")


async def test_a_flood_of_sessions_from_one_address_is_refused(visitor: Visitor) -> None:
    answers = await asyncio.gather(*(another(visitor).ask("POST", "/sessions", json={}) for _ in range(36)))
    statuses = [answer.status_code for answer in answers]
    assert statuses.count(201) in (30, 31)
    assert set(statuses) == {201, 429}


# What widgets are


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"allowedOrigins": ["shop.example.com"]}, "allowedOrigins[0]"),
        ({"allowedOrigins": ["*"]}, "allowedOrigins[0]"),
        ({"colours": {"accent": "url(evil)"}}, "colours.accent"),
        ({"texts": {"a b": "x"}}, "texts.a b"),
        ({"hours": {"schedule": {"mon": [{"from": "9", "to": "17:00"}]}}}, "hours.schedule.mon[0].from"),
        ({"hours": {"schedule": {}, "timezone": "Mars"}}, "hours.timezone"),
        ({"preChatFields": [{"name": "email"}]}, "preChatFields[0].label"),
        ({"preChatFields": [{"name": "a", "label": "A"}, {"name": "a", "label": "B"}]}, "preChatFields[1].name"),
        ({"continuesBy": "sms"}, "phoneNumberId"),
        ({"continuesBy": "email"}, "mailAddressId"),
        ({"graceSeconds": 0}, "graceSeconds"),
    ],
)
async def test_what_a_widget_cannot_be_is_refused_by_name(owner: Client, wrong: dict[str, Any], field: str) -> None:
    answer = await owner.post(f"{API}/chat-widgets", json={"name": "Shop", **wrong})
    assert answer.status_code in (400, 409), answer.text
    assert field in [error["field"] for error in answer.json()["errors"]], answer.text


async def test_a_widget_that_is_off_or_gone_serves_nobody(
    visitor: Visitor, owner: Client, shop: dict[str, Any], service: Service
) -> None:
    await visitor.begin(visitor={"email": "ada@example.com"})
    await visitor.ask("POST", "/uploads", content=b"a text")
    await visitor.says("Hello")
    await owner.patch(f"{API}/chat-widgets/{shop['id']}", json={"isActive": False})
    assert (await visitor.ask("GET", "")).status_code == 404
    assert (await visitor.ask("GET", "/messages")).status_code in (401, 404)
    await owner.patch(f"{API}/chat-widgets/{shop['id']}", json={"isActive": True})
    assert (await visitor.ask("GET", "/messages")).status_code == 200
    assert (await owner.delete(f"{API}/chat-widgets/{shop['id']}")).status_code == 204
    assert (await visitor.ask("GET", "/messages")).status_code in (401, 404)
    assert (await conversation_of(owner))["messageCount"] == 1, "what was said stays"
    assert (await owner.get(f"{API}/uploads")).json()["items"] == []
