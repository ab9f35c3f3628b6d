"""Typing is shown to those whom it concerns, for the moment."""

import pytest
from sqlalchemy import func, select

from comms import credentials, workspaces
from comms.database import Database
from comms.hub import Hub
from models.base import new_id
from models.communications import TeamChannel, TeamChannelMember
from models.events import Event
from tests.screens import Office, application, office, serving, watching


async def test_typing_is_shown_to_the_others_and_kept_nowhere(
    database: Database, hub: Hub, url: str, acme: Office
) -> None:
    rival = await office(database, "rival")
    conversation = str(new_id())
    async with (
        watching(url, acme.token) as writer,
        watching(url, acme.token) as reader,
        watching(url, acme.token, topics=[f"conversation:{new_id()}"]) as elsewhere,
        watching(url, rival.token) as stranger,
    ):
        await writer.say(type="typing", conversationId=conversation)
        who = {"conversationId": conversation, "userId": str(acme.user_id)}
        assert await reader.next() == {"type": "typing", **who, "typing": True}
        await acme.happens()
        await rival.happens()
        for other in (writer, stranger):
            frame = await other.next()
            while frame["type"] == "heartbeat":
                frame = await other.next()
            assert frame["type"] == "event"
        await elsewhere.say(type="ping")
        frame = await elsewhere.next()
        while frame["type"] == "heartbeat":
            frame = await elsewhere.next()
        assert frame == {"type": "pong"}
    async with database.everywhere() as db:
        assert await db.scalar(select(func.count()).select_from(Event)) == 2
    await rival.close()


async def test_typing_reaches_other_processes(database: Database, url: str, acme: Office) -> None:
    far = Hub(database)
    await far.start()
    async with (
        serving(application(database, far)) as there,
        watching(url, acme.token) as writer,
        watching(there, acme.token) as reader,
    ):
        await writer.say(type="typing", conversationId=str(new_id()), typing=False)
        assert (await reader.next("typing"))["typing"] is False
    await far.stop()


@pytest.mark.parametrize("is_private", [True, False])
async def test_typing_in_a_closed_channel_is_shown_to_those_who_belong_to_it(
    database: Database, url: str, acme: Office, is_private: bool
) -> None:
    async with database.everywhere() as db:
        joined, other = [
            await workspaces.enter(db, acme.workspace_id, email=f"{name}@acme.example", role="admin")
            for name in ("joined", "other")
        ]
        tokens = [(await credentials.issue(db, member))[1] for member in (joined, other)]
        channel = TeamChannel(workspace_id=acme.workspace_id, name="secret", is_private=is_private, member_count=2)
        db.add(channel)
        await db.flush()
        for user_id in (acme.user_id, joined.user_id):
            db.add(TeamChannelMember(workspace_id=acme.workspace_id, channel_id=channel.id, user_id=user_id))
    far = Hub(database)
    await far.start()
    async with (
        serving(application(database, far)) as there,
        watching(url, acme.token) as writer,
        watching(url, tokens[0]) as here,
        watching(there, tokens[0]) as elsewhere,
        watching(url, tokens[1], topics=[f"channel:{channel.id}"]) as outside,
        watching(there, tokens[1]) as outside_there,
    ):
        await outside.say(type="typing", channelId=str(channel.id))
        assert (await outside_there.is_quiet()) is is_private
        await writer.say(type="typing", channelId=str(channel.id))
        shown = {"type": "typing", "channelId": str(channel.id), "userId": str(acme.user_id), "typing": True}
        for screen in (here, elsewhere):
            while (seen := await screen.next("typing"))["userId"] == str(other.user_id):
                assert not is_private
            assert seen == shown
        if is_private:
            assert await outside_there.is_quiet()
            await outside.say(type="ping")
            assert await outside.next() == {"type": "pong"}
    await far.stop()


async def test_typing_without_end_is_thinned_out(url: str, acme: Office) -> None:
    async with watching(url, acme.token) as writer, watching(url, acme.token) as reader:
        for _ in range(100):
            await writer.say(type="typing", conversationId=str(new_id()))
        await writer.say(type="ping")
        await writer.next("pong")
        await acme.happens()
        shown = 0
        while (await reader.next())["type"] != "event":
            shown += 1
        assert 5 <= shown <= 20
