"""Who is here: told by delta to who asks for it, for all devices of a person in all processes together."""

from types import SimpleNamespace
from typing import Any, cast

import pytest
from sqlalchemy import update

from comms import credentials, workspaces
from comms.database import Database
from comms.hub import Hub, presence
from comms.service import Service
from models.base import now
from models.communications import CallLeg
from models.routing import RoutingProfile
from tests.journeys.waiting import until
from tests.make import rows
from tests.screens import Office, Screen, application, office, serving, watching

HERE = {"topics": ["workspace", "presence"]}


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(presence, "GRACE_SECONDS", 0.1)


@pytest.fixture
async def mia(database: Database, acme: Office) -> Office:
    """Another member of the workspace."""
    async with database.everywhere() as db:
        member = await workspaces.enter(db, acme.workspace_id, email="mia@acme.example", role="member")
        _, token = await credentials.issue(db, member)
        return Office(database, member, token)


async def next_of(screen: Screen) -> tuple[str, str]:
    frame = await screen.next("presence")
    return frame["userId"], frame["status"]


async def shown(screen: Screen) -> dict[str, str]:
    """Who is here, as one hears it who begins to listen."""
    await screen.say(type="unsubscribe", topics=["presence"])
    await screen.say(type="subscribe", **HERE)
    return {user["userId"]: user["status"] for user in (await screen.next("here"))["users"]}


async def test_a_person_is_as_present_as_the_most_present_of_their_devices(url: str, acme: Office, mia: Office) -> None:
    her = str(mia.user_id)
    async with watching(url, acme.token, **HERE) as screen:
        assert (await screen.next("here"))["users"] == []
        assert await next_of(screen) == (str(acme.user_id), "online")
        async with watching(url, mia.token) as laptop:
            assert await next_of(screen) == (her, "online")
            await laptop.say(type="presence", status="away")
            assert await next_of(screen) == (her, "away")
            async with watching(url, mia.token) as phone:
                assert await next_of(screen) == (her, "online")
                await phone.say(type="presence", status="busy")
                assert await next_of(screen) == (her, "busy")
                assert await shown(screen) == {str(acme.user_id): "online", her: "busy"}
            assert await next_of(screen) == (her, "away")
        assert await next_of(screen) == (her, "offline")
        assert await shown(screen) == {str(acme.user_id): "online"}


async def test_who_does_not_ask_is_not_told(url: str, acme: Office, mia: Office) -> None:
    async with watching(url, acme.token) as screen, watching(url, mia.token) as other:
        await other.say(type="presence", status="away")
        await other.say(type="ping")
        await other.next("pong")
        assert await screen.is_quiet()


async def test_nobody_hears_of_another_workspace(database: Database, url: str, acme: Office) -> None:
    rival = await office(database, "rival")
    async with watching(url, acme.token, **HERE) as screen:
        assert await next_of(screen) == (str(acme.user_id), "online")
        async with watching(url, rival.token, **HERE) as stranger:
            assert await next_of(stranger) == (str(rival.user_id), "online")
            assert await shown(stranger) == {str(rival.user_id): "online"}
        assert await screen.is_quiet()
    await rival.close()


async def test_who_comes_back_at_once_was_never_away(
    url: str, acme: Office, mia: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(presence, "GRACE_SECONDS", 5)
    async with watching(url, acme.token, **HERE) as screen:
        await next_of(screen)
        async with watching(url, mia.token):
            assert await next_of(screen) == (str(mia.user_id), "online")
        async with watching(url, mia.token):
            assert await screen.is_quiet(1.5)


async def test_people_in_another_process_are_here_too_and_gone_when_it_is(
    database: Database, url: str, acme: Office, mia: Office
) -> None:
    her = str(mia.user_id)
    far = Hub(database)
    await far.start()
    async with (
        serving(application(database, far)) as there,
        watching(there, mia.token) as screen_there,
        watching(url, acme.token, **HERE) as screen,
    ):
        here = {user["userId"]: user["status"] for user in (await screen.next("here"))["users"]}
        while len(here) < 2:  # it may have heard of the other process before it was shown who is here, or after
            here.update([await next_of(screen)])
        assert here == {str(acme.user_id): "online", her: "online"}
        await screen_there.say(type="presence", status="busy")
        assert await next_of(screen) == (her, "busy")
        await far.stop()
        assert await next_of(screen) == (her, "offline")


async def test_of_a_process_that_says_nothing_any_more_nobody_is_here(
    database: Database, url: str, acme: Office, mia: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(presence, "FORGET_SECONDS", 0.5)
    far = Hub(database)
    await far.start()
    async with serving(application(database, far)) as there, watching(url, acme.token, **HERE) as screen:
        await next_of(screen)
        async with watching(there, mia.token):
            assert await next_of(screen) == (str(mia.user_id), "online")
            await far.wakeups.stop()  # it cannot say goodbye
            assert await next_of(screen) == (str(mia.user_id), "offline")
    await far.stop()


async def test_whoever_is_on_a_call_is_shown_so_even_without_a_screen(
    database: Database, url: str, acme: Office, mia: Office
) -> None:
    her = str(mia.user_id)
    service = cast(Service, SimpleNamespace(database=database))
    made = await rows.row(service, CallLeg, workspace_id=acme.workspace_id, user_id=acme.user_id)

    async def leg(**values: Any) -> None:
        async with database.workspace(acme.workspace_id) as db:
            await db.execute(update(CallLeg).where(CallLeg.id == made.id).values(**values))
        await acme.happens("call_leg.updated")

    async with watching(url, acme.token, **HERE) as screen:
        await next_of(screen)
        await leg(user_id=mia.user_id, answered_at=now())
        assert await next_of(screen) == (her, "on_call")
        await leg(ended_at=now())
        assert await next_of(screen) == (her, "offline")


async def test_who_must_be_online_to_be_given_conversations_is_known_to_be_and_to_be_gone(
    url: str, acme: Office, mia: Office, database: Database, admin: Any
) -> None:
    async with database.everywhere() as db:
        for person, needs in ((mia, True), (acme, False)):
            profile = {"user_id": person.user_id, "needs_presence": needs, "availability": "available"}
            db.add(RoutingProfile(workspace_id=acme.workspace_id, **profile))

    async def is_here() -> list[tuple[Any, bool]]:
        rows = await admin.fetch("SELECT user_id, online_until > now() AS is_here FROM routing_turns")
        return [(row["user_id"], row["is_here"]) for row in rows]

    async def has_come() -> bool:
        return await is_here() == [(mia.user_id, True)]

    async def has_gone() -> bool:
        return await is_here() == [(mia.user_id, False)]

    async with watching(url, acme.token):
        async with watching(url, mia.token):
            await until(has_come, within=5)
        await until(has_gone, within=5)
