"""Whatever the description promises to do only to the version that is meant, is not done to another."""

import uuid
from datetime import timedelta
from typing import Any
from urllib.parse import quote

import pytest

from comms.directory import Connection
from comms.service import Service
from handlers.resource import RESOURCES
from models.base import now
from models.communications import ConversationMessage
from models.hooks import WebhookSigningSecret
from tests.conftest import Client
from tests.handlers.descriptions import Operation, described, operations
from tests.handlers.test_resources import API, made
from tests.make import rows

pytestmark = described

JSON = "application/json"
WITHIN: dict[str, tuple[str, Any]] = {
    "change_note": ("conversation_id", {"is_internal": True, "content_type": "text"}),
    "delete_note": ("conversation_id", {"is_internal": True, "content_type": "text"}),
    "withdraw_conversation_handoff": ("conversation_id", {}),
}
"""Rows that are named below another: the column that says which, and what else they are."""
BY_AGENTS = {"delete_own_agent_memory"}
UNANSWERED = {"put_clerk_organization": 409}
"""What is refused before any row is looked at, since nobody is there to be asked."""


def promising() -> list[Operation]:
    return [
        operation
        for operation in operations()
        if any(parameter["name"] == "If-Match" for parameter in operation.said.get("parameters", []))
        and operation.name not in BY_AGENTS
    ]


async def address_of(operation: Operation, service: Service, client: Client) -> str:
    """Where a row is that the operation could change."""
    first, *more = operation.path.removeprefix(API).split("/{")
    resource = next(found for found in RESOURCES if found.path == first)
    row_id = await made(service, resource, client)
    if resource.table is WebhookSigningSecret:  # the last of an endpoint stays
        row = await rows.row(service, resource.table, workspace_id=client.workspace_id, user_id=client.user_id)
        async with service.database.workspace(client.workspace_id) as db:
            first_one: Any = await db.get(WebhookSigningSecret, (client.workspace_id, row_id))
            other: Any = await db.get(WebhookSigningSecret, (client.workspace_id, row.id))
            other.endpoint_id = first_one.endpoint_id
    steps = [str(row_id) + more[0].partition("}")[2]]
    for step in more[1:]:
        name, _, rest = step.partition("}")
        steps.append(await below(operation, name, row_id, service, client) + rest)
    return API + "/".join([first, *steps])


async def below(operation: Operation, name: str, row_id: uuid.UUID, service: Service, client: Client) -> str:
    if operation.name in WITHIN:
        column, values = WITHIN[operation.name]
        table = (
            ConversationMessage
            if name == "note_id"
            else next(found.table for found in RESOURCES if found.path == "/conversation-handoffs")
        )
        values = {**values, column: row_id}
        row = await rows.row(service, table, workspace_id=client.workspace_id, user_id=client.user_id, **values)
        return str(row.id)
    [said] = [parameter for parameter in operation.said["parameters"] if parameter["name"] == name]
    return "👍" if name == "emoji" else quote(str(said["example"]))


def body_of(operation: Operation) -> dict[str, Any]:
    if operation.name == "set_agent_team_member_order":  # a new team has none
        return {"json": {"memberIds": []}}
    said = operation.said.get("requestBody")
    return {} if said is None else {"json": said["content"][JSON]["example"]}


@pytest.mark.parametrize("method", ["patch", "put", "delete"])
async def test_what_promises_to_mind_the_version_does_nothing_to_another(
    method: str, service: Service, owner: Client
) -> None:
    promised = [operation for operation in promising() if operation.method == method]
    assert len(promised) > 10
    answers = {}
    for operation in promised:
        if operation.path.startswith(f"{API}/scheduled-messages"):  # they need a line to leave by: see below
            continue
        address = await address_of(operation, service, owner)
        answer = await owner.request(method, address, headers={"If-Match": '"0"'}, **body_of(operation))
        if answer.status_code != UNANSWERED.get(operation.name, 412):
            answers[operation.name] = answer.text
    assert not answers


async def test_what_has_not_left_yet_is_changed_and_called_off_only_as_the_version_that_is_meant(
    line: Connection, owner: Client
) -> None:
    later = (now() + timedelta(hours=1)).isoformat()
    body = {"to": "+14155550199", "content": "See you at 7", "scheduledAt": later}
    message = await owner.post(f"{API}/messages", json=body)
    assert message.status_code == 201, message.text
    address = f"{API}/scheduled-messages/{message.json()['id']}"
    seen = (await owner.get(address)).headers["etag"]
    changed = await owner.patch(address, json={"content": "See you at 8"}, headers={"If-Match": seen})
    assert changed.status_code == 200, changed.text
    for stale in (
        await owner.patch(address, json={"content": "See you at 9"}, headers={"If-Match": seen}),
        await owner.delete(address, headers={"If-Match": seen}),
    ):
        assert stale.status_code == 412, stale.text
    assert (await owner.get(address)).json()["content"] == "See you at 8"
    called_off = await owner.delete(address, headers={"If-Match": changed.headers["etag"]})
    assert called_off.json()["status"] == "canceled", called_off.text


async def test_a_member_of_a_team_of_agents_is_changed_only_as_the_version_that_is_meant(
    service: Service, owner: Client
) -> None:
    resource = next(found for found in RESOURCES if found.path == "/agent-team-members")
    address = f"{API}{resource.path}/{await made(service, resource, owner)}"
    seen = (await owner.get(address)).headers["etag"]
    changed = await owner.patch(address, json={"priority": 7}, headers={"If-Match": seen})
    assert changed.status_code == 200, changed.text
    assert changed.json()["priority"] == 7
    assert (await owner.patch(address, json={"priority": 8}, headers={"If-Match": seen})).status_code == 412
    assert (await owner.get(address)).json()["priority"] == 7
