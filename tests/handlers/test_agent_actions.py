"""What agents ask leave for: what comms knows is done by comms, once, as it is approved; the rest is handed back."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from comms.directory import Connection
from tests.conftest import Client
from tests.make import agents as make
from tests.make.agents import API, errors, told
from tests.make.runtimes import AGENT, Runtime, approval, asked, proposed, runtime, said, stages


@pytest.fixture
async def ada(app: Any, owner: Client) -> AsyncIterator[Runtime]:
    async with runtime(app, owner) as client:
        yield client


@pytest.fixture
async def talk(anonymous: httpx.AsyncClient, line: Connection, owner: Client) -> str:
    """A conversation that a contact has begun, and that nobody has."""
    return await asked(anonymous, line, owner)


async def test_an_approved_message_is_sent_once_as_it_was_edited(
    ada: Runtime, owner: Client, member: Client, talk: str
) -> None:
    action = await proposed(ada, "send_message", {"conversationId": talk, "content": "10 % off"})
    assert (action["status"], action["conversationId"], action["fence"]) == ("pending", talk, 0)
    edited = {"conversationId": talk, "content": "5 % off"}
    answers = await asyncio.gather(*[member.post(approval(action), json={"details": edited}) for _ in range(3)])
    assert sorted(answer.status_code for answer in answers) == [201, 409, 409]
    done = next(answer.json() for answer in answers if answer.status_code == 201)
    (message,) = [message for message in await said(owner, talk) if message["direction"] == "outbound"]
    assert (message["content"], message["senderId"]) == ("5 % off", str(member.user_id))
    assert done["result"] == {"messageId": message["id"]}
    assert (done["performedBy"], done["succeeded"], done["editedDetails"]) == ("comms", True, edited)
    assert message["metadata"]["actionId"] == action["id"]
    assert await stages(owner, action) == ["asked", "approved", "performed"]
    assert (await ada.get(f"{AGENT}/actions/{action['id']}")).json() == done
    assert (await ada.post(f"{AGENT}/actions/{action['id']}/result", json={"succeeded": True})).status_code == 409


async def test_what_cannot_be_done_is_not_approved_and_still_waits(
    ada: Runtime, owner: Client, member: Client, talk: str
) -> None:
    action = await proposed(ada, "send_message", {"conversationId": talk, "content": "Hello"})
    await owner.put(f"{API}/conversations/{talk}/assignment", json={"userId": str(owner.user_id)})
    answer = await member.post(approval(action))
    assert (answer.status_code, answer.json()["owner"]["userId"]) == (409, str(owner.user_id)), answer.text
    assert (await ada.get(f"{AGENT}/actions/{action['id']}")).json() == action
    assert await stages(owner, action) == ["asked"]
    assert len(await said(owner, talk)) == 1


async def test_rows_of_the_crm_are_made_and_changed_by_the_rules_of_the_api(
    ada: Runtime, owner: Client, member: Client
) -> None:
    values = {"firstName": "Ada", "email": "ada@example.com"}
    action = await proposed(ada, "create_record", {"resource": "contacts", "values": values})
    done = (await member.post(approval(action))).json()
    contact = (await owner.get(f"{API}/contacts/{done['result']['id']}")).json()
    assert (contact["firstName"], contact["email"]) == ("Ada", "ada@example.com")
    assert await told(owner, contact["id"]) == ["contact.created"]
    details = {"resource": "contacts", "id": contact["id"], "values": {"jobTitle": "Countess"}}
    changed = await proposed(ada, "update_record", details)
    assert (await member.post(approval(changed))).status_code == 201
    assert (await owner.get(f"{API}/contacts/{contact['id']}")).json()["jobTitle"] == "Countess"


async def test_a_conversation_is_assigned_and_a_call_takes_a_person(
    ada: Runtime, owner: Client, member: Client, talk: str
) -> None:
    details = {"conversationId": talk, "userId": str(owner.user_id)}
    action = await proposed(ada, "assign_conversation", details, riskLevel="low")
    assert (await member.post(approval(action))).status_code == 201
    assert (await owner.get(f"{API}/conversations/{talk}")).json()["assignedTo"] == str(owner.user_id)
    call = await proposed(ada, "place_call", {"to": "+14155550199"}, riskLevel="low")
    answer = await member.post(approval(call))
    assert answer.status_code == 409  # they have no phone to ring
    assert (await ada.get(f"{AGENT}/actions/{call['id']}")).json()["status"] == "pending"


NOBODY = "0198c0de-5000-7fb0-9a6f-6d2c3f1e8b11"


@pytest.mark.parametrize(
    ("kind", "details", "places"),
    [
        ("send_message", {}, {"details.conversationId"}),
        ("send_message", {"conversationId": NOBODY, "content": "x"}, {"details.conversationId"}),
        ("send_message", {"conversationId": NOBODY, "text": "x"}, {"details.text"}),
        ("create_record", {"resource": "users", "values": {}}, {"details.resource"}),
        ("create_record", {"resource": "contacts", "values": {"nose": 1}}, {"details.values.nose"}),
        ("create_record", {"resource": "contacts", "values": {"phone": "no"}}, {"details.values.phone"}),
        (
            "create_record",
            {"resource": "deals", "values": {"name": "x", "contactId": NOBODY}},
            {"details.values.contactId"},
        ),
        ("update_record", {"resource": "deals", "id": NOBODY, "values": {"name": "x"}}, {"details.id"}),
        ("place_call", {"to": 7}, {"details.to"}),
    ],
)
async def test_an_action_that_cannot_work_is_refused_by_its_place(
    ada: Runtime, owner: Client, kind: str, details: dict[str, Any], places: set[str]
) -> None:
    body = {"actionType": kind, "title": "x", "details": details}
    assert set(errors(await ada.post(f"{AGENT}/actions", json=body))) == places
    by_member = body | {"agentId": str(ada.agent_id)}
    assert set(errors(await owner.post(f"{API}/agent-pending-actions", json=by_member))) == places
    assert (await ada.get(f"{AGENT}/actions")).json()["items"] == []


@pytest.mark.parametrize(
    ("kind", "details", "place"),
    [
        ("send_message", {"content": "x", "attachmentIds": ["upload", NOBODY]}, "details.attachmentIds[1]"),
        ("draft_message", {"attachmentIds": [NOBODY, "upload"]}, "details.attachmentIds[0]"),
        ("place_call", {"to": "+14155550111", "phoneNumberId": NOBODY}, "details.phoneNumberId"),
    ],
)
async def test_what_an_action_names_besides_is_there_when_it_is_asked(
    ada: Runtime, owner: Client, talk: str, kind: str, details: dict[str, Any], place: str
) -> None:
    sent = await owner.post(f"{API}/uploads", files={"file": ("a.txt", b"hello", "text/plain")})
    assert sent.status_code == 201, sent.text
    upload = sent.json()["id"]
    files = [upload if one == "upload" else one for one in details.get("attachmentIds", [])]
    more = {} if kind == "place_call" else {"conversationId": talk, "attachmentIds": files}
    body = {"actionType": kind, "title": "x", "details": details | more}
    assert set(errors(await ada.post(f"{AGENT}/actions", json=body))) == {place}
    if kind != "place_call":
        await proposed(ada, kind, details | more | {"attachmentIds": [upload]})


async def test_an_edit_that_cannot_work_is_refused_by_its_place(ada: Runtime, member: Client, talk: str) -> None:
    action = await proposed(ada, "send_message", {"conversationId": talk, "content": "Hello"})
    for details, place in (({"conversationId": talk, "content": " "}, "content"), ({"content": "x"}, "conversationId")):
        assert set(errors(await member.post(approval(action), json={"details": details}))) == {f"details.{place}"}
    assert (await member.post(approval(action))).status_code == 201


async def test_to_see_whether_a_row_could_be_written_writes_none(ada: Runtime, owner: Client) -> None:
    contact = await make.made(owner, "/contacts", {"firstName": "Ada"})
    details = {"resource": "contacts", "id": contact["id"], "values": {"firstName": "Bob"}}
    await proposed(ada, "update_record", details)
    await proposed(ada, "create_record", {"resource": "contacts", "values": {"firstName": "Bob"}})
    assert [row["firstName"] for row in (await owner.get(f"{API}/contacts")).json()["items"]] == ["Ada"]
    assert await told(owner, contact["id"]) == ["contact.created"]


async def test_what_risks_little_passes_alone_where_a_policy_says_so(ada: Runtime, owner: Client, talk: str) -> None:
    await make.made(
        owner, "/agent-policies", {"agentId": str(ada.agent_id), "passAlone": ["create_record", "send_message"]}
    )
    details = {"resource": "contacts", "values": {"firstName": "Ada"}}
    for risk, status in (("low", "approved"), ("medium", "pending"), ("critical", "pending")):
        action = await proposed(ada, "create_record", details, riskLevel=risk)
        assert (action["status"], action["passedAlone"]) == (status, status == "approved")
    assert len([row for row in (await owner.get(f"{API}/contacts")).json()["items"] if row["firstName"]]) == 1
    # To say something it must have the conversation, alone or not.
    said_there = {"conversationId": talk, "content": "Hello"}
    message = {"actionType": "send_message", "title": "x", "riskLevel": "low", "details": said_there}
    assert (await ada.post(f"{AGENT}/actions", json=message)).status_code == 409
    fence = (await ada.post(f"{AGENT}/conversations/{talk}/claim", json={})).json()["fence"]
    passed = await ada.post(f"{AGENT}/actions", json=message | {"fence": fence})
    assert (passed.status_code, passed.json()["performedBy"]) == (201, "comms"), passed.text
    assert (await said(owner, talk))[1]["senderId"] == str(ada.agent_id)
    assert await stages(owner, passed.json()) == ["asked", "performed"]


async def test_what_a_member_posts_for_an_agent_never_passes_alone(ada: Runtime, owner: Client) -> None:
    await make.made(owner, "/agent-policies", {"passAlone": ["*"]})
    body = {"agentId": str(ada.agent_id), "actionType": "email.send", "title": "x", "riskLevel": "low"}
    assert (await make.made(owner, "/agent-pending-actions", body))["status"] == "pending"


async def test_neither_who_posted_it_nor_whose_agent_it_is_approves(
    app: Any, owner: Client, member: Client, admin_member: Client
) -> None:
    agent = await make.agent(owner, status="active")
    body = {"agentId": agent["id"], "actionType": "email.send", "title": "x"}
    posted = await make.made(member, "/agent-pending-actions", body)
    async with runtime(app, member, agent=agent) as ada:
        asked_by_token = await proposed(ada, "email.send", {})
    for action in (posted, asked_by_token):
        assert action["askedBy"] == str(member.user_id)
        assert (await member.post(approval(action))).status_code == 403
        assert (await owner.post(approval(action))).status_code == 403
        assert (await admin_member.post(approval(action))).status_code == 201


async def test_what_comms_does_not_know_is_handed_back_and_reported_once(
    app: Any, ada: Runtime, owner: Client, member: Client
) -> None:
    action = await proposed(ada, "email.send", {"to": "jane"})
    report = f"{AGENT}/actions/{action['id']}/result"
    assert (await ada.post(report, json={"succeeded": True})).status_code == 409
    approved = (await member.post(approval(action))).json()
    assert (approved["status"], approved["performedAt"]) == ("approved", None)
    async with runtime(app, owner, "Bob") as bob:
        assert (await bob.post(report, json={"succeeded": True})).status_code == 404
    body = {"succeeded": False, "error": "The mailbox is full", "result": {"tries": 2}}
    answers = await asyncio.gather(*[ada.post(report, json=body) for _ in range(3)])
    assert sorted(answer.status_code for answer in answers) == [201, 409, 409]
    done = (await ada.get(f"{AGENT}/actions/{action['id']}")).json()
    assert (done["performedBy"], done["succeeded"], done["error"]) == ("runtime", False, "The mailbox is full")
    assert await stages(owner, action) == ["asked", "approved", "performed"]
    assert (await told(owner, action["id"]))[-1] == "agent_pending_action.performed"


async def test_a_policy_that_could_have_no_effect_is_refused_by_its_place(owner: Client, member: Client) -> None:
    for types, place in (
        (["place_call"], 0),
        (["a", "a"], 1),
        (["*", "a"], 1),
        (["a", " "], 1),
        (["a", "x" * 201], 1),
    ):
        answer = await owner.post(f"{API}/agent-policies", json={"passAlone": types})
        assert set(errors(answer)) == {f"passAlone[{place}]"}, types
    assert set(errors(await owner.post(f"{API}/agent-policies", json={"answerWithinSeconds": 59}))) == {
        "answerWithinSeconds"
    }
    assert (await member.post(f"{API}/agent-policies", json={})).status_code == 403
    await make.made(owner, "/agent-policies", {})
    assert (await owner.post(f"{API}/agent-policies", json={})).status_code == 409


async def test_an_action_expires_when_its_policy_says(ada: Runtime, owner: Client) -> None:
    await make.made(owner, "/agent-policies", {"answerWithinSeconds": 600})
    action = await proposed(ada, "email.send", {})
    assert action["expiresAt"] > action["requestedAt"]
    mine = (await ada.get(AGENT)).json()["policy"]
    assert mine == {"passAlone": [], "answerWithinSeconds": 600, "reach": "waiting"}


async def test_a_viewer_with_that_permission_approves_nothing_they_may_not_do(
    ada: Runtime, viewer: Client, admin: Any
) -> None:
    action = await proposed(ada, "create_record", {"resource": "contacts", "values": {"firstName": "Ada"}})
    query = "UPDATE workspace_members SET permissions = $1 WHERE user_id = $2"
    await admin.execute(query, '{"agents": "write"}', viewer.user_id)
    assert (await viewer.post(approval(action))).status_code == 403
    assert (await ada.get(f"{AGENT}/actions/{action['id']}")).json()["status"] == "pending"


async def test_a_handoff_that_was_approved_is_handed_on(ada: Runtime, owner: Client, member: Client, talk: str) -> None:
    details: dict[str, Any] = {
        "conversationId": talk,
        "reason": "Billing knows",
        "target": {"userId": str(owner.user_id)},
        "packet": {"summary": "Was charged twice"},
    }
    for fault, path in (
        ({"target": {"userId": NOBODY}}, "details.target.userId"),
        ({"target": {"neededSkills": [" "]}}, "details.target"),
        ({"steps": [{"target": {"neededSkills": [" "]}}]}, "details.steps[0].target"),
        ({"steps": [{"tellContact": " "}]}, "details.steps[0].tellContact"),
        ({"steps": [{"withinSeconds": 5}]}, "details.steps[0]"),
        ({"packet": {"links": [{"resource": "deals", "id": NOBODY}]}}, "details.packet.links[0].id"),
    ):
        wrong = {"actionType": "hand_off_conversation", "title": "x", "details": details | fault}
        assert set(errors(await ada.post(f"{AGENT}/actions", json=wrong))) == {path}
    action = await proposed(ada, "hand_off_conversation", details)
    done = (await member.post(approval(action))).json()
    handoff = (await owner.get(f"{API}/conversation-handoffs/{done['result']['handoffId']}")).json()
    assert (handoff["targetUserId"], handoff["packet"]["summary"]) == (str(owner.user_id), "Was charged twice")


async def test_an_agent_that_asks_before_it_speaks_keeps_its_conversation(
    ada: Runtime, owner: Client, member: Client, talk: str
) -> None:
    fence = (await ada.post(f"{AGENT}/conversations/{talk}/claim", json={})).json()["fence"]
    action = await proposed(ada, "send_message", {"conversationId": talk, "content": "10 % off"}, fence=fence)
    assert (await member.post(approval(action))).status_code == 201
    assert (await said(owner, talk))[1]["senderId"] == str(ada.agent_id)
    kept = (await owner.get(f"{API}/conversations/{talk}")).json()
    assert (kept["agentId"], kept["fence"]) == (str(ada.agent_id), fence)


async def test_of_many_that_are_asked_each_is_refused_by_the_path_of_its_fault(
    ada: Runtime, owner: Client, member: Client, talk: str
) -> None:
    waiting = await proposed(ada, "book_table", {})
    to = {"conversationId": talk}
    wanted: list[tuple[str, dict[str, Any], str | None]] = [
        ("book_table", {"seats": 4}, None),
        ("send_message", to | {"content": "Hello"}, None),
        ("send_message", to | {"content": " "}, "details.content"),
        ("send_message", {"conversationId": waiting["id"], "content": "Hello"}, "details.conversationId"),
        ("assign_conversation", to | {"userId": str(member.user_id)}, None),
        ("assign_conversation", to | {"userId": waiting["id"]}, "details.userId"),
        ("hand_off_conversation", to | {"reason": "x", "target": {"teamId": waiting["id"]}}, "details.target.teamId"),
        ("create_record", {"resource": "contacts", "values": {"firstName": "Ada"}}, None),
        ("create_record", {"resource": "contacts", "values": {"phone": "12"}}, "details.values.phone"),
    ]
    items = [
        {"agentId": waiting["agentId"], "actionType": kind, "title": "May it?", "details": details}
        for kind, details, _ in wanted
    ]
    items.append(items[0] | {"expiresAt": "2020-01-01T00:00:00Z"})
    answer = await owner.post(f"{API}/agent-pending-actions/batch", json={"items": items})
    results = answer.json()["results"]
    faults = [result["problem"]["errors"][0]["field"] if "problem" in result else None for result in results]
    assert faults == [*(fault for _, _, fault in wanted), "expiresAt"]
    made = [result["item"] for result in results if "item" in result]
    assert [action["conversationId"] for action in made] == [None, talk, talk, None]
    assert [await stages(owner, action) for action in made] == [["asked"]] * len(made)
    assert [await told(owner, action["id"]) for action in made] == [["agent_pending_action.created"]] * len(made)
    assert (await owner.get(f"{API}/contacts", params={"q": "Ada"})).json()["items"] == []
