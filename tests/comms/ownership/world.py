"""Two conversations, and all who may have them: what each can do, late, at once, or killed before the commit."""

import uuid
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

import msgspec
from sqlalchemy import select, text

from comms import conversations, events, members, ownership
from comms.agents import roster, states
from comms.assignment import following, rules
from comms.contacts import merging
from comms.errors import Refused
from comms.identity import Identity
from comms.outbox import Intent, put
from comms.ownership import ByAgent, ByMember, deadlines, handing, leaving, settling
from comms.service import Service
from models.agents import Agent
from models.base import now
from models.communications import Conversation
from models.communications.handoffs import Target
from models.core import WorkspaceMember
from models.routing import RoutingRule, RoutingRuleView
from tests.make import ownership as make

NEVER = {"schedule": {}, "holidays": [{"on": "2001-01-01", "open": [{"from": "09:00", "to": "10:00"}]}]}


class Step(msgspec.Struct, frozen=True):
    """What one of them does about one of the conversations; with ``dies`` they are killed before the commit."""

    what: str
    who: int = 0
    on: int = 0
    dies: bool = False


class Killed(Exception):
    """Somebody was killed just before the commit."""


class World:
    """Two conversations of two contacts, two agents with what they remember of the fences, two people and their team.

    The second person comes and goes, the agents are paused and activated, people are away and available, the rule that
    sends everything to the team is switched off and on and its hours are over, and the two contacts become one and two
    again.
    """

    def __init__(
        self,
        service: Service,
        talks: Sequence[Conversation],
        agents: Sequence[uuid.UUID],
        people: Sequence[uuid.UUID],
        team_id: uuid.UUID,
    ) -> None:
        self.service = service
        self.talks = talks
        self.agents = agents
        self.people = people
        self.team_id = team_id
        self.here = talks[0].workspace_id
        self.owner = Identity(self.here, people[0], "owner")
        self.fences = {(agent, talk.id): 0 for agent in agents for talk in talks}
        self.with_agents: dict[uuid.UUID, Conversation] = {}
        self.said: dict[uuid.UUID, tuple[uuid.UUID, int]] = {}
        self.merges: list[tuple[Any, uuid.UUID]] = []

    def sensible(self, step: Step) -> Step:
        """The step; or that the agent claims, if it would speak and has never had anything."""
        speaks = step.what in ("reply", "schedule", "renew", "hand_on")
        is_idle = speaks and self.agents[step.who] not in self.with_agents
        return msgspec.structs.replace(step, what="claim") if is_idle else step

    async def do(self, step: Step) -> str:
        """Done, refused or killed."""
        try:
            await getattr(self, f"_{step.what}")(step)
        except Killed:
            return "killed"
        except Refused as refused:
            return type(refused).__name__
        return "done"

    async def may_reply(self, step: Step) -> bool:
        """Whether a reply that is written now, and by nobody else, is to be kept."""
        agent, talk = self._of(step)
        row = await make.now_of(self.service, talk)
        is_leased = row.lease_expires_at is not None and row.lease_expires_at > now()
        return row.agent_id == agent and row.fence == self.fences[agent, talk.id] and is_leased

    def _of(self, step: Step) -> tuple[uuid.UUID, Conversation]:
        """The agent, and the conversation that it believes to have."""
        agent = self.agents[step.who]
        return agent, self.with_agents.get(agent, self.talks[step.on])

    async def _held(self, step: Step, do: Callable[..., Any], talk: Conversation | None = None) -> int:
        """Something is done with the conversation while nobody else does anything with it; its fence after that."""
        async with make.held(self.service, talk or self.talks[step.on]) as (db, row):
            await do(db, row)
            if step.dies:
                raise Killed
            return row.fence

    async def _done(self, step: Step, do: Callable[..., Any]) -> Any:
        """The same of what locks for itself."""
        async with self.service.database.workspace(self.here) as db:
            outcome = await do(db)
            if step.dies:
                raise Killed
            return outcome

    # Agents

    async def _claim(self, step: Step) -> None:
        agent, talk = self.agents[step.who], self.talks[step.on]
        self.fences[agent, talk.id] = await self._held(step, lambda db, row: ownership.claim(db, row, agent, 60))
        self.with_agents[agent] = talk

    async def _renew(self, step: Step) -> None:
        agent, talk = self._of(step)
        fence = self.fences[agent, talk.id]
        await self._held(step, lambda db, row: ownership.renew(db, row, agent, fence, 60), talk)

    async def _reply(self, step: Step, **more: Any) -> None:
        agent, talk = self._of(step)
        fence = self.fences[agent, talk.id]
        says = {"content": "Hello", "sender_type": "agent", "sender_agent_id": agent, "fence": fence, **more}

        async def say(db: Any) -> None:
            view = await put(db, Intent(workspace_id=self.here, conversation_id=talk.id, **says))
            self.said[view.id] = (agent, fence)

        await self._done(step, say)

    async def _schedule(self, step: Step) -> None:
        await self._reply(step, scheduled_at=now().replace(year=now().year + 1))

    async def _look(self, step: Step) -> None:
        agent, talk = self._of(step)
        self.fences[agent, talk.id] = (await make.now_of(self.service, talk)).fence

    async def _hand_on(self, step: Step) -> None:
        agent, talk = self._of(step)
        target = Target(user_id=self.people[0]) if step.who else Target(agent_id=self.agents[1])
        wanted = handing.Handing(reason="Cannot help", target=target)
        fence = self.fences[agent, talk.id]
        await self._held(step, lambda db, row: handing.hand_on(db, row, wanted, ByAgent(agent), fence=fence), talk)

    async def _pause(self, step: Step) -> None:
        """The agent is out of work, or works again."""

        async def toggle(db: Any) -> None:
            agent = await states.held(db, Agent, self.here, self.agents[step.who])
            await roster.enter(db, agent, "paused" if agent.status == "active" else "active")

        await self._done(step, toggle)

    # People

    async def _take_over(self, step: Step) -> None:
        await self._held(step, lambda db, row: ownership.take_over(db, row, self.people[step.who]))

    async def _answer(self, step: Step) -> None:
        await make.say(self.service, self.talks[step.on], sender_type="user", sender_user_id=self.people[step.who])

    async def _give_back(self, step: Step) -> None:
        await self._held(step, lambda db, row: ownership.release(db, row, why="given back"))

    async def _give_to_agent(self, step: Step) -> None:
        agent = self.agents[step.who]
        await self._held(step, lambda db, row: handing.give_to_agent(db, row, agent, ByMember(self.people[0])))

    async def _hand_over(self, step: Step) -> None:
        wanted = handing.Handing(reason="For the team", target=Target(team_id=self.team_id))
        await self._held(step, lambda db, row: handing.hand_on(db, row, wanted, ByMember(self.people[step.who])))

    async def _accept(self, step: Step) -> None:
        await self._settle(step, lambda *handed: handing.accept(*handed, ByMember(self.people[step.who])))

    async def _reject(self, step: Step) -> None:
        by = ByMember(self.people[step.who])
        await self._settle(step, lambda *handed: deadlines.reject(*handed, by, why="Busy"))

    async def _settle(self, step: Step, do: Callable[..., Any]) -> None:
        async def settle(db: Any, row: Conversation) -> None:
            handoff = await settling.open_of(db, row)
            if handoff is not None:
                await do(db, row, handoff)

        await self._held(step, settle)

    async def _close(self, step: Step) -> None:
        """The conversation is closed, or active again."""

        async def toggle(db: Any, row: Conversation) -> None:
            enter_or_leave = conversations.enter if row.status == "active" else conversations.leave
            await enter_or_leave(db, row, conversations.CLOSURE)

        await self._held(step, toggle)

    async def _snooze(self, step: Step) -> None:
        """The conversation is put off, or no more."""

        async def toggle(db: Any, row: Conversation) -> None:
            if row.snoozed_until is None:
                await conversations.snooze(db, row, now() + timedelta(days=1))
            else:
                await conversations.unsnooze(db, row)

        await self._held(step, toggle)

    async def _rule(self, step: Step) -> None:
        """The rule is switched off or on, or its hours are over or always."""

        async def change(db: Any) -> None:
            rule = (await db.scalars(select(RoutingRule).with_for_update(key_share=True))).one()
            before = msgspec.convert(rule, RoutingRuleView, from_attributes=True)
            hours = {"hours": NEVER if rule.hours is None else None}
            await rules.change(db, rule, hours if step.who else {"is_active": not rule.is_active})
            await db.flush()
            view = msgspec.convert(rule, RoutingRuleView, from_attributes=True)
            events.record(db, "routing_rule.updated", rule, view, before=before)

        await self._done(step, change)

    async def _leave(self, step: Step) -> None:
        """The second person leaves the workspace, or is back."""

        async def toggle(db: Any) -> None:
            own = await members.in_turn(db, self.owner)
            query = select(WorkspaceMember).where(WorkspaceMember.user_id == self.people[1])
            row = (await db.scalars(query.with_for_update(key_share=True))).one()
            if row.is_active:
                await members.deactivate(db, own, row)
            else:
                members.reactivate(own, row)

        await self._done(step, toggle)

    async def _appear(self, step: Step) -> None:
        """A person is there to be given something, or away."""
        await self._done(step, lambda db: db.execute(_APPEAR, {"user": self.people[step.who]}))

    async def _merge(self, step: Step) -> None:
        kept, other = self.talks[step.on].contact_id, self.talks[1 - step.on].contact_id
        assert kept is not None
        assert other is not None
        self.merges.append((kept, (await self._done(step, lambda db: merging.merge(db, self.owner, kept, other))).id))

    async def _undo(self, step: Step) -> None:
        if self.merges:
            kept, merge_id = self.merges[-1]
            await self._done(step, lambda db: merging.part(db, self.owner, kept, merge_id))

    # What comes round, and what comes due

    async def _route(self, step: Step) -> None:
        async with self.service.database.everywhere() as db:
            await following.catch_up(db, self.here)
            if step.dies:
                raise Killed

    async def _work(self, step: Step) -> None:
        """What was left for later when somebody left, or was paused."""
        async with self.service.database.everywhere() as db:
            jobs = (await db.execute(_JOBS, {"name": leaving.LET_GO})).all()
        for job in jobs:
            await leaving.let_go(self.service.database, msgspec.json.decode(job.payload))
            async with self.service.database.everywhere() as db:
                await db.execute(_DONE, {"id": job.id})

    async def _lapse(self, step: Step) -> None:
        async with make.held(self.service, self.talks[step.on]) as (_, row):
            if row.agent_id is not None:
                row.lease_expires_at = row.created_at

    async def _expire(self, step: Step) -> None:
        await ownership.expire_leases(self.service.database)

    async def _wake(self, step: Step) -> None:
        async with make.held(self.service, self.talks[step.on]) as (_, row):
            if row.snoozed_until is not None:
                row.snoozed_until = row.created_at
        await conversations.wake(self.service.database)

    async def _deadline(self, step: Step) -> None:
        async with make.held(self.service, self.talks[step.on]) as (db, row):
            handoff = await settling.open_of(db, row)
            if handoff is not None:
                handoff.deadline_at = row.created_at
        await deadlines.pass_deadlines(self.service.database)

    async def come_to_rest(self) -> None:
        """All that was left for later is done, and all that waits has its place."""
        await self._work(Step("work"))
        await following.keep_up(self.service.database, [self.here])


_JOBS = text("SELECT id, payload FROM jobs.pgqueuer WHERE entrypoint = :name ORDER BY id")
_DONE = text("DELETE FROM jobs.pgqueuer WHERE id = :id")
_APPEAR = text(
    "UPDATE routing_profiles SET availability = CASE availability WHEN 'away' THEN 'available' ELSE 'away' END"
    " WHERE user_id = :user"
)
