"""Rules and profiles that could never work are refused when they are written, by the path of what is wrong."""

from typing import Any

import pytest

from comms.assignment.rules import MOST_RULES
from comms.service import Service
from tests.conftest import Client
from tests.make.agents import API, made
from tests.make.routing import Desk

NOBODY = "0198c0de-5000-7fb0-9a6f-6d2c3f1e8b11"


@pytest.fixture
async def desk(service: Service, owner: Client) -> Desk:
    desk = Desk(service, owner)
    await desk.open()
    return desk


def named(answer: Any) -> set[str]:
    assert answer.status_code == 400, answer.text
    return {error["field"] for error in answer.json()["errors"]}


@pytest.mark.parametrize(
    ("said", "field"),
    [
        ({"channels": ["sms", "pigeon"]}, "channels[1]"),
        ({"phoneNumberIds": [NOBODY]}, "phoneNumberIds[0]"),
        ({"channels": ["live_chat"], "phoneNumberIds": [NOBODY]}, "phoneNumberIds"),
        ({"conditions": [{"field": "shoeSize", "operator": "equals", "value": 1}]}, "conditions[0].field"),
        ({"mode": "whoever"}, "mode"),
        ({"stickyDays": 0}, "stickyDays"),
        ({"skills": ["german"]}, "skills"),
        ({"skills": ["x" * 101]}, "skills[0]"),
        ({"skills": [str(number) for number in range(21)]}, "skills"),
        ({"teamId": NOBODY}, "teamId"),
        ({"hours": {}}, "hours.schedule"),
        ({"hours": {"schedule": {}}}, "hours.schedule"),
        ({"hours": {"schedule": {"mon": [{"from": "25:00", "to": "26:00"}]}}}, "hours.schedule.mon[0].from"),
        ({"hours": {"schedule": {"mon": [{"from": "09:00", "to": "09:00"}]}}}, "hours.schedule.mon[0]"),
        ({"hours": {"schedule": {"mon": [{"from": "09:00", "to": "17:00"}]}, "timezone": "Mars"}}, "hours.timezone"),
        ({"tags": ["a/b"]}, "tags"),
        ({"position": -1}, "position"),
    ],
)
async def test_a_rule_that_cannot_work_is_refused_by_the_path_of_the_fault(
    desk: Desk, said: dict[str, Any], field: str
) -> None:
    body = {"name": "Rule", "teamId": desk.team_id, **said}
    assert named(await desk.owner.post(f"{API}/routing-rules", json=body)) == {field}
    [rule] = await desk.listed("routing-rules")
    assert named(await desk.owner.patch(f"{API}/routing-rules/{rule['id']}", json=said)) == {field}
    assert await desk.listed("routing-rules") == [rule]


async def test_a_rule_for_a_team_that_cannot_serve_it_can_only_be_prepared(desk: Desk) -> None:
    empty = (await made(desk.owner, "/teams", {"name": "Empty"}))["id"]
    unused = (await made(desk.owner, "/teams", {"name": "Unused", "isActive": False}))["id"]
    for team in (empty, unused):
        body = {"name": "Rule", "teamId": team}
        assert named(await desk.owner.post(f"{API}/routing-rules", json=body)) == {"teamId"}
        rule = await made(desk.owner, "/routing-rules", body | {"isActive": False})
        path = f"{API}/routing-rules/{rule['id']}"
        assert named(await desk.owner.patch(path, json={"isActive": True})) == {"teamId"}
        assert (await desk.owner.patch(path, json={"name": "Still"})).status_code == 200


async def test_skills_that_two_people_have_between_them_nobody_has(desk: Desk) -> None:
    await desk.person("ann", skills=["german"])
    await desk.person("ben", skills=["billing"])
    body = {"name": "Rule", "teamId": desk.team_id}
    assert named(await desk.owner.post(f"{API}/routing-rules", json=body | {"skills": ["german", "billing"]})) == {
        "skills"
    }
    assert (await made(desk.owner, "/routing-rules", body | {"skills": [" German"]}))["skills"] == ["german"]


