"""Whatever agents and people do at once, late, twice or half: no reply is kept under a stale fence, nobody is lost.

The log is the judge, since it is in the order of the commits: whoever replays it knows whose the conversation was, and
under which fence, when each reply was kept. More of it by hand: ``COMMS_INTERLEAVINGS=500``.
"""

import asyncio
import itertools
import os
import uuid
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from comms import ownership
from comms.directory import Connection
from comms.errors import Refused
from comms.outbox import Intent, put
from comms.ownership import ByAgent, ByMember, Stale, deadlines, handing, settling
from comms.service import Service
from models.base import now
from models.communications import Conversation
from models.communications.handoffs import Target
from tests.conftest import Client
from tests.make import ownership as make

EXAMPLES = int(os.environ.get("COMMS_INTERLEAVINGS", "10"))
PHONES = itertools.count(2_000_000)
AGENTS_DO = ("claim", "claim", "renew", "reply", "reply", "reply", "schedule", "look", "hand_on")
WHAT = (*AGENTS_DO, "take_over", "answer", "give_back", "accept", "lapse", "expire", "deadline")


class Step(msgspec.Struct, frozen=True):
    """What one of them does; with ``dies`` they are killed before the commit."""

    what: str
    who: int
    dies: bool = False


class Killed(Exception):
    """Somebody was killed just before the commit."""


_steps = st.builds(
    Step,
    what=st.sampled_from(WHAT),
    who=st.integers(0, 1),
    dies=st.sampled_from([False, False, False, True]),
)
_runs = st.lists(st.lists(_steps, min_size=1, max_size=3), min_size=6, max_size=14)


class World:
    """One conversation, two agents with what they remember of its fence, and two people."""

    def __init__(self, service: Service, talk: Conversation, agents: list[uuid.UUID], people: list[uuid.UUID]) -> None:
        self.service = service
        self.talk = talk
        self.agents = agents
        self.people = people
        self.fences = dict.fromkeys(agents, 0)
        self.said: dict[uuid.UUID, tuple[uuid.UUID, int]] = {}
        self.admin: Any = None

    async def do(self, step: Step) -> str:
        """Done, refused or killed."""
        try:
            await getattr(self, f"_{step.what}")(step)
        except Killed:
            return "killed"
        except Refused as refused:
            return type(refused).__name__
        return "done"

    async def _held(self, step: Step, do: Callable[..., Any]) -> int:
        async with make.held(self.service, self.talk) as (db, row):
            await do(db, row)
            if step.dies:
                raise Killed
            return row.fence

    async def _claim(self, step: Step) -> None:
        agent = self.agents[step.who]
        self.fences[agent] = await self._held(step, lambda db, row: ownership.claim(db, row, agent, 60))

    async def _renew(self, step: Step) -> None:
        agent = self.agents[step.who]
        await self._held(step, lambda db, row: ownership.renew(db, row, agent, self.fences[agent], 60))

    async def _reply(self, step: Step, **more: Any) -> None:
        agent = self.agents[step.who]
        fence = self.fences[agent]
        async with self.service.database.workspace(self.talk.workspace_id) as db:
            view = await put(
                db,
                Intent(
                    workspace_id=self.talk.workspace_id,
                    conversation_id=self.talk.id,
                    content="Hello",
                    sender_type="agent",
                    sender_agent_id=agent,
                    fence=fence,
                    **more,
                ),
            )
            self.said[view.id] = (agent, fence)
            if step.dies:
                raise Killed

    async def _schedule(self, step: Step) -> None:
        await self._reply(step, scheduled_at=now().replace(year=now().year + 1))

    async def _look(self, step: Step) -> None:
        self.fences[self.agents[step.who]] = (await make.now_of(self.service, self.talk)).fence

    async def _hand_on(self, step: Step) -> None:
        agent = self.agents[step.who]
        target = Target(user_id=self.people[step.who]) if step.who else Target(agent_id=self.agents[1])
        wanted = handing.Handing(reason="Cannot help", target=target)
        await self._held(
            step, lambda db, row: handing.hand_on(db, row, wanted, ByAgent(agent), fence=self.fences[agent])
        )

    async def _accept(self, step: Step) -> None:
        async def accept(db: Any, row: Conversation) -> None:
            handoff = await settling.open_of(db, row)
            if handoff is not None:
                await handing.accept(db, row, handoff, ByMember(self.people[step.who]))

        await self._held(step, accept)

    async def _take_over(self, step: Step) -> None:
        await self._held(step, lambda db, row: ownership.take_over(db, row, self.people[step.who]))

    async def _answer(self, step: Step) -> None:
        await make.say(self.service, self.talk, sender_type="user", sender_user_id=self.people[step.who])

    async def _give_back(self, step: Step) -> None:
        await self._held(step, lambda db, row: ownership.release(db, row, why="given back"))

    async def _lapse(self, step: Step) -> None:
        async with make.held(self.service, self.talk) as (_, row):
            if row.agent_id is not None:
                row.lease_expires_at = row.created_at

    async def _expire(self, step: Step) -> None:
        await ownership.expire_leases(self.service.database)

    async def _deadline(self, step: Step) -> None:
        async with make.held(self.service, self.talk) as (db, row):
            handoff = await settling.open_of(db, row)
            if handoff is not None:
                handoff.deadline_at = row.created_at
        await deadlines.pass_deadlines(self.service.database)

    async def may_reply(self, agent: uuid.UUID) -> bool:
        """Whether a reply that is written now, and by nobody else, is to be kept."""
        row = await make.now_of(self.service, self.talk)
        is_leased = row.lease_expires_at is not None and row.lease_expires_at > now()
        return row.agent_id == agent and row.fence == self.fences[agent] and is_leased

    async def check(self, admin: Any) -> None:
        """Somebody has it or it has its place; who is waited for has a deadline; nothing stale waits to leave."""
        row = await admin.fetchrow("SELECT * FROM conversations WHERE id = $1", self.talk.id)
        owners = [row["assigned_to"], row["agent_id"], row["waiting_since"]]
        assert sum(one is not None for one in owners) == 1
        handoff = await admin.fetchrow(
            "SELECT * FROM conversation_handoffs WHERE conversation_id = $1 AND status = 'open'", self.talk.id
        )
        assert handoff is None or (row["waiting_since"] is not None and handoff["deadline_at"] is not None)
        stale = await admin.fetchval(
            "SELECT count(*) FROM outgoing_messages WHERE conversation_id = $1 AND state = 'scheduled' AND fence <> $2",
            self.talk.id,
            row["fence"],
        )
        assert stale == 0

    async def judge(self, admin: Any) -> None:
        """The log, replayed: every change of hands is one more fence, every reply was its owner's under its fence."""
        owner, fence = None, 0
        events = await admin.fetch(
            "SELECT event, subject_id, data::text FROM events WHERE conversation_id = $1 ORDER BY seq", self.talk.id
        )
        kept = set()
        for event in events:
            data = msgspec.json.decode(event["data"])
            if event["event"].startswith("conversation."):
                assert data["fence"] == fence + 1, event["event"]
                owner, fence = data["agentId"], data["fence"]
                assert sum(data[name] is not None for name in ("assignedTo", "agentId", "waitingSince")) == 1
            elif event["event"] in ("message.queued", "message.scheduled") and data["senderType"] == "agent":
                agent, said = self.said[event["subject_id"]]
                assert (owner, fence) == (str(agent), said), "a reply was kept under a stale fence"
                kept.add(event["subject_id"])
        rows = await admin.fetch(
            "SELECT id FROM conversation_messages WHERE conversation_id = $1 AND sender_type = 'agent'", self.talk.id
        )
        assert {row["id"] for row in rows} == kept
        assert fence == (await make.now_of(self.service, self.talk)).fence


