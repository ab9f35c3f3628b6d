"""What is said to some is heard by nobody else, over two real processes; and who was removed hears nothing more."""

import uuid
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import httpx
import msgspec
import pytest

from comms import credentials, workspaces
from comms.database import Database, Urls, as_role
from comms.settings import Secret
from models.tenancy import WEB, WORKER
from tests.journeys.conftest import Pair
from tests.journeys.desks import Desk
from tests.screens import Screen, watching

API = "/api/v1"
OVER = "contact.created"


class Person(msgspec.Struct):
    """Somebody who works at the desk, and asks one of the processes."""

    user_id: uuid.UUID
    token: str
    asks: httpx.AsyncClient

    async def does(self, method: str, path: str, **body: Any) -> Any:
        answer = await self.asks.request(method, f"{API}{path}", json=body)
        assert answer.is_success, answer.text
        return answer.json() if answer.content else None


@pytest.fixture
async def people(pair: Pair, desk: Desk) -> AsyncIterator[dict[str, Person]]:
    """Ada and Grace, who have something to say to each other, and Max, an administrator who is not meant to hear it."""
    owner = Secret(pair.owner_url)
    database = Database(Urls(owner=owner, web=as_role(owner, WEB), worker=as_role(owner, WORKER)), pool_size=1)
    found: dict[str, Person] = {}
    async with AsyncExitStack() as stack:
        for place, (name, role) in enumerate({"ada": "admin", "grace": "member", "max": "admin"}.items()):
            async with database.everywhere() as db:
                member = await workspaces.enter(
                    db, desk.workspace_id, email=f"{name}-{uuid.uuid4()}@desk.example", role=role
                )
                _, token = await credentials.issue(db, member)
            url = (pair.one, pair.other)[place % 2].url
            headers = {"Authorization": f"Bearer {token}"}
            asks = await stack.enter_async_context(httpx.AsyncClient(base_url=url, headers=headers, timeout=15))
            found[name] = Person(member.user_id, token, asks)
        await database.close()
        yield found


async def heard(screen: Screen) -> list[dict[str, Any]]:
    """The events until a while is over; without notices, which the worker makes when it comes to it."""
    frames: list[dict[str, Any]] = []
    while not frames or frames[-1]["event"] != OVER:
        frames.append(await screen.next("event"))
    return [frame for frame in frames[:-1] if not frame["subjectType"].startswith("notification")]


async def test_private_words_are_heard_by_no_outsider_and_by_nobody_who_was_removed(
    pair: Pair, people: dict[str, Person]
) -> None:
    ada, grace, stranger = people["ada"], people["grace"], people["max"]
    urls = [pair.one.screen_url, pair.other.screen_url]
    private = (await ada.does("POST", "/team-channels", name="Salaries", isPrivate=True))["id"]
    talk = (await ada.does("POST", "/conversations", channel="email"))["id"]
    async with AsyncExitStack() as stack:

        async def screens(person: Person, **wish: Any) -> list[Screen]:
            return [await stack.enter_async_context(watching(url, person.token, **wish)) for url in urls]

        of_ada, of_grace, of_max = [await screens(one) for one in (ada, grace, stranger)]
        seq = of_grace[0].ready["seq"]
        await ada.does("POST", f"/team-channels/{private}/members", userId=str(grace.user_id))
        pair_id = (await grace.does("PUT", f"/team-channels/direct/{ada.user_id}"))["id"]
        await grace.does("POST", "/team-messages", channelId=pair_id, content="How much do I get?")
        said = await ada.does("POST", "/team-messages", channelId=private, content=f"@[{grace.user_id}] more")
        await grace.does("PUT", f"/team-messages/{said['id']}/reactions/%F0%9F%8E%89")
        await ada.does("POST", f"/conversations/{talk}/notes", content="A difficult customer")
        await ada.does("POST", "/contacts")
        for screen in of_max:
            # The note: he is of the team.
            assert [frame["event"] for frame in await heard(screen)] == ["message.created"]
        for screen in (*of_ada, *of_grace):
            nouns = [frame["event"] for frame in await heard(screen) if frame["subjectType"] == "team_message"]
            assert nouns == ["team_message.created"] * 2

        await ada.does("DELETE", f"/team-channels/{private}/members/{grace.user_id}")
        await ada.does("PATCH", f"/team-messages/{said['id']}", content="less")
        await ada.does("POST", "/team-messages", channelId=private, content="She need not know")
        await ada.does("POST", "/contacts")
        for screen in of_grace:
            assert [frame["event"] for frame in await heard(screen)] == ["team_channel_member.deleted"]
        for screen in of_max:
            assert await heard(screen) == []
        for screen in of_ada:
            assert len(await heard(screen)) == 3
        # She comes back and asks for all that she has missed.
        for screen in await screens(grace, after=seq):
            again = [frame for _ in range(2) for frame in await heard(screen)]
            assert private not in {frame["data"].get("channelId", frame["subjectId"]) for frame in again[:-1]}
            assert again[-1]["event"] == "team_channel_member.deleted"
    for path in (f"/team-channels/{private}", f"/team-messages/{said['id']}", f"/team-channels/{private}/reading"):
        for person in (grace, stranger):
            hidden, none = (
                await person.asks.get(API + path),
                await person.asks.get(f"{API}/team-channels/{uuid.uuid4()}"),
            )
            assert (hidden.status_code, hidden.json()["title"]) == (none.status_code, none.json()["title"])
