"""Clerk's session tokens, proven with the keys of a server that stands in for Clerk."""

import asyncio
import hashlib
import hmac
import time
from base64 import urlsafe_b64encode
from collections.abc import AsyncIterator
from typing import Any

import httpx
import jwt
import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from jwt.algorithms import OKPAlgorithm, RSAAlgorithm
from sqlalchemy import select

from comms import sessions
from comms.clerk import Clerk, Keys
from comms.errors import Unauthenticated, Unavailable
from comms.service import Service
from comms.settings import ClerkSettings, Settings
from models.core import Workspace, WorkspaceMember
from tests.conftest import Client
from tests.screens import application, screen, serving, watching

ISSUER = "https://clerk.acme.example"
RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
OTHER_RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
ED = ed25519.Ed25519PrivateKey.generate()
USER, ORGANIZATION = "user_2abc", "org_2abc"


class KeyServer:
    """What Clerk publishes; ``asked`` is how often it was looked at, and ``is_down`` answers 500."""

    def __init__(self) -> None:
        self.asked = 0
        self.is_down = False
        self.keys: dict[str, Any] = {"rsa": RSAAlgorithm.to_jwk(RSA.public_key(), as_dict=True)}
        self.keys["ed"] = OKPAlgorithm.to_jwk(ED.public_key(), as_dict=True)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.asked += 1
        listed = [key | {"kid": kid, "use": "sig"} for kid, key in self.keys.items()]
        # A symmetric key among them must never verify anything.
        listed.append({"kty": "oct", "kid": "oct", "k": urlsafe_b64encode(b"k" * 32).decode()})
        body = msgspec.json.encode({"keys": listed})
        await send({"type": "http.response.start", "status": 500 if self.is_down else 200, "headers": []})
        await send({"type": "http.response.body", "body": body})


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
async def published() -> KeyServer:
    return KeyServer()


@pytest.fixture
async def address(published: KeyServer) -> AsyncIterator[str]:
    async with serving(published) as url:
        yield url.replace("ws://", "http://")


@pytest.fixture
def settings(settings: Settings, address: str) -> Settings:
    clerk = ClerkSettings(ISSUER, address, authorized_parties=("https://app.acme.example",))
    return msgspec.structs.replace(settings, clerk=clerk)


@pytest.fixture
async def linked(viewer: Client, admin: Any) -> Client:
    """The viewer, whom Clerk knows too."""
    await admin.execute("UPDATE users SET clerk_user_id = $1 WHERE id = $2", USER, viewer.user_id)
    await admin.execute(
        "UPDATE workspaces SET clerk_organization_id = $1 WHERE id = $2", ORGANIZATION, viewer.workspace_id
    )
    return viewer


def token(*, key: Any = RSA, kid: str | None = "rsa", algorithm: str = "RS256", **claims: Any) -> str:
    at = int(time.time())
    given: dict[str, Any] = {
        "iss": ISSUER,
        "sub": USER,
        "org_id": ORGANIZATION,
        "azp": "https://app.acme.example",
        "iat": at - 5,
        "nbf": at - 5,
        "exp": at + 60,
    } | claims
    given = {name: value for name, value in given.items() if value is not None}
    return jwt.encode(given, key, algorithm=algorithm, headers={} if kid is None else {"kid": kid})


async def status(client: httpx.AsyncClient, plain: str) -> int:
    return (await client.get("/api/v1/me", headers={"Authorization": f"Bearer {plain}"})).status_code


async def test_whom_clerk_has_signed_in_is_a_member_here(linked: Client, anonymous: httpx.AsyncClient) -> None:
    answer = await anonymous.get("/api/v1/me", headers={"Authorization": f"Bearer {token()}"})
    assert answer.status_code == 200, answer.text
    assert (answer.json()["id"], answer.json()["role"]) == (str(linked.user_id), "viewer")
    assert await status(anonymous, token(key=ED, kid="ed", algorithm="EdDSA")) == 200
    assert await status(anonymous, token(org_id=None, o={"id": ORGANIZATION, "rol": "admin"})) == 200
    assert await status(anonymous, token(exp=int(time.time()) - 3)) == 200  # a clock that is a little behind


@pytest.mark.parametrize(
    "claims",
    [
        {"exp": 1},
        {"exp": None},
        {"nbf": 4_000_000_000},
        {"iss": "https://clerk.evil.example"},
        {"azp": "https://evil.example"},
        {"azp": None},
        {"sub": "user_unknown"},
        {"sub": None},
        {"sub": "user\x00"},
        {"org_id": "org_unknown"},
        {"org_id": None},
        {"org_id": 7},
        {"sts": "pending"},
        {"key": OTHER_RSA},
        {"kid": "unknown"},
        {"kid": None},
        {"kid": "ed"},
        {"kid": "oct", "key": b"k" * 32, "algorithm": "HS256"},
        {"key": None, "algorithm": "none"},
        {"algorithm": "RS512"},
        {"algorithm": "PS256"},
    ],
)
async def test_any_other_token_is_turned_away(
    linked: Client, anonymous: httpx.AsyncClient, claims: dict[str, Any]
) -> None:
    assert await status(anonymous, token()) == 200
    assert await status(anonymous, token(**claims)) == 401


@pytest.mark.parametrize("plain", ["a.b.c", "..", "eyJhbGciOiJub25lIn0..", "x" * 5000])
async def test_what_is_no_token_at_all_is_turned_away(anonymous: httpx.AsyncClient, plain: str) -> None:
    assert await status(anonymous, plain) == 401


