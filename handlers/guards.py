"""Who may call: a valid token first, then the role that a route declares beside itself."""

from typing import Any

from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler

from comms import credentials
from comms.credentials import Identity
from comms.errors import Forbidden, Unauthenticated
from models.core import Role, TokenScope

Connection = ASGIConnection[Any, Any, Any, Any]


async def authenticated(connection: Connection, _: BaseRouteHandler) -> None:
    """The request is made by a member we know; runs before anything of the request is read."""
    scheme, _space, token = connection.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise Unauthenticated
    connection.scope["user"] = await credentials.identify(connection.app.state.service.database, token.strip())


def reader(connection: Connection, _: BaseRouteHandler) -> None:
    """Every member may."""
    _allow(connection.user, ("owner", "admin", "member", "viewer"), "read")


def writer(connection: Connection, _: BaseRouteHandler) -> None:
    """Every member but a viewer may."""
    _allow(connection.user, ("owner", "admin", "member"), "write")


def administrator(connection: Connection, _: BaseRouteHandler) -> None:
    """Owners and admins may."""
    _allow(connection.user, ("owner", "admin"), "admin")


def _allow(identity: Identity, roles: tuple[Role, ...], scope: TokenScope) -> None:
    if identity.role not in roles:
        raise Forbidden(f"A workspace's {identity.role} may not do this: it takes {' or '.join(roles)}.")
    # A wider scope includes the narrower ones: whoever may write may read.
    wider: dict[TokenScope, tuple[TokenScope, ...]] = {
        "read": ("read", "write", "admin"),
        "write": ("write", "admin"),
        "admin": ("admin",),
    }
    if identity.scopes and not set(identity.scopes) & set(wider[scope]):
        raise Forbidden(f"This token's scopes ({', '.join(identity.scopes)}) do not include {scope!r}.")
