"""Values of the right type that cannot be meant: numbers too short, time zones of one machine, names of blanks."""

from typing import Any

import pytest

from tests.conftest import Client

API = "/api/v1"
SCHEDULE = {"triggerType": "scheduled", "cron": "30 9 * * 1-5", "timezone": "Europe/Berlin"}
NAMED: dict[str, dict[str, Any]] = {
    "agents": {},
    "campaigns": {"type": "email"},
    "deals": {},
    "projects": {},
    "segments": {},
    "teams": {},
}
IMPLAUSIBLE = ["+12", "+44", "+1415", "+1 415", "+141555501234567"]


def named(answer: Any) -> set[str]:
    assert answer.status_code == 400, answer.text
    return {error["field"] for error in answer.json()["errors"]}


async def made(client: Client, path: str, **body: Any) -> str:
    answer = await client.post(f"{API}/{path}", json=body)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


@pytest.mark.parametrize("phone", IMPLAUSIBLE)
async def test_a_number_is_as_long_as_its_countrys_are(owner: Client, phone: str) -> None:
    jane = await made(owner, "contacts", firstName="Jane", phone="+1 (415) 555-0123")
    assert named(await owner.post(f"{API}/contacts", json={"phone": phone})) == {"phone"}
    assert named(await owner.patch(f"{API}/contacts/{jane}", json={"phone": phone})) == {"phone"}
    point = {"contactId": jane, "kind": "phone", "value": phone}
    assert named(await owner.post(f"{API}/contact-points", json=point)) == {"value"}
    assert named(await owner.post(f"{API}/customers", json={"name": "Globex", "phone": phone})) == {"phone"}
    uploaded = await owner.post(
        f"{API}/contacts/imports", content=f"Phone\n{phone}\n", headers={"Content-Type": "text/csv"}
    )
    assert uploaded.json()["counts"]["failed"] == 1


@pytest.mark.parametrize(
    ("kind", "bad", "good", "kept"),
    [
        ("short_code", ["abc", "12", "723456789", "+72345"], "72345", "72345"),
        ("alphanumeric", ["  ", "12345", "Longer than 11", "Größe"], "ACME Bank", "ACME Bank"),
        ("messenger", ["not a messenger", " ", "messenger:"], "messenger:7234", "7234"),
        ("rcs", ["not an agent", " "], "acme_agent", "acme_agent"),
    ],
)
async def test_an_address_looks_like_those_of_its_kind(
    owner: Client, kind: str, bad: list[str], good: str, kept: str
) -> None:
    point = {"contactId": await made(owner, "contacts", firstName="Jane"), "kind": kind}
    for value in bad:
        assert named(await owner.post(f"{API}/contact-points", json=point | {"value": value})) == {"value"}, value
    answer = await owner.post(f"{API}/contact-points", json=point | {"value": good})
    assert (answer.status_code, answer.json()["value"]) == (201, kept)


@pytest.mark.parametrize("day", ["0226-03-01", "1899-12-31", "3000-01-01", "9999-12-31"])
async def test_a_date_is_of_a_year_that_can_be_meant(owner: Client, day: str) -> None:
    customer = await made(owner, "customers", name="Globex")
    for path, field, more in (
        ("invoices", "dueDate", {"customerId": customer}),
        ("expenses", "date", {"description": "Taxi", "amount": "3", "currency": "EUR", "category": "travel"}),
        ("deals", "expectedCloseDate", {"name": "100 seats"}),
    ):
        assert named(await owner.post(f"{API}/{path}", json=more | {field: day})) == {field}, path
        await made(owner, path, **more, **{field: "2026-03-01"})
    deal = await made(owner, "deals", name="100 seats")
    closed = await owner.post(f"{API}/deals/{deal}/closure", json={"outcome": "won", "actualCloseDate": day})
    assert named(closed) == {"actualCloseDate"}


