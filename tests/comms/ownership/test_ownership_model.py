"""Whatever agents and people do at once, late, twice or half: no reply is kept under a stale fence, nobody is lost.

What is done is in ``world``, what holds whatever is done in ``laws``. More of it by hand: ``COMMS_INTERLEAVINGS=500``.
"""

import asyncio
import itertools
import os
import uuid
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from comms.assignment import by_hand
from comms.directory import Connection
from comms.ownership import Stale
from comms.service import Service
from tests.comms.ownership import laws
from tests.comms.ownership.world import Step, World
from tests.conftest import Client
from tests.make import ownership as make
from tests.make.routing import Desk

EXAMPLES = int(os.environ.get("COMMS_INTERLEAVINGS", "3"))
PHONES = itertools.count(2_000_000)
AGENTS_DO = ("claim", "claim", *["reply"] * 6, "schedule", "schedule", "renew", "look", "hand_on", "pause")
PEOPLE_DO = (
    "take_over",
    "answer",
    "give_back",
    "give_to_agent",
    "hand_over",
    "accept",
    "reject",
    "close",
    "appear",
    "snooze",
)
COMES = ("lapse", "expire", "deadline", "leave", "merge", "undo", "route", "route", "work", "wake", "rule")

BOB_CLAIMS, BOB_SCHEDULES = Step("claim", 1, 1), Step("schedule", 1, 1)

_steps = st.builds(
    Step,
    what=st.sampled_from((*AGENTS_DO, *PEOPLE_DO, *COMES)),
    who=st.sampled_from([0, 0, 1]),
    on=st.sampled_from([0, 0, 1]),
    dies=st.sampled_from([False, False, False, True]),
)
_runs = st.lists(st.lists(_steps, min_size=1, max_size=3), min_size=6, max_size=14)


def one_by_one(*steps: str | Step) -> list[list[Step]]:
    return [[Step(step) if isinstance(step, str) else step] for step in steps]


@pytest.fixture
async def desk(service: Service, owner: Client, member: Client, admin: Any) -> Desk:
    """A team of two people who are away."""
    desk = Desk(service, owner)
    await desk.open()
    await desk.join(member.user_id, capacity=1_000)
    await admin.execute("UPDATE routing_profiles SET capacity = 1000")
    return desk


async def world_of(desk: Desk, member: Client, admin: Any) -> World:
    """Nobody has either of the two conversations, and everybody is at work, but away; the rule is asked at any time."""
    service, workspace_id = desk.service, desk.owner.workspace_id
    await admin.execute("UPDATE routing_profiles SET availability = 'away'")
    await admin.execute("UPDATE workspace_members SET is_active = true")
    await admin.execute("UPDATE routing_rules SET is_active = true, hours = NULL")
    talks = [await make.talk(service, workspace_id, f"+1415{next(PHONES)}") for _ in range(2)]
    for talk in talks:
        async with service.database.workspace(workspace_id) as db:
            await by_hand.enter(db, workspace_id, talk.id)
    agents = [await make.agent(service, workspace_id, name) for name in ("Ada", "Bob")]
    return World(service, talks, agents, [desk.owner.user_id, member.user_id], uuid.UUID(desk.team_id))


@given(runs=_runs)
@example(one_by_one("claim", "take_over", "give_to_agent", "reply", "close", "reply"))
@example(one_by_one("claim", "schedule", BOB_CLAIMS, BOB_SCHEDULES, "merge", "look", "reply", "undo"))
@example(one_by_one("claim", "schedule", "route", "pause", "reply", "pause", "claim", "route", "give_back"))
@example(one_by_one("take_over", Step("take_over", 1, 1), "merge", "leave", "undo", "hand_over", "appear", "route"))
@example(one_by_one("take_over", "hand_over", Step("reject", 1), Step("appear", 1), "route", "appear", "route"))
@example(
    one_by_one("rule", "route", "give_back", "appear", "snooze", "rule", "route", "wake", Step("rule", 1), "route")
)
@settings(
    max_examples=EXAMPLES,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
async def test_however_they_interleave_no_reply_is_kept_under_a_stale_fence_and_no_conversation_is_lost(
    desk: Desk, line: Connection, member: Client, admin: Any, runs: list[list[Step]]
) -> None:
    world = await world_of(desk, member, admin)
    for steps in runs:
        at_once = [world.sensible(step) for step in steps]
        if len(at_once) == 1 and at_once[0].what == "reply":
            [step] = at_once
            may = await world.may_reply(step)
            outcome = await world.do(step)
            assert outcome == (("killed" if step.dies else "done") if may else Stale.__name__)
        else:
            await asyncio.gather(*(world.do(step) for step in at_once))
        await laws.hold(world, admin)
    await world.come_to_rest()
    await laws.hold(world, admin)
    await laws.rest(world, admin)
    await laws.judge(world, admin)


async def test_the_judge_convicts_a_reply_under_a_stale_fence(
    desk: Desk, line: Connection, member: Client, admin: Any
) -> None:
    world = await world_of(desk, member, admin)
    await world.do(Step("claim"))
    await world.do(Step("reply"))
    await laws.judge(world, admin)
    [message_id] = world.said
    world.said[message_id] = (world.agents[0], 0)
    with pytest.raises(AssertionError, match="stale fence"):
        await laws.judge(world, admin)
