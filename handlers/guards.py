"""Who may call: a valid token first, then the right that a route declares beside itself."""

from typing import Any

from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler

from comms import credentials, permissions
from comms.credentials import Identity
from comms.errors import Forbidden, Unauthenticated
from comms.identity import hash_of
from comms.permissions import ADMINISTRATORS, EVERYBODY, WRITERS
from models.core import Area, Level, Role, TokenScope

Connection = ASGIConnection[Any, Any, Any, Any]


async def authenticated(connection: Connection, handler: BaseRouteHandler) -> None:
    """The request is made by a member we know, or for ``anybody``; runs before anything of the request is read."""
    if is_open(handler):
        return
    identity = await bearer(connection)
    if identity is None:
        raise Unauthenticated
    connection.scope["user"] = identity


async def bearer(connection: Connection) -> Identity | None:
    """Whose access token, session or Clerk token is sent along, if any is; ``Unauthenticated`` if it is no good."""
    scheme, _space, token = connection.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        return None
    service, token = connection.app.state.service, token.strip()
    key, pace = hash_of(token), service.agents_pace
    if key in pace:  # an agent's that has been here: it is refused before anything is looked up for it
        pace.count(key)
    identity = await credentials.identify(service.database, token, service.clerk)
    if identity.agent_id is not None and key not in pace:
        pace.count(key)
    return identity


async def person_at(connection: Connection) -> Identity | None:
    """The member whose credential is sent along, if any is; an agent's token is no proof of who made it."""
    identity = await bearer(connection)
    if identity is not None and identity.agent_id is not None:
        raise Forbidden(NOT_A_MEMBER)
    return identity


NOT_A_MEMBER = "This token is an agent's: it opens what lies below /api/v1/agent, and nothing else."
VIEWERS_AGENT = "Who made this token is a viewer by now, and an agent may no more than they: make it another one."
NO_AGENT = "This is for agents: it takes a token made with an agentId (POST /api/v1/access-tokens)."


class Right:
    """A guard that says who may: one of ``roles``, or whoever's permissions reach ``level`` in ``area``.

    A token's scopes must include ``scope`` besides. A route is for members or, with ``is_agents``, for agents, and
    never for both: an agent's token opens what was meant for agents, and nothing that is merely forgotten.
    """

    def __init__(
        self,
        scope: TokenScope,
        *,
        roles: tuple[Role, ...] = EVERYBODY,
        area: Area | None = None,
        level: Level = "read",
        is_agents: bool = False,
    ) -> None:
        self.is_agents = is_agents
        self.scope = scope
        self.roles = roles
        self.area = area
        self.level = level

    async def __call__(self, connection: Connection, _: BaseRouteHandler) -> None:
        is_agent = connection.user.agent_id is not None
        if is_agent and not self.is_agents:
            raise Forbidden(NOT_A_MEMBER)
        if self.is_agents and not is_agent:
            raise Forbidden(NO_AGENT)
        if self.is_agents and not self.admits(connection.user):
            raise Forbidden(VIEWERS_AGENT)
        if not self.admits(connection.user):
            raise Forbidden(f"A workspace's {connection.user.role} may not do this: it takes {self}.")
        self._check_scope(connection.user)

    def __str__(self) -> str:
        if self.is_agents:
            return "an agent's token"
        if self.area is None:
            return " or ".join(self.roles)
        return f"the permission {self.area}: {self.level}"

    def admits(self, identity: Identity) -> bool:
        """Whether the member may, or the agent, whatever their token's scopes are."""
        if self.is_agents or identity.agent_id is not None:
            return self.is_agents and identity.agent_id is not None and identity.role in self.roles
        if self.area is None:
            return identity.role in self.roles
        return permissions.allows(identity.role, identity.permissions, self.area, self.level)

    def admits_role(self, role: Role) -> bool:
        """Whether who has that role may, without permissions of their own."""
        if self.is_agents:
            return False
        return role in self.roles if self.area is None else permissions.allows(role, {}, self.area, self.level)

    @property
    def is_everybodys(self) -> bool:
        """Whether there is no member and no token that may not."""
        return not self.is_agents and self.scope == "read" and self.area is None and set(self.roles) == set(EVERYBODY)

    def _check_scope(self, identity: Identity) -> None:
        if identity.scopes and not set(identity.scopes) & set(_INCLUDED_IN[self.scope]):
            raise Forbidden(f"This token's scopes ({', '.join(identity.scopes)}) do not include {self.scope!r}.")


# A wider scope includes the narrower ones: whoever may write may read.
_INCLUDED_IN: dict[TokenScope, tuple[TokenScope, ...]] = {
    "read": ("read", "write", "admin"),
    "write": ("write", "admin"),
    "admin": ("admin",),
}
SCOPES = tuple(_INCLUDED_IN)
"""From the narrowest to the widest."""


class Open:
    """A guard that says that nobody is asked who they are."""

    async def __call__(self, connection: Connection, _: BaseRouteHandler) -> None:
        """Whoever comes may."""

    def __str__(self) -> str:
        return "no credential"


anybody = Open()


def rights_of(handler: BaseRouteHandler) -> tuple[Right | Open, ...]:
    """The rights that a route declares beside itself; it takes all of them."""
    # By their type: a route that is registered is a copy of the one that was declared, guards and all.
    return tuple(guard for guard in handler.guards or () if isinstance(guard, Right | Open))


def is_open(handler: BaseRouteHandler) -> bool:
    """Whether a route is for ``anybody``."""
    return any(isinstance(right, Open) for right in rights_of(handler))


reader = Right("read")
person = Right("write", roles=EVERYBODY)
"""Whoever it is, about themselves: what a viewer may change too."""

in_full = Right("admin", roles=EVERYBODY)
"""Whoever it is, about how they sign in: a token with fewer scopes must not become more by it."""
writer = Right("write", roles=WRITERS)
administrator = Right("admin", roles=ADMINISTRATORS)


def reads(area: Area) -> Right:
    """Members who may look at an area."""
    return Right("read", area=area, level="read")


def writes(area: Area) -> Right:
    """Members who may change things in an area."""
    return Right("write", area=area, level="write")


agent_reads = Right("read", is_agents=True)
"""The agent whose token it is looks at what is its own."""
agent_acts = Right("write", roles=WRITERS, is_agents=True)
"""The agent whose token it is does something, on behalf of a member who could."""
