"""Who may do what: every route there is, asked by everybody there is."""

import re
import uuid
from collections.abc import Iterator
from typing import Any

import httpx
import msgspec
import pytest
from litestar.handlers import HTTPRouteHandler

from comms.credentials import Identity
from comms.permissions import ADMINISTRATORS, EVERYBODY, WRITERS
from comms.service import Service
from handlers.app import ROOT
from handlers.guards import Open, Right, rights_of
from handlers.resource import RESOURCES, Resource
from models.base import new_id
from models.core import Role, User, Workspace, WorkspaceMember
from tests.conftest import Client
from tests.handlers.descriptions import api, described, operations
from tests.make import rows

NOBODY: tuple[Role, ...] = ()


class Asked(msgspec.Struct, frozen=True):
    """One thing that can be asked of the API."""

    method: str
    path: str
    name: str
    rights: tuple[Right | Open, ...]

    def admits(self, identity: Identity) -> bool:
        """Whether the member may: some routes take more than one right."""
        return all(right.admits(identity) for right in self.rights if isinstance(right, Right))

    @property
    def right(self) -> Right | Open | None:
        """The first of them, which is nearly always the only one."""
        return next(iter(self.rights), None)

    def address(self, row_id: uuid.UUID) -> str:
        """The path with that id in the place of every id."""
        return re.sub(r"\{(\w+):\w+\}", lambda found: _VALUES.get(found[1], str(row_id)), self.path)


_VALUES = {"provider": "openai", "token": "nonsense"}
_QUESTIONS = {"explain_agent_workflow": {"seq": 1}}
"""What has to be asked besides the path."""


def routes() -> Iterator[Asked]:
    """Every route of the application below /api/v1, from the application itself."""
    for route in api().routes:
        if not route.path.startswith(ROOT):
            continue
        for handler in getattr(route, "route_handlers", ()):
            if isinstance(handler, HTTPRouteHandler) and handler.operation_id:
                for method in handler.http_methods - {"OPTIONS", "HEAD"}:
                    yield Asked(str(method), route.path, str(handler.operation_id), rights_of(handler))


ROUTES = sorted(routes(), key=lambda asked: asked.name)
GUARDED = [asked for asked in ROUTES if isinstance(asked.right, Right)]


def test_every_route_declares_a_right() -> None:
    assert len(ROUTES) > 60
    assert [asked.name for asked in ROUTES if asked.right is None] == []


SENSITIVE: dict[str, tuple[Role, ...]] = {
    "change_workspace": ADMINISTRATORS,
    "put_workspace_ai_key": ADMINISTRATORS,
    "put_clerk_organization": ADMINISTRATORS,
    "delete_workspace_ai_key": ADMINISTRATORS,
    "list_workspace_api_keys": ADMINISTRATORS,
    "get_workspace_api_key": ADMINISTRATORS,
    "create_workspace_api_key": ADMINISTRATORS,
    "change_workspace_api_key": ADMINISTRATORS,
    "delete_workspace_api_key": ADMINISTRATORS,
    "put_next_secret": ADMINISTRATORS,
    "delete_next_secret": ADMINISTRATORS,
    "rotate_secret": ADMINISTRATORS,
    "check_workspace_api_key": ADMINISTRATORS,
    "invite_workspace_member": ADMINISTRATORS,
    "change_workspace_member": ADMINISTRATORS,
    "deactivate_workspace_member": ADMINISTRATORS,
    "reactivate_workspace_member": ADMINISTRATORS,
    "remove_workspace_member": ADMINISTRATORS,
    "list_workspace_invitations": ADMINISTRATORS,
    "get_workspace_invitation": ADMINISTRATORS,
    "revoke_workspace_invitation": ADMINISTRATORS,
    "get_webhook_receipt_body": ADMINISTRATORS,
    "create_access_token": WRITERS,
    "revoke_access_token": EVERYBODY,
    "create_contact": WRITERS,
    "delete_contact": WRITERS,
    "list_workspace_members": EVERYBODY,
    "put_my_password": EVERYBODY,
    "change_me": EVERYBODY,
    "delete_current_session": EVERYBODY,
    "leave_workspace": EVERYBODY,
}
"""By hand, so that a guard that is forgotten or weakened is noticed: who may, with no permissions of their own."""

