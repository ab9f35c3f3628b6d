"""Lists that are not a resource's own: of what belongs to one row, and of everything that happened."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from comms.service import Service
from tests.conftest import Client
from tests.handlers.test_resources import API, counted
from tests.make import rows

OF = object()
"""Stands for the id of the row that they belong to."""
WITHIN: dict[str, tuple[str, str, dict[str, Any]]] = {
    "/agents/{}/executions": ("agents", "agent_executions", {"agent_id": OF}),
    "/agent-workflows/{}/executions": ("agent_workflows", "agent_workflow_executions", {"workflow_id": OF}),
    "/campaigns/{}/recipients": ("campaigns", "campaign_recipients", {"campaign_id": OF}),
    "/contacts/{}/conversations": ("contacts", "conversations", {"contact_id": OF, "status": "closed"}),
    "/conversations/{}/messages": ("conversations", "conversation_messages", {"conversation_id": OF}),
    "/deals/{}/stage-changes": ("deals", "deal_stage_changes", {"deal_id": OF}),
}
"""Whose they are, what they are, and with which values."""


@pytest.mark.parametrize("path", WITHIN)
async def test_a_list_within_takes_as_many_queries_however_long_it_is(
    path: str, service: Service, owner: Client
) -> None:
    whose, what, values = WITHIN[path]
    here = {"workspace_id": owner.workspace_id, "user_id": owner.user_id}
    of = (await rows.row(service, rows.class_of(whose), **here)).id
    given = {name: of if value is OF else value for name, value in values.items()}

    async def one_more() -> str:
        return str((await rows.row(service, rows.class_of(what), **here, **given)).id)

    await expect_as_many(owner, API + path.format(of), one_more)


async def expect_as_many(owner: Client, address: str, one_more: Callable[[], Awaitable[str]]) -> None:
    """A list of five is found by as many statements as a list of one."""
    there = {await one_more()}
    assert await found(owner, address) == there
    with counted() as statements:
        await found(owner, address)
        for_one = statements()
    there |= {await one_more() for _ in range(4)}
    with counted() as statements:
        assert await found(owner, address) == there
        assert statements() == for_one > 0


async def found(owner: Client, address: str) -> set[str]:
    return {str(item.get("id") or item["subjectId"]) for item in (await owner.get(address)).json()["items"]}


@pytest.mark.parametrize("path", ["/segments/{}/contacts", "/events?subjectType=contact"])
async def test_so_does_what_is_found_by_what_is_said_of_it(path: str, owner: Client) -> None:
    rules = [{"field": "createdAt", "operator": "is_set"}]
    segment = (await owner.post(f"{API}/segments", json={"name": "all", "rules": rules})).json()["id"]

    async def one_more() -> str:
        return str((await owner.post(f"{API}/contacts", json={})).json()["id"])

    await expect_as_many(owner, API + path.format(segment), one_more)
