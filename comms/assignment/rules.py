"""Rules say into which queue a conversation belongs; what could never work is refused when it is written."""

import uuid
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import ARRAY, Uuid, any_, func, literal, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from comms import conditions, reading
from comms.calls.hours import is_open
from comms.chat.widgets import Hours
from comms.conversations import tidy
from comms.errors import Invalid
from models.base import new_id
from models.communications import Team, TeamMember, WorkspacePhoneNumber
from models.core import WorkspaceMember
from models.routing import RoutingProfile, RoutingRule
from models.types import TimeZone

MOST_RULES = 100
MOST_SKILLS = 20
LONGEST_SKILL = 100
NUMBERED = frozenset({"sms", "call", "whatsapp"})
"""The channels whose conversations have a number of ours."""


async def create(db: AsyncSession, workspace_id: uuid.UUID, values: Mapping[str, Any]) -> RoutingRule:
    """The rule exists, and what begins to wait from now on is looked at; ``Invalid`` names what cannot work."""
    [rule] = await create_all(db, workspace_id, [values])
    if isinstance(rule, Invalid):
        raise rule
    return rule


async def create_all(
    db: AsyncSession, workspace_id: uuid.UUID, many: Sequence[Mapping[str, Any]]
) -> list[RoutingRule | Invalid]:
    """Each of these rules exists; ``Invalid`` is one that cannot work, or for which there is no room any more."""
    await db.execute(BEGIN, {"here": workspace_id})
    await db.execute(_HOLD, {"here": workspace_id})  # or two at once would both find room for one more
    there = await db.scalar(select(func.count()).select_from(RoutingRule)) or 0
    known = await _known(db, many)
    outcome: list[RoutingRule | Invalid] = []
    for values in many:
        try:
            if there >= MOST_RULES:
                raise Invalid({"name": f"there are {MOST_RULES} routing rules already: change or delete one"})
            outcome.append(RoutingRule(workspace_id=workspace_id, id=new_id(), **_kept(values, {}, known)))
            there += 1
        except Invalid as error:
            outcome.append(error)
    db.add_all(rule for rule in outcome if isinstance(rule, RoutingRule))
    return outcome


async def change(db: AsyncSession, rule: RoutingRule, values: Mapping[str, Any]) -> None:
    """The rule has the new values; ``Invalid`` names what cannot work of them together with the others."""
    before = {name: getattr(rule, name) for name in ("team_id", "skills", "is_active", "channels", "phone_number_ids")}
    for name, value in _kept(values, before, await _known(db, [before | dict(values)])).items():
        setattr(rule, name, value)


def tidy_skills(said: Sequence[str], field: str = "skills") -> list[str]:
    """Skills as they are kept and compared: trimmed, in small letters, each once; raises ``Invalid``."""
    kept = list(dict.fromkeys(skill for skill in (written.strip().lower() for written in said) if skill))
    if len(kept) > MOST_SKILLS:
        raise Invalid({field: f"must be at most {MOST_SKILLS}"})
    for place, skill in enumerate(said):
        if len(skill) > LONGEST_SKILL:
            raise Invalid({f"{field}[{place}]": f"must be at most {LONGEST_SKILL} characters"})
    return kept


def is_open_at(hours: Mapping[str, Any] | None, zone: str, at: datetime) -> bool:
    """Whether a rule's people are given conversations at that time; ``zone`` is the workspace's."""
    if hours is None:
        return True
    said = msgspec.convert(hours, Hours)
    return is_open(said.schedule, said.holidays, said.timezone or zone, at)


class _Known(msgspec.Struct, frozen=True):
    """What rules refer to: our numbers, whether a team is in use, and the skills of each who may answer for it."""

    numbers: frozenset[uuid.UUID]
    teams: Mapping[uuid.UUID, bool]
    people: Mapping[uuid.UUID, Sequence[frozenset[str]]]