@given(runs=_runs)
@settings(
    max_examples=EXAMPLES,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
async def test_however_they_interleave_no_reply_is_kept_under_a_stale_fence_and_no_conversation_is_lost(
    service: Service, line: Connection, owner: Client, member: Client, admin: Any, runs: list[list[Step]]
) -> None:
    workspace_id = owner.workspace_id
    talk = await make.talk(service, workspace_id, f"+1415{next(PHONES)}")
    agents = [await make.agent(service, workspace_id, name) for name in ("Ada", "Bob")]
    world = World(service, talk, agents, [owner.user_id, member.user_id])
    for at_once in runs:
        if len(at_once) == 1 and at_once[0].what == "reply":
            [step] = at_once
            may = await world.may_reply(agents[step.who])
            outcome = await world.do(step)
            assert outcome == (("killed" if step.dies else "done") if may else Stale.__name__)
        else:
            await asyncio.gather(*(world.do(step) for step in at_once))
        await world.check(admin)
    await world.judge(admin)


async def test_the_judge_convicts_a_reply_under_a_stale_fence(
    service: Service, line: Connection, owner: Client, admin: Any
) -> None:
    talk = await make.talk(service, owner.workspace_id)
    agents = [await make.agent(service, owner.workspace_id, name) for name in ("Ada", "Bob")]
    world = World(service, talk, agents, [owner.user_id])
    await world.do(Step("claim", 0))
    await world.do(Step("reply", 0))
    await world.judge(admin)
    [message_id] = world.said
    world.said[message_id] = (agents[0], 0)
    with pytest.raises(AssertionError, match="stale fence"):
        await world.judge(admin)
