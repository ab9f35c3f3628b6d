"""A team that is given conversations: people with what they can take, rules, and what waits for them."""

import uuid
from typing import Any

from comms import workspaces
from comms.assignment.following import keep_up
from comms.service import Service
from tests.conftest import Client
from tests.make.agents import API, made


class Desk:
    """A team of the owner's workspace, and a rule that sends it everything unless told otherwise."""

    def __init__(self, service: Service, owner: Client) -> None:
        self.service = service
        self.owner = owner
        self.team_id = ""

    async def open(self, **rule: Any) -> dict[str, Any]:
        """The team is there with its rule, and nobody is in it but the owner, who takes nothing."""
        self.team_id = (await made(self.owner, "/teams", {"name": "Support"}))["id"]
        await self.join(self.owner.user_id, capacity=0)
        return await self.rule(**rule)

    async def rule(self, **rule: Any) -> dict[str, Any]:
        return await made(self.owner, "/routing-rules", {"name": "All", "teamId": self.team_id, **rule})

    async def person(self, name: str, **profile: Any) -> str:
        """Somebody new, in the team."""
        async with self.service.database.everywhere() as db:
            entered = await workspaces.enter(
                db, self.owner.workspace_id, email=f"{name}@acme.example", role=profile.pop("role", "member")
            )
        return await self.join(entered.user_id, **profile)

    async def join(self, user_id: uuid.UUID, **profile: Any) -> str:
        await made(self.owner, "/team-members", {"teamId": self.team_id, "userId": str(user_id)})
        if profile:
            await made(self.owner, "/routing-profiles", {"userId": str(user_id), **profile})
        return str(user_id)

    async def waiting(self, **body: Any) -> str:
        """A conversation that nobody owns."""
        row = await made(self.owner, "/conversations", {"channel": "sms", **body})
        return str(row["id"])

    async def busy(self, user_id: str, times: int = 1, **body: Any) -> list[str]:
        """Conversations that somebody has been given by hand."""
        talks = [await self.waiting(**body) for _ in range(times)]
        for talk in talks:
            await self.assign(talk, user_id)
        return talks

    async def assign(self, talk: str, user_id: str) -> None:
        answer = await self.owner.put(f"{API}/conversations/{talk}/assignment", json={"userId": user_id})
        assert answer.status_code == 200, answer.text

    async def close(self, talk: str) -> None:
        assert (await self.owner.post(f"{API}/conversations/{talk}/closure")).status_code == 201

    async def routed(self) -> int:
        """How many are given when the worker looks."""
        return await keep_up(self.service.database, [self.owner.workspace_id])

    async def owner_of(self, talk: str) -> str | None:
        owner: str | None = (await self.owner.get(f"{API}/conversations/{talk}")).json()["assignedTo"]
        return owner

    async def listed(self, resource: str, **query: str) -> list[dict[str, Any]]:
        answer = await self.owner.get(f"{API}/{resource}", params=query)
        assert answer.status_code == 200, answer.text
        items: list[dict[str, Any]] = answer.json()["items"]
        return items

    async def why(self, talk: str) -> dict[str, Any]:
        """The one decision about a conversation."""
        [decision] = await self.listed("routing-decisions", conversationId=talk)
        return decision