async def test_codes_and_numbers_are_written_in_letters_and_digits_of_ascii(owner: Client) -> None:
    deal = {"name": "100 seats", "value": "1"}
    assert named(await owner.post(f"{API}/deals", json=deal | {"currency": "ßd"})) == {"currency"}
    number = {"phoneNumber": "٣٤٥٦٧", "provider": "twilio"}
    assert named(await owner.post(f"{API}/workspace-phone-numbers", json=number)) == {"phoneNumber"}
    await made(owner, "workspace-phone-numbers", **number | {"phoneNumber": "34567"})
    jane = await made(owner, "contacts", firstName="Jane", phone="+1٤155550123")
    for written in ("+14155550123", "+1٤155550123"):
        found = (await owner.get(f"{API}/contacts", params={"phone": written})).json()["items"]
        assert [(item["id"], item["phone"]) for item in found] == [(jane, "+14155550123")]


@pytest.mark.parametrize("zone", ["localtime", "Factory", "posixrules", "right/UTC", "", "Europe", "../etc"])
async def test_a_time_zone_is_one_wherever_it_is_given(owner: Client, zone: str) -> None:
    agent = await made(owner, "agents", name="Front desk", type="sms")
    schedule = SCHEDULE | {"agentId": agent}
    assert named(await owner.post(f"{API}/agent-schedules", json=schedule | {"timezone": zone})) == {"timezone"}
    assert named(await owner.post(f"{API}/contacts", json={"timezone": zone})) == {"timezone"}
    wrong = await owner.patch(f"{API}/me", json={"preferences": {"timezone": zone}})
    assert named(wrong) == {"preferences.timezone"}
    workspace = f"{API}/workspaces/{owner.workspace_id}"
    assert named(await owner.patch(workspace, json={"settings": {"timezone": zone}})) == {"settings.timezone"}
    await made(owner, "agent-schedules", **schedule)


@pytest.mark.parametrize("cron", ["*/61 * * * *", "0-59/99 * * * *", "0 */25 * * *", "0 0 1,*/32 * *", "0 0 * * */8"])
async def test_no_cron_steps_over_more_than_there_is(owner: Client, cron: str) -> None:
    schedule = SCHEDULE | {"agentId": await made(owner, "agents", name="Front desk", type="sms")}
    assert named(await owner.post(f"{API}/agent-schedules", json=schedule | {"cron": cron})) == {"cron"}
    await made(owner, "agent-schedules", **schedule | {"cron": "*/20 0-23/2 * * *"})


@pytest.mark.parametrize("table", NAMED)
async def test_a_name_says_something(owner: Client, table: str) -> None:
    body = NAMED[table]
    row = await made(owner, table, name="Billing", **body)
    for blank in ("", "  \t"):
        assert named(await owner.post(f"{API}/{table}", json={"name": blank, **body})) == {"name"}
        answer = await owner.patch(f"{API}/{table}/{row}", json={"name": blank})
        assert named(answer) == {"name"}
        assert answer.json()["errors"] == [{"field": "name", "reason": "must not be blank"}]


async def test_a_workspace_has_a_name(owner: Client) -> None:
    assert named(await owner.patch(f"{API}/workspaces/{owner.workspace_id}", json={"name": " "})) == {"name"}


async def test_what_was_kept_before_can_be_read_and_otherwise_changed(owner: Client, admin: Any) -> None:
    jane = await made(owner, "contacts", firstName="Jane", phone="+14155550123")
    deal = await made(owner, "deals", name="100 seats")
    agent = await made(owner, "agents", name="Front desk", type="sms")
    schedule = await made(owner, "agent-schedules", agentId=agent, **SCHEDULE)
    await admin.execute("UPDATE contacts SET phone = '+12', timezone = 'localtime'")
    await admin.execute("UPDATE contact_points SET value = '+12'")
    await admin.execute("UPDATE deals SET name = ''")
    await admin.execute("UPDATE agent_schedules SET cron = '*/61 * * * *', timezone = 'posixrules'")
    for path, change in (
        (f"contacts/{jane}", {"company": "Globex"}),
        (f"deals/{deal}", {"notes": "Called."}),
        (f"agent-schedules/{schedule}", {"missedRuns": "skip"}),
    ):
        answer = await owner.patch(f"{API}/{path}", json=change)
        assert (answer.status_code, answer.json() | change) == (200, answer.json()), answer.text
    found = (await owner.get(f"{API}/contacts", params={"phone": "+12"})).json()["items"]
    assert [(row["id"], row["timezone"]) for row in found] == [(jane, "localtime")]