async def test_our_public_key_signs_nothing_by_itself(
    linked: Client, anonymous: httpx.AsyncClient, published: KeyServer
) -> None:
    """The oldest trick: HS256 with the public key as its secret."""
    head = urlsafe_b64encode(b'{"alg":"HS256","typ":"JWT","kid":"rsa"}').rstrip(b"=").decode()
    body = token().split(".")[1]
    secret = msgspec.json.encode(published.keys["rsa"])
    signature = urlsafe_b64encode(hmac.digest(secret, f"{head}.{body}".encode(), hashlib.sha256)).rstrip(b"=").decode()
    assert await status(anonymous, f"{head}.{body}.{signature}") == 401


async def test_who_is_no_member_any_more_is_out(linked: Client, anonymous: httpx.AsyncClient, admin: Any) -> None:
    assert await status(anonymous, token()) == 200
    await admin.execute("UPDATE workspace_members SET is_active = false WHERE user_id = $1", linked.user_id)
    assert await status(anonymous, token()) == 401


async def test_an_audience_is_demanded_when_configured(address: str) -> None:
    clerk = Clerk(ClerkSettings(ISSUER, address, audience=("comms",)))
    assert (await clerk.proven(token(aud="comms")))["sub"] == USER
    for audience in (None, "another"):
        with pytest.raises(Unauthenticated):
            await clerk.proven(token(aud=audience))


async def test_an_owner_links_their_clerk_account_and_organization_by_proving_them(
    owner: Client, member: Client, anonymous: httpx.AsyncClient
) -> None:
    place = f"/api/v1/workspaces/{owner.workspace_id}/clerk-organization"
    assert await status(anonymous, token()) == 401
    forged = await owner.put("/api/v1/me/clerk-user", json={"token": token(key=OTHER_RSA)})
    assert forged.status_code == 400
    assert (await member.put(place, json={"token": token()})).status_code == 403
    assert (await owner.put("/api/v1/me/clerk-user", json={"token": token()})).status_code == 200
    linked = await owner.put(place, json={"token": token()})
    assert linked.json()["clerkOrganizationId"] == ORGANIZATION
    assert await status(anonymous, token()) == 200
    assert (await member.put("/api/v1/me/clerk-user", json={"token": token()})).status_code == 409


# The keys


async def test_keys_are_fetched_once_for_all(address: str, published: KeyServer) -> None:
    keys = Keys(address)
    await asyncio.gather(*(keys.find("rsa") for _ in range(10)))
    await keys.find("ed")
    assert published.asked == 1


async def test_an_unknown_key_is_looked_for_but_not_more_than_every_ten_seconds(
    address: str, published: KeyServer
) -> None:
    clock = Clock()
    keys = Keys(address, clock=clock)
    await keys.find("rsa")
    published.keys["new"] = published.keys["rsa"]
    for _ in range(3):
        with pytest.raises(Unauthenticated):
            await keys.find("new")
    assert published.asked == 1
    clock.now += 11
    await keys.find("new")
    assert published.asked == 2


async def test_a_key_that_was_withdrawn_is_believed_for_an_hour(address: str, published: KeyServer) -> None:
    clock = Clock()
    keys = Keys(address, clock=clock)
    await keys.find("rsa")
    del published.keys["rsa"]
    clock.now += 3500
    await keys.find("rsa")
    clock.now += 200
    with pytest.raises(Unauthenticated):
        await keys.find("rsa")


async def test_while_clerk_is_away_the_keys_of_the_last_day_are_believed(address: str, published: KeyServer) -> None:
    clock = Clock()
    keys = Keys(address, clock=clock)
    await keys.find("rsa")
    published.is_down = True
    clock.now += 80_000
    await keys.find("rsa")
    clock.now += 10_000
    with pytest.raises(Unavailable):
        await keys.find("rsa")
    published.is_down = False
    clock.now += 11
    await keys.find("rsa")


async def test_without_any_keys_the_answer_is_to_come_back(
    linked: Client, anonymous: httpx.AsyncClient, published: KeyServer
) -> None:
    published.is_down = True
    assert await status(anonymous, token()) == 503


# The websocket takes all three


async def test_a_socket_opens_by_token_session_and_clerk(linked: Client, service: Service) -> None:
    async with service.database.everywhere() as db:
        member = await db.scalar(_member(linked))
        assert isinstance(member, WorkspaceMember)
        workspace = await db.get_one(Workspace, linked.workspace_id)
        begun = await sessions.begin(db, member, workspace, sessions.From())
    app = application(service.database, service.hub)
    app.state.service.clerk = service.clerk
    async with serving(app) as url:
        for plain in (linked.token, begun.token, token()):
            async with watching(url, plain) as seen:
                assert seen.ready["userId"] == str(linked.user_id)
        async with screen(url, token(exp=1)) as refused:
            assert await refused.closed() == (4401, "we do not know who you are")
        async with watching(url, begun.token) as seen:
            headers = {"Authorization": f"Bearer {begun.token}"}
            assert (await linked.delete("/api/v1/sessions/current", headers=headers)).status_code == 204
            assert await seen.closed() == (4401, "your access has ended")


def _member(client: Client) -> Any:
    return select(WorkspaceMember).where(WorkspaceMember.user_id == client.user_id)
