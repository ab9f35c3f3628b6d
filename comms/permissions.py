"""What a member may do: their role, and what the workspace has granted or taken from them area by area."""

from collections.abc import Mapping
from typing import Any

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
