"""Who waits is looked at again whenever something is different, and as long as nobody can have it, it is said why."""

import uuid
from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select

from comms import conversations, ownership
from comms.assignment.following import keep_up
from models.base import now
from models.communications import Conversation
from tests.make import ownership as make
from tests.make.agents import API
from tests.make.routing import Desk


class Scene:
    """Ann alone is in the team, and alone has what its rule asks for."""

    def __init__(self, desk: Desk, admin: Any) -> None:
        self.desk = desk
        self.admin = admin

    async def set(self) -> None:
        """She is free, and nothing waits."""
        self.ann = await self.desk.person("ann", skills=["german"])
        await self.change("routing-rules", {}, skills=["german"])
        await self.leave(self.desk.owner.user_id)

    async def change(self, resource: str, which: dict[str, Any], **values: Any) -> None:
        [row] = await self.desk.listed(resource, **which)
        answer = await self.desk.owner.patch(f"{API}/{resource}/{row['id']}", json=values)
        assert answer.status_code == 200, answer.text

    async def profile(self, **values: Any) -> None:
        await self.change("routing-profiles", {"userId": self.ann}, **values)

    async def role(self, role: str) -> None:
        await self.change("workspace-members", {"userId": self.ann}, role=role)

    async def team(self, *, is_active: bool) -> None:
        await self.change("teams", {}, isActive=is_active)

    async def leave(self, user_id: uuid.UUID | str) -> None:
        [row] = await self.desk.listed("team-members", userId=str(user_id))
        assert (await self.desk.owner.delete(f"{API}/team-members/{row['id']}")).status_code == 204

    async def join(self) -> None:
        await self.desk.join(uuid.UUID(self.ann))

    async def active(self, *, is_active: bool) -> None:
        [row] = await self.desk.listed("workspace-members", userId=self.ann)
        ask = self.desk.owner.delete if is_active else self.desk.owner.post
        assert (await ask(f"{API}/workspace-members/{row['id']}/deactivation")).is_success

    async def busy(self) -> None:
        await self.profile(capacity=1)
        [self.other] = await self.desk.busy(self.ann)

    async def online(self) -> None:
        """As the hub notes it: nothing is told."""
        columns, values = "(workspace_id, user_id, online_until)", "($1, $2, now() + interval '1 minute')"
        here = self.desk.owner.workspace_id
        await self.admin.execute(f"INSERT INTO routing_turns {columns} VALUES {values}", here, self.ann)

    async def hours(self, hours: str | None) -> None:
        """As time goes by: nothing is told."""
        await self.admin.execute("UPDATE routing_rules SET hours = $1", hours)


Doing = Callable[[Scene], Awaitable[Any]]
HINDERED: Mapping[str, tuple[Doing, str, Doing]] = {
    "frees up": (Scene.busy, "nobody is free: 1 full", lambda it: it.desk.close(it.other)),
    "comes online": (lambda it: it.profile(needsPresence=True), "nobody is free: 1 offline", Scene.online),
    "can take more": (
        lambda it: it.profile(capacity=0),
        "nobody is free: 1 full",
        lambda it: it.profile(capacity=1),
    ),
    "has the skill again": (
        lambda it: it.profile(skills=[]),
        "nobody is free: 1 without the skills",
        lambda it: it.profile(skills=["german"]),
    ),
    "joins the team": (lambda it: it.leave(it.ann), "nobody in the team may answer", Scene.join),
    "may answer again": (
        lambda it: it.role("viewer"),
        "nobody in the team may answer",
        lambda it: it.role("member"),
    ),
    "is a member again": (
        lambda it: it.active(is_active=False),
        "nobody in the team may answer",
        lambda it: it.active(is_active=True),
    ),
    "is in a team that is in use": (
        lambda it: it.team(is_active=False),
        "its team is not in use any more",
        lambda it: it.team(is_active=True),
    ),
    "is at her hours": (
        lambda it: it.hours('{"schedule": {}, "holidays": []}'),
        "its hours are over",
        lambda it: it.hours(None),
    ),
}


@pytest.mark.parametrize("trigger", HINDERED)
async def test_it_is_said_why_one_waits_and_who_can_have_it_at_last_has_it_with_the_next_look(
    desk: Desk, admin: Any, trigger: str
) -> None:
    hinder, said, end = HINDERED[trigger]
    scene = Scene(desk, admin)
    await scene.set()
    await hinder(scene)
    talk = await desk.waiting()
    for _ in range(2):  # of the workspaces where something is due, as the worker does, and again
        assert await keep_up(desk.service.database) == 0
    [place] = await desk.listed("routing-places")
    [queue] = [one for one in await desk.listed("routing-queues") if one["id"] == place["queueId"]]
    assert (place["conversationId"], queue["heldUp"]) == (talk, said)
    await end(scene)
    assert await keep_up(desk.service.database) == 1
    assert await desk.owner_of(talk) == scene.ann


async def _held(desk: Desk, talk: str, do: Callable[..., Awaitable[Any]]) -> None:
    async with desk.service.database.workspace(desk.owner.workspace_id) as db:
        await do(db, (await db.scalars(select(Conversation).where(Conversation.id == talk).with_for_update())).one())


async def _lease(desk: Desk, talk: str) -> Doing:
    ada = await make.agent(desk.service, desk.owner.workspace_id)
    await _held(desk, talk, lambda db, row: ownership.claim(db, row, ada, 60))

    async def expires(scene: Scene) -> None:
        await scene.admin.execute("UPDATE conversations SET lease_expires_at = created_at WHERE id = $1", talk)
        await ownership.expire_leases(desk.service.database)

    return expires


async def _snooze(desk: Desk, talk: str) -> Doing:
    await _held(desk, talk, lambda db, row: conversations.snooze(db, row, now() + timedelta(hours=1)))

    async def ends(scene: Scene) -> None:
        await scene.admin.execute("UPDATE conversations SET snoozed_until = created_at WHERE id = $1", talk)
        await conversations.wake(desk.service.database)

    return ends


async def _closure(desk: Desk, talk: str) -> Doing:
    await desk.close(talk)
    return lambda _: desk.owner.delete(f"{API}/conversations/{talk}/closure")


async def _assignment(desk: Desk, talk: str) -> Doing:
    await desk.assign(talk, str(desk.owner.user_id))
    return lambda _: desk.owner.delete(f"{API}/conversations/{talk}/assignment")


@pytest.mark.parametrize("keep", [_lease, _snooze, _closure, _assignment], ids=lambda one: one.__name__)
async def test_what_waits_again_is_given_with_the_next_look(
    desk: Desk, admin: Any, keep: Callable[[Desk, str], Awaitable[Doing]]
) -> None:
    scene = Scene(desk, admin)
    await scene.set()
    talk = await desk.waiting()
    end = await keep(desk, talk)
    assert await keep_up(desk.service.database) == 0
    assert await desk.listed("routing-places") == []
    await end(scene)
    assert await keep_up(desk.service.database) == 1
    assert await desk.owner_of(talk) == scene.ann
