"""The example of every body: what the description shows is what the API takes."""

import re
from typing import Any

from comms.service import Service
from handlers.resource import RESOURCES
from models.communications import OutgoingMessage
from tests.conftest import Client
from tests.handlers.descriptions import Operation, described, operations
from tests.make import rows
from tests.make.runtimes import runtime

pytestmark = described

JSON = "application/json"
ROOT = "/api/v1"


def with_examples() -> list[Operation]:
    """What is sent a body by somebody whom we know, but for what makes rows: test_documents.py makes them."""
    makes = {("post", f"{ROOT}{resource.path}{end}") for resource in RESOURCES for end in ("", "/batch")}
    found = [operation for operation in operations() if (operation.method, operation.path) not in makes]
    has_body = [each for each in found if JSON in each.said.get("requestBody", {}).get("content", {})]
    return [each for each in has_body if "security" in each.said]


WHATEVER_IS_THERE = (
    "refers to nothing in this workspace",
    "is no active member of this workspace",
    "is taken",
    "is not a column of this file",
    "is required once the rule is active",
    "are not all had by anybody here: billing",
    "must name each of the team's 0 members once",
)
"""What may be wrong with an example because of the rows that are there, and not because of what it says."""


async def test_no_example_is_refused_for_what_it_says(
    service: Service, app: Any, owner: Client, member: Client
) -> None:
    async with runtime(app, owner) as agent:
        assert await refused(service, owner, member, agent) == []


def test_what_is_shown_of_a_step_forward_is_one_that_can_be_taken() -> None:
    bodies = {each.name: each.said["requestBody"]["content"][JSON]["example"] for each in with_examples()}
    assert "error" not in bodies["end_own_agent_execution"]  # it is refused of a run that did not fail
    assert bodies["set_agent_message_status"] == {"status": "read"}  # nothing becomes pending or a draft
    assert bodies["set_agent_status"] == bodies["set_agent_workflow_status"] == {"status": "active"}
    assert set(bodies["approve_agent_pending_action"]["details"]) == {"conversationId", "content"}
    assert "discount" in bodies["reject_agent_pending_action"]["reason"]


async def refused(service: Service, owner: Client, member: Client, agent: Client) -> list[str]:
    """What is wrong with the examples."""
    here = {"workspace_id": owner.workspace_id, "user_id": owner.user_id}
    tables = {resource.path: resource.table for resource in RESOURCES} | {"/scheduled-messages": OutgoingMessage}
    there = {"/workspaces": owner.workspace_id, "/workspace-members": member.user_id, "/agent": owner.workspace_id}
    wrong = []
    for operation in with_examples():
        path = "/" + operation.path.removeprefix(ROOT).split("/")[1]
        if "{" in operation.path and path not in there:
            there[path] = (await rows.row(service, tables[path], **here)).id
        address = re.sub(r"\{\w+\}", str(there.get(path)), operation.path.replace("{provider}", "openai"))
        body = operation.said["requestBody"]["content"][JSON]["example"]
        asker = agent if path == "/agent" else owner
        answer = await asker.request(operation.method, address, json=body)
        if str(answer.status_code) not in operation.said["responses"]:
            wrong.append(f"{operation.name}: {answer.status_code} is not described")
        if answer.status_code == 400:
            errors = {error["field"]: error["reason"] for error in answer.json().get("errors", ())}
            said = {field: reason for field, reason in errors.items() if reason not in WHATEVER_IS_THERE}
            wrong += [f"{operation.name}: {said or answer.text}"] if said or not errors else []
    return wrong