async def _known(db: AsyncSession, rules: Sequence[Mapping[str, Any]]) -> _Known:
    """What these rules refer to, in a few statements however many they are."""
    ids = list({one for rule in rules for one in rule.get("phone_number_ids", ())})
    team_ids = {rule["team_id"] for rule in rules}
    numbers = select(WorkspacePhoneNumber.id).where(WorkspacePhoneNumber.id == any_(literal(ids, ARRAY(Uuid))))
    teams = select(Team.id, Team.is_active).where(Team.id.in_(team_ids))
    able = (
        select(TeamMember.team_id, func.coalesce(RoutingProfile.skills, text("'{}'::text[]")))
        .distinct()
        .join(WorkspaceMember, WorkspaceMember.user_id == TeamMember.user_id)
        .outerjoin(RoutingProfile, RoutingProfile.user_id == TeamMember.user_id)
        .where(TeamMember.team_id.in_(team_ids), WorkspaceMember.is_active, WorkspaceMember.role != "viewer")
    )
    people: dict[uuid.UUID, list[frozenset[str]]] = {}
    for team_id, skills in await db.execute(able):
        people.setdefault(team_id, []).append(frozenset(skills))
    return _Known(
        numbers=frozenset(await db.scalars(numbers)) if ids else frozenset(),
        teams=dict((await db.execute(teams)).all()),
        people=people,
    )


def _kept(values: Mapping[str, Any], before: Mapping[str, Any], known: _Known) -> dict[str, Any]:
    kept = dict(values)
    wrong: dict[str, str] = {}
    if "conditions" in values:
        conditions.check(values["conditions"], "conditions")
        kept["conditions"] = msgspec.to_builtins(values["conditions"])
    if "tags" in values:
        kept["tags"] = tidy(values["tags"])
    if "channels" in values:
        kept["channels"] = list(dict.fromkeys(values["channels"]))
    if "skills" in values:
        kept["skills"] = tidy_skills(values["skills"])
    if values.get("hours") is not None:
        wrong |= _mistakes_of(reading.read(Hours, values["hours"], "hours"))
    whole = {"is_active": True, "skills": [], "channels": [], "phone_number_ids": [], **before, **kept}
    if {"channels", "phone_number_ids"} & kept.keys():
        wrong |= _mistaken_numbers(whole["phone_number_ids"], whole["channels"], known)
    if wrong:
        raise Invalid(wrong)
    if whole["is_active"] and {"team_id", "skills", "is_active"} & kept.keys():
        _expect_somebody(whole["team_id"], whole["skills"], known)
    return kept


def _mistakes_of(hours: Hours) -> dict[str, str]:
    wrong = {}
    try:
        TimeZone().normalise(hours.timezone or "UTC")
    except ValueError as error:
        wrong["hours.timezone"] = str(error)
    if not any(hours.schedule.values()) and not any(day.open for day in hours.holidays):
        wrong["hours.schedule"] = "is never open: name a day and its hours, or leave hours out"
    for day, spans in hours.schedule.items():
        for number, span in enumerate(spans):
            if span.begins in (span.ends, "24:00"):
                wrong[f"hours.schedule.{day}[{number}]"] = "must end at another time than it begins"
    return wrong


def _mistaken_numbers(ids: Sequence[uuid.UUID], channels: Sequence[str], known: _Known) -> dict[str, str]:
    if ids and channels and not NUMBERED & set(channels):
        return {"phoneNumberIds": f"is true of no conversation: none on {', '.join(channels)} has a number"}
    return {
        f"phoneNumberIds[{place}]": "is no phone number of this workspace"
        for place, one in enumerate(ids)
        if one not in known.numbers
    }


def _expect_somebody(team_id: uuid.UUID, skills: Sequence[str], known: _Known) -> None:
    """The team is in use, and somebody in it has all the skills: a rule that routes to nobody cannot work."""
    if team_id not in known.teams:
        return  # the foreign key says so, in the words for all of them
    if not known.teams[team_id]:
        raise Invalid({"teamId": "is not in use: choose another team, or create the rule with isActive false"})
    people = known.people.get(team_id)
    if not people:
        raise Invalid(
            {"teamId": "has no active member who may answer: add one, or create the rule with isActive false"}
        )
    if not any(set(skills) <= able for able in people):
        raise Invalid({"skills": f"are not all had by anybody in this team: {', '.join(skills)}"})


BEGIN = text(
    "INSERT INTO routing_progress (workspace_id, seq)"
    " SELECT workspace_id, seq FROM event_counters WHERE workspace_id = :here ON CONFLICT (workspace_id) DO NOTHING"
)
"""What is told from now on is looked at, and nothing that was told before."""
_HOLD = text("SELECT seq FROM routing_progress WHERE workspace_id = :here FOR UPDATE")
