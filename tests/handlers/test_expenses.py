"""Expenses: one's own until somebody else decides."""

import asyncio
from typing import Any

import pytest
from sqlalchemy import update

from comms.service import Service
from models.core import WorkspaceMember
from tests.conftest import Client

API = "/api/v1"
TAXI = {"description": "Taxi", "amount": "23.50", "category": "travel", "date": "2026-03-01"}


async def submitted(client: Client, **values: Any) -> dict[str, Any]:
    answer = await client.post(f"{API}/expenses", json=TAXI | values)
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


def at(expense: dict[str, Any], noun: str = "") -> str:
    return f"{API}/expenses/{expense['id']}" + (f"/{noun}" if noun else "")


async def listed(client: Client) -> set[str]:
    return {item["id"] for item in (await client.get(f"{API}/expenses")).json()["items"]}


async def test_members_see_their_own_and_those_who_decide_see_all(
    owner: Client, admin_member: Client, member: Client, viewer: Client
) -> None:
    mine, theirs = await submitted(member), await submitted(owner)
    assert mine["submittedBy"] == str(member.user_id)
    assert await listed(member) == {mine["id"]}
    assert (await member.get(at(theirs))).status_code == 404
    assert await listed(admin_member) == {mine["id"], theirs["id"]}
    assert await listed(viewer) == set()


async def test_a_member_with_the_permission_decides_too(
    service: Service, owner: Client, workspace_id: Any, member: Client
) -> None:
    theirs = await submitted(owner)
    async with service.database.everywhere() as db:
        await db.execute(
            update(WorkspaceMember)
            .where(WorkspaceMember.user_id == member.user_id)
            .values(permissions={"billing": "write"})
        )
    answer = await member.post(at(theirs, "approval"))
    assert answer.status_code == 201, answer.text
    assert answer.json()["approvedBy"] == str(member.user_id)


async def test_only_the_submitter_changes_or_deletes_and_only_while_pending(
    owner: Client, admin_member: Client, member: Client
) -> None:
    mine = await submitted(member)
    assert (await owner.patch(at(mine), json={"amount": "1"})).status_code == 403
    assert (await owner.delete(at(mine))).status_code == 403
    assert (await member.patch(at(mine), json={"amount": "24.00"})).json()["amount"] == "24.00"
    assert (await owner.post(at(mine, "approval"))).status_code == 201
    for answer in (await member.patch(at(mine), json={"amount": "1"}), await member.delete(at(mine))):
        assert answer.status_code == 409
        assert "approved" in answer.json()["detail"]
    other = await submitted(member)
    assert (await member.delete(at(other))).status_code == 204


async def test_nobody_decides_on_their_own(owner: Client, admin_member: Client, member: Client) -> None:
    own = await submitted(owner)
    assert (await admin_member.post(at(own, "approval"))).status_code == 201
    other = await submitted(owner)
    for noun, body, of in (("approval", {}, other), ("rejection", {"reason": "x"}, other), ("reimbursement", {}, own)):
        answer = await owner.post(at(of, noun), json=body)
        assert answer.status_code == 403, noun
        assert "somebody else" in answer.json()["detail"]
        assert (await member.post(at(of, noun), json=body)).status_code == 403


async def test_approved_is_reimbursed_and_rejected_is_nothing_more(owner: Client, member: Client) -> None:
    good, bad = await submitted(member), await submitted(member)
    assert (await owner.post(at(good, "reimbursement"))).status_code == 409
    approved = (await owner.post(at(good, "approval"))).json()
    assert (approved["status"], approved["approvedBy"]) == ("approved", str(owner.user_id))
    assert (await owner.post(at(good, "rejection"), json={"reason": "x"})).status_code == 409
    reimbursed = (await owner.post(at(good, "reimbursement"))).json()
    assert (reimbursed["status"], reimbursed["reimbursedBy"]) == ("reimbursed", str(owner.user_id))
    assert (await owner.post(at(bad, "rejection"), json={})).status_code == 400
    rejected = (await owner.post(at(bad, "rejection"), json={"reason": "no receipt"})).json()
    assert (rejected["status"], rejected["rejectionReason"], rejected["approvedAt"]) == ("rejected", "no receipt", None)
    assert (await owner.post(at(bad, "approval"))).status_code == 409
    items = (await owner.get(f"{API}/events", params={"subjectId": good["id"]})).json()["items"]
    assert [item["event"] for item in items] == ["expense.created", "expense.approved", "expense.reimbursed"]


async def test_of_approval_and_rejection_at_once_one_happens(
    owner: Client, admin_member: Client, member: Client
) -> None:
    for _ in range(3):
        mine = await submitted(member)
        answers = await asyncio.gather(
            owner.post(at(mine, "approval")), admin_member.post(at(mine, "rejection"), json={"reason": "x"})
        )
        assert sorted(answer.status_code for answer in answers) == [201, 409]


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"receipt": "javascript:alert(1)"}, "receipt"),
        ({"receipt": "http://"}, "receipt"),
        ({"receipt": "https://[::1"}, "receipt"),
        ({"amount": "0"}, "amount"),
        ({"amount": "1.999"}, "amount"),
        ({"category": "bribes"}, "category"),
        ({"currency": "Euro"}, "currency"),
        ({"date": "2026-02-30"}, "date"),
        ({"submittedBy": "me"}, "submittedBy"),
    ],
)
async def test_an_expense_that_makes_no_sense_is_refused_by_name(
    member: Client, values: dict[str, str], field: str
) -> None:
    answer = await member.post(f"{API}/expenses", json=TAXI | values)
    assert answer.status_code == 400, answer.text
    assert {error["field"] for error in answer.json()["errors"]} == {field}


async def test_a_currency_is_kept_in_upper_case(member: Client) -> None:
    assert (await submitted(member, currency="eur", receipt="https://x.example/r.pdf"))["currency"] == "EUR"