SCOPES = {
    "change_workspace": "admin",
    "create_workspace_api_key": "admin",
    "rotate_secret": "admin",
    "put_my_password": "admin",
    "put_my_clerk_user": "admin",
    "invite_workspace_member": "write",
    "change_workspace_member": "write",
    "create_access_token": "write",
    "list_contacts": "read",
}

OPEN = {"create_session", "read_invitation", "accept_invitation"}


def as_role(role: Role, **more: Any) -> Identity:
    return Identity(new_id(), new_id(), role, **more)


@pytest.mark.parametrize("name", SENSITIVE)
def test_a_sensitive_route_is_for_whom_it_was_meant(name: str) -> None:
    right = next(asked.right for asked in ROUTES if asked.name == name)
    assert isinstance(right, Right)
    assert tuple(role for role in EVERYBODY if right.admits(as_role(role))) == SENSITIVE[name]


@pytest.mark.parametrize("name", SCOPES)
def test_a_sensitive_route_takes_the_scope_it_was_meant_to(name: str) -> None:
    right = next(asked.right for asked in ROUTES if asked.name == name)
    assert isinstance(right, Right)
    assert right.scope == SCOPES[name]


def test_nothing_else_is_open() -> None:
    assert {asked.name for asked in ROUTES if isinstance(asked.right, Open)} == OPEN


async def ask(client: httpx.AsyncClient, asked: Asked, row_id: uuid.UUID, body: Any = None) -> httpx.Response:
    body = None if asked.method in ("GET", "DELETE") else body or {}
    return await client.request(asked.method, asked.address(row_id), params=_QUESTIONS.get(asked.name), json=body)


async def repair(admin: Any) -> None:
    """Whatever the last question did to who asks is undone."""
    await admin.execute("UPDATE workspace_members SET is_active = true")
    await admin.execute("UPDATE access_tokens SET revoked_at = NULL")


def at_the_line(asked: Asked) -> list[Role]:
    """The least of those whom the route's right admits, and the greatest of those whom it does not."""
    admitted = [role for role in EVERYBODY if asked.admits(as_role(role))]
    refused = [role for role in EVERYBODY if role not in admitted]
    assert list(EVERYBODY) in (admitted + refused, refused), f"{asked.name} admits {admitted}, and no greater"
    return admitted[-1:] + refused[:1]


async def test_every_route_admits_whom_its_right_says_and_nobody_less(
    owner: Client, admin_member: Client, member: Client, viewer: Client, admin: Any
) -> None:
    clients = {"owner": owner, "admin": admin_member, "member": member, "viewer": viewer}
    for asked in GUARDED:
        for role in at_the_line(asked):
            answer = await ask(clients[role], asked, uuid.uuid4())
            assert answer.status_code < 500, f"{asked.name}: {answer.text}"
            is_admitted = answer.status_code not in (401, 403)
            says = f"{asked.name} to {role}: {answer.status_code} {answer.text}"
            assert is_admitted is asked.admits(as_role(role)), says
            if asked.method != "GET" and answer.is_success:
                await repair(admin)


@pytest.mark.parametrize(("area", "level"), [("members", "none"), ("billing", "none"), ("agents", "read")])
async def test_every_route_obeys_what_a_member_was_permitted(member: Client, admin: Any, area: str, level: str) -> None:
    permissions = {area: level}
    await admin.execute(
        "UPDATE workspace_members SET permissions = $1 WHERE user_id = $2",
        msgspec.json.encode(permissions).decode(),
        member.user_id,
    )
    for asked in GUARDED:
        assert isinstance(asked.right, Right)
        if asked.right.area is None:
            continue
        answer = await ask(member, asked, uuid.uuid4())
        admitted = asked.admits(as_role("member", permissions=permissions))
        assert (answer.status_code not in (401, 403)) is admitted, f"{asked.name}: {answer.status_code} {answer.text}"


