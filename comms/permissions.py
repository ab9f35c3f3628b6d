"""What a member may do: their role, and what the workspace has granted or taken from them area by area."""

from collections.abc import Mapping
from typing import Any, get_args

import msgspec

from comms.errors import Forbidden
from models.core import Area, Level, Role

EVERYBODY: tuple[Role, ...] = ("owner", "admin", "member", "viewer")
WRITERS: tuple[Role, ...] = ("owner", "admin", "member")
ADMINISTRATORS: tuple[Role, ...] = ("owner", "admin")

DEFAULTS: Mapping[Role, Mapping[Area, Level]] = {
    "owner": {"agents": "write", "packs": "write", "billing": "write", "members": "write"},
    "admin": {"agents": "write", "packs": "write", "billing": "write", "members": "write"},
    "member": {"agents": "write", "packs": "read", "billing": "read", "members": "read"},
    "viewer": {"agents": "read", "packs": "read", "billing": "read", "members": "read"},
}
"""What each role may do in an area where a member's ``permissions`` say nothing."""

_RANK: Mapping[Level, int] = {"none": 0, "read": 1, "write": 2}


def level_of(role: Role, permissions: Mapping[str, Any], area: Area) -> Level:
    """How much of ``area`` a member may use. An owner may always do everything."""
    if role == "owner":
        return "write"
    level: Level = permissions.get(area, DEFAULTS[role][area])
    return level


def allows(role: Role, permissions: Mapping[str, Any], area: Area, level: Level) -> bool:
    """Whether a member may do as much as ``level`` in ``area``."""
    return _RANK[level_of(role, permissions, area)] >= _RANK[level]


_ABOVE: Mapping[Role, int] = {"viewer": 0, "member": 1, "admin": 2, "owner": 3}


class Standing(msgspec.Struct, frozen=True):
    """What somebody is in a workspace: their role, and their permissions beside it."""

    role: Role
    permissions: Mapping[str, Any] = {}


def standing_of(row: Any) -> Standing:
    """What a membership makes its member, or an invitation promises."""
    return Standing(row.role, row.permissions)


def refuse_more_than_own(own: Standing, before: Standing | None, after: Standing) -> None:
    """Nobody changes who stands above them, and nobody gives (to others or to themselves) what they have not.

    ``before`` is None for who is not a member yet. What stays as it was is not given.
    """
    if before is not None and _ABOVE[before.role] > _ABOVE[own.role]:
        raise Forbidden(f"A workspace's {own.role} may not change its {before.role}.")
    is_raised = before is None or _ABOVE[after.role] > _ABOVE[before.role]
    if is_raised and _ABOVE[after.role] > _ABOVE[own.role]:
        raise Forbidden(f"A workspace's {own.role} may not make anybody its {after.role}.")
    for area in get_args(Area):
        given = _RANK[level_of(after.role, after.permissions, area)]
        held = -1 if before is None else _RANK[level_of(before.role, before.permissions, area)]
        if given > held and given > _RANK[level_of(own.role, own.permissions, area)]:
            raise Forbidden(f"You may not grant more in {area} than you have yourself: it takes an owner.")