@pytest.mark.parametrize(
    ("said", "field"),
    [
        ({"capacity": 1001}, "capacity"),
        ({"channelCapacity": {"pigeon": 1}}, "channelCapacity"),
        ({"channelCapacity": {"sms": -1}}, "channelCapacity.sms"),
        ({"capacity": 2, "channelCapacity": {"sms": 3}}, "channelCapacity.sms"),
        ({"availability": "away"}, "availability"),
        ({"userId": NOBODY}, "userId"),
    ],
)
async def test_a_profile_whose_parts_do_not_fit_is_refused(
    desk: Desk, member: Client, said: dict[str, Any], field: str
) -> None:
    path, body = f"{API}/routing-profiles", {"userId": str(member.user_id), **said}
    assert named(await desk.owner.post(path, json=body)) == {field}
    profile = await made(desk.owner, "/routing-profiles", {"userId": str(member.user_id)})
    assert named(await desk.owner.patch(f"{path}/{profile['id']}", json=said)) == {field}


async def test_a_member_has_one_profile_and_their_own_availability(desk: Desk, member: Client, viewer: Client) -> None:
    path, body = f"{API}/routing-profiles", {"userId": str(member.user_id)}
    assert (await member.post(path, json=body)).status_code == 403
    assert (await member.put(f"{API}/me/availability", json={"availability": "away"})).status_code == 200
    again = await desk.owner.post(path, json=body)
    assert again.status_code == 409
    [profile] = await desk.listed("routing-profiles", availability="away")
    assert profile["userId"] == str(member.user_id)
    assert (await viewer.put(f"{API}/me/availability", json={"availability": "busy"})).status_code == 400


async def test_a_team_that_a_rule_names_stays(desk: Desk, stranger: Client) -> None:
    assert (await desk.owner.delete(f"{API}/teams/{desk.team_id}")).status_code == 409
    body = {"name": "Rule", "teamId": desk.team_id, "isActive": False}
    assert named(await stranger.post(f"{API}/routing-rules", json=body)) == {"teamId"}


async def test_of_many_rules_and_profiles_each_is_refused_by_the_path_of_its_fault(desk: Desk, member: Client) -> None:
    ann = await desk.person("ann", skills=["german"])
    rule = {"name": "Rule", "teamId": desk.team_id}
    skilled, *refused = await outcome(
        desk,
        "routing-rules",
        [
            rule | {"skills": ["German"]},
            rule | {"skills": ["french"]},
            rule | {"phoneNumberIds": [NOBODY]},
            rule | {"hours": {"schedule": {"mon": [{"from": "09:00", "to": "09:00"}]}}},
            rule | {"teamId": NOBODY},
        ],
    )
    assert skilled["item"]["skills"] == ["german"]
    assert faults(refused) == ["skills", "phoneNumberIds[0]", "hours.schedule.mon[0]", "teamId"]
    profile = {"userId": str(member.user_id)}
    first, *others = await outcome(
        desk,
        "routing-profiles",
        [profile, profile | {"capacity": 1, "channelCapacity": {"sms": 2}}, profile | {"userId": NOBODY}],
    )
    assert first["item"]["capacity"] == 5
    assert faults(others) == ["channelCapacity.sms", "userId"]
    [taken] = await outcome(desk, "routing-profiles", [{"userId": ann}])
    assert taken["status"] == 409


async def test_there_is_room_for_a_hundred_rules_and_what_cannot_work_takes_none(desk: Desk) -> None:
    there = len(await desk.listed("routing-rules"))
    rule = {"name": "Rule", "teamId": desk.team_id}
    items = [rule | {"skills": ["nobody's"]}, *[rule] * (MOST_RULES - there), rule]
    first, *made, last = await outcome(desk, "routing-rules", items)
    assert {result["status"] for result in made} == {201}
    assert faults([first, last]) == ["skills", "name"]
    assert named(await desk.owner.post(f"{API}/routing-rules", json=rule)) == {"name"}


async def outcome(desk: Desk, noun: str, items: list[dict[str, Any]]) -> list[dict[str, Any]]:
    answer = await desk.owner.post(f"{API}/{noun}/batch", json={"items": items})
    assert answer.status_code == 200, answer.text
    results: list[dict[str, Any]] = answer.json()["results"]
    return results


def faults(results: list[dict[str, Any]]) -> list[str]:
    return [error["field"] for result in results for error in result["problem"]["errors"]]