async def test_no_route_admits_who_sends_no_credential(anonymous: httpx.AsyncClient) -> None:
    for asked in GUARDED:
        assert (await ask(anonymous, asked, uuid.uuid4())).status_code == 401, asked.name
        anonymous.headers["Authorization"] = "Bearer cs_nonsense"
        assert (await ask(anonymous, asked, uuid.uuid4())).status_code == 401, asked.name
        del anonymous.headers["Authorization"]


async def row_of(service: Service, resource: Resource, client: Client, admin: Any) -> uuid.UUID:
    """Something of the client's workspace that the resource shows."""
    known = {Workspace: client.workspace_id, User: client.user_id}
    if resource.table in known:
        return known[resource.table]
    if resource.table is WorkspaceMember:
        found = await admin.fetchval("SELECT id FROM workspace_members WHERE user_id = $1", client.user_id)
        return uuid.UUID(str(found))
    row = await rows.row(service, resource.table, workspace_id=client.workspace_id, user_id=client.user_id)
    identity: uuid.UUID = row.id
    return identity


NOT_THERE = {
    "open_direct_channel": 400,  # its address names a person, who is no member
    "put_clerk_organization": 409,  # no issuer is configured
}
"""How what is another's is refused where that is not 404: as whatever is nobody's."""


@described
async def test_no_route_admits_another_workspace(service: Service, owner: Client, stranger: Client, admin: Any) -> None:
    there = {resource.path: await row_of(service, resource, owner, admin) for resource in RESOURCES}
    contents = {each.name: each.said.get("requestBody", {}).get("content", {}) for each in operations()}
    tried, found = 0, []
    for asked in GUARDED:
        resource_path = "/" + asked.path.removeprefix(ROOT).split("/")[1]
        if "{" not in asked.path or resource_path not in there:
            continue
        example = contents[asked.name].get("application/json", {}).get("example")
        answer = await ask(stranger, asked, there[resource_path], example)
        nowhere = await ask(stranger, asked, uuid.uuid4(), example)
        if not answer.status_code == nowhere.status_code == NOT_THERE.get(asked.name, 404):
            found.append(f"{asked.name}: {answer.status_code} and {nowhere.status_code} {answer.text}")
        tried += 1
    assert found == []
    assert tried > 100


WHO = re.compile(
    r"(?:(?P<every>every member)|members with (?P<permissions>.*); by their role alone (?P<usual>.*?)|(?P<roles>.*?))"
    r"\. A token with scopes needs `(?P<scope>\w+)`(?: or a wider one)?\."
)


@described
def test_a_description_says_all_of_who_may() -> None:
    said = {operation.name: operation.said for operation in operations()}
    for asked in ROUTES:
        _, _, who = said[asked.name]["description"].partition("**Who may:** ")
        if asked not in GUARDED:
            assert who == "anybody, without a credential."
            continue
        if isinstance(asked.right, Right) and asked.right.is_agents:
            assert who.startswith("an agent, by a token of its own. A token with scopes needs"), asked.name
            assert "403" in said[asked.name]["responses"]
            continue
        found = WHO.fullmatch(who)
        assert found, (asked.name, who)
        roles = found["roles"].split(" or ") if found["roles"] else (found["usual"] or "").split(", ")
        rights = [right for right in asked.rights if isinstance(right, Right)]
        admitted = [role for role in EVERYBODY if asked.admits(as_role(role))]
        assert (list(EVERYBODY) if found["every"] else roles) == admitted, asked.name
        permissions = [f"{right.area}: {right.level}" for right in rights if right.area]
        assert re.findall(r"\w+: \w+", found["permissions"] or "") == permissions, asked.name
        assert found["scope"] == max((right.scope for right in rights), key=("read", "write", "admin").index)
        is_for_all = admitted == list(EVERYBODY) and not permissions and found["scope"] == "read"
        assert ("403" in said[asked.name]["responses"]) is not is_for_all, asked.name
