"""Clerk's session tokens: JWTs, proven with the keys Clerk publishes, which are fetched seldom and kept for a while.

``sub`` names a user by ``clerkUserId``, ``org_id`` (``o.id`` in version 2 of the claims) a workspace by
``clerkOrganizationId``. Such a token lives for a minute, so nothing is stored of it.
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Any

import httpx
import jwt
import structlog
from jwt import PyJWK, PyJWTError
from sqlalchemy import select

from comms.authorities import trusted
from comms.database import Database
from comms.errors import Unauthenticated, Unavailable
from comms.identity import Identity
from comms.settings import ClerkSettings
from models.core import User, Workspace, WorkspaceMember

log = structlog.get_logger(__name__)

ALGORITHMS = ("RS256", "EdDSA")
LEEWAY_SECONDS = 10.0
FRESH_SECONDS = 3600.0
STALE_SECONDS = 86_400.0
COOL_DOWN_SECONDS = 10.0
FETCH_SECONDS = 5.0
_MOST_BYTES = 256 * 1024


class Keys:
    """The keys at one address: fetched once an hour, or for a key not yet known, but never more than every 10 s.

    While they cannot be fetched, those of the last day are still believed.
    """

    def __init__(self, url: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._url = url
        self._clock = clock
        self._keys: dict[str, PyJWK] = {}
        self._fetched_at: float | None = None
        self._tried_at = float("-inf")
        self._fetching: asyncio.Task[None] | None = None

    async def find(self, key_id: str) -> PyJWK:
        """The key of that id; raises ``Unauthenticated`` when there is none, ``Unavailable`` when that is not known."""
        if key_id not in self._keys or self._age() > FRESH_SECONDS:
            await self._fetch()
        if self._age() > STALE_SECONDS:
            raise Unavailable("The keys that prove a Clerk session cannot be fetched right now: try again.")
        key = self._keys.get(key_id)
        if key is None:
            raise Unauthenticated
        return key

    def _age(self) -> float:
        return float("inf") if self._fetched_at is None else self._clock() - self._fetched_at

    async def _fetch(self) -> None:
        """One look at a time, which all who need it share."""
        if self._fetching is None or self._fetching.done():
            if self._clock() - self._tried_at < COOL_DOWN_SECONDS:
                return
            self._tried_at = self._clock()
            self._fetching = asyncio.create_task(self._look())
        await asyncio.wait([self._fetching])

    async def _look(self) -> None:
        try:
            async with (
                asyncio.timeout(FETCH_SECONDS),
                httpx.AsyncClient(timeout=FETCH_SECONDS, trust_env=False, verify=trusted()) as client,
            ):
                response = await client.get(self._url, headers={"Accept": "application/json"})
                response.raise_for_status()
                if len(response.content) > _MOST_BYTES:
                    raise ValueError("too large")
                self._keys = _read(response.json())
                self._fetched_at = self._clock()
        except (httpx.HTTPError, TimeoutError, ValueError, TypeError, AttributeError) as error:
            log.warning("clerk.keys_not_fetched", error=type(error).__name__)


def _read(document: Any) -> dict[str, PyJWK]:
    """The keys that sign in a way we accept, by their ids; ``ValueError`` when there are none."""
    keys = {}
    for sent in document["keys"]:
        algorithm = {"RSA": "RS256", "OKP": "EdDSA"}.get(sent.get("kty"))
        if algorithm is None or sent.get("use", "sig") != "sig" or sent.get("alg", algorithm) != algorithm:
            continue
        try:
            keys[sent["kid"]] = PyJWK(sent, algorithm=algorithm)
        except (PyJWTError, KeyError, ValueError):
            continue
    if not keys:
        raise ValueError("no key to verify with")
    return keys


class Clerk:
    """Says who a Clerk session token is of, without asking Clerk."""

    def __init__(self, settings: ClerkSettings, keys: Keys | None = None) -> None:
        self._settings = settings
        self._keys = keys or Keys(settings.jwks_url)

    async def identify(self, database: Database, token: str) -> Identity:
        """The member whom Clerk has signed in; ``Unauthenticated`` unless user and organization are known here."""
        claims = await self.proven(token)
        organization = organization_of(claims)
        if organization is None:
            raise Unauthenticated("This Clerk session has no active organization: choose one in Clerk first.")
        query = (
            select(WorkspaceMember)
            .join(User, User.id == WorkspaceMember.user_id)
            .join(Workspace, Workspace.id == WorkspaceMember.workspace_id)
            .where(
                User.clerk_user_id == claims["sub"],
                Workspace.clerk_organization_id == organization,
                WorkspaceMember.is_active,
                Workspace.is_active,
            )
        )
        async with database.everywhere() as db:
            member: WorkspaceMember | None = await db.scalar(query)
        if member is None:
            raise Unauthenticated("Clerk knows you, but you are no member of a workspace here.")
        return Identity(member.workspace_id, member.user_id, member.role, member.permissions)  # type: ignore[arg-type]  # the table's CHECK

    async def proven(self, token: str) -> Mapping[str, Any]:
        """What the token claims, signed by Clerk, in time and meant for us; raises ``Unauthenticated``."""
        try:
            header = jwt.get_unverified_header(token)
            if header.get("alg") not in ALGORITHMS or not isinstance(header.get("kid"), str):
                raise Unauthenticated
            key = await self._keys.find(header["kid"])
            claims: dict[str, Any] = jwt.decode(
                token,
                key,
                algorithms=[key.algorithm_name],
                issuer=self._settings.issuer,
                audience=self._settings.audience or None,
                leeway=LEEWAY_SECONDS,
                options={"require": ["exp", "iat", "iss", "sub"], "verify_aud": bool(self._settings.audience)},
            )
        except (PyJWTError, ValueError):
            raise Unauthenticated from None
        parties = self._settings.authorized_parties
        if parties and claims.get("azp") not in parties:
            raise Unauthenticated
        if claims.get("sts") == "pending":  # signed in, but Clerk still wants something of them
            raise Unauthenticated
        if any("\x00" in str(value) for value in (claims["sub"], claims.get("org_id"), claims.get("o"))):
            raise Unauthenticated
        return claims


def organization_of(claims: Mapping[str, Any]) -> str | None:
    """The organization in which somebody is active, in either version of the claims."""
    version_2 = claims.get("o")
    organization = claims.get("org_id") or (version_2.get("id") if isinstance(version_2, dict) else None)
    return organization if isinstance(organization, str) and organization else None
