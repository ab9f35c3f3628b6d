"""What every declared resource promises, whichever table it is."""

import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

import msgspec
import pytest
from sqlalchemy import Engine, event

import handlers.app  # noqa: F401  # every resource is declared once it is imported
from comms.identity import Identity
from comms.service import Service
from handlers import guards, shapes
from handlers.resource import RESOURCES, Resource, Verb
from models.base import noun_of
from models.core import User, Workspace, WorkspaceMember
from models.events import Event
from tests.conftest import Client
from tests.make import rows
from tests.make.communications import SECRETS

API = "/api/v1"
WRITTEN_BY_HAND: dict[str, tuple[Verb, ...]] = {
    "/workspace-api-keys": ("list", "get", "create", "change", "delete"),
    "/chat-widgets": ("list", "get", "create", "change", "delete"),
    "/contact-points": ("list", "get", "create", "change", "delete"),
    "/conversations": ("list", "get", "create", "change", "delete"),
    "/conversation-messages": ("list", "get", "create", "change", "delete"),
    "/notifications": ("list", "get", "change", "delete"),
    "/push-subscriptions": ("list", "get", "delete"),
    "/team-channels": ("list", "get", "create", "change", "delete"),
    "/team-messages": ("list", "get", "create", "change", "delete"),
    "/access-tokens": ("list", "get", "create"),
    "/agents": ("list", "get", "create", "change", "delete"),
    "/agent-team-members": ("list", "get", "create", "delete"),
    "/agent-messages": ("list", "get"),
    "/invoices": ("list", "get", "create", "change", "delete"),
    "/expenses": ("list", "get", "create", "change", "delete"),
    "/campaigns": ("list", "get", "create", "change", "delete"),
    "/marketing-channels": ("list", "get", "create", "change", "delete"),
    "/webhook-endpoints": ("list", "get", "create", "change", "delete"),
    "/webhook-signing-secrets": ("list", "get", "create"),
    "/webhook-replays": ("list", "get", "create"),
}
BODIES: dict[str, dict[str, Any]] = {
    "/workspace-api-keys": {"provider": "twilio", "secret": SECRETS["twilio"]},
    "/contact-points": {"kind": "rcs"},
    "/conversation-messages": {"direction": "outbound"},
    "/lead-scoring-rules": {"field": "jobTitle", "operator": "contains", "value": "chief"},
    "/lead-routing-rules": {"isActive": False},
    "/routing-rules": {"isActive": False},
    "/webhook-endpoints": {"url": "https://example.com/events"},
    "/webhook-replays": {"fromAt": "2026-01-01T00:00:00Z", "untilAt": "2026-01-02T00:00:00Z"},
}


def verbs_of(resource: Resource) -> tuple[Verb, ...]:
    return WRITTEN_BY_HAND.get(resource.path, resource.verbs)


def each(resources: Iterable[Resource]) -> Any:
    """One test each; all of a resource on one of xdist's workers, which words its statements and shapes once."""
    return pytest.mark.parametrize(
        "resource",
        [
            pytest.param(found, id=(name := found.path.strip("/")), marks=pytest.mark.xdist_group(name))
            for found in resources
        ],
    )


def that(*verbs: Verb) -> Any:
    """The resources that can be treated so, one test each."""
    return each(resource for resource in RESOURCES if set(verbs) <= set(verbs_of(resource)))


async def made(service: Service, resource: Resource, client: Client, **values: Any) -> uuid.UUID:
    """The id of a row of the client's workspace."""
    if resource.table is Workspace:
        return client.workspace_id
    # People are seen as members.
    table = WorkspaceMember if resource.table is User else resource.table
    row = await rows.row(service, table, workspace_id=client.workspace_id, user_id=client.user_id, **values)
    identity: uuid.UUID = row.user_id if resource.table is User else row.id
    return identity


async def body_of(service: Service, resource: Resource, client: Client) -> dict[str, Any]:
    """What makes a row: the fields that are required, with something allowed in them."""
    body = dict(BODIES.get(resource.path, {}))
    for field in msgspec.structs.fields(resource.new):
        is_wanted = field.required or field.name in rows.WANTED.get(resource.table.__tablename__, ())
        if not is_wanted or field.encode_name in body:
            continue
        column = shapes.column_of(resource.table, field.name)
        assert column is not None, field.name
        target = rows.referred(column)
        if (column.table.name, column.name) in rows.ONE_EACH:
            row = await rows.row(service, WorkspaceMember, workspace_id=client.workspace_id, user_id=client.user_id)
            body[field.encode_name] = str(row.user_id)
        elif target == "workspace_members":
            body[field.encode_name] = str(client.user_id)
        elif target is not None:
            row = await rows.row(
                service, rows.class_of(target), workspace_id=client.workspace_id, user_id=client.user_id
            )
            body[field.encode_name] = str(row.id)
        else:
            body[field.encode_name] = rows.as_json(rows.value_for(column))
    return body


def a_change(resource: Resource) -> dict[str, Any]:
    """A field that may be changed without minding any other, and a new value."""
    for field in msgspec.structs.fields(resource.edit):
        options = get_args(field.type) if get_origin(field.type) in (Union, UnionType) else (field.type,)
        for option in options:
            metas = get_args(option)[1:] if get_origin(option) is Annotated else ()
            kind = get_args(option)[0] if metas else option
            if kind is str and not any((meta.extra or {}).get("law") for meta in metas):
                return {field.encode_name: "Changed"}
            if kind is bool:
                return {field.encode_name: not resource.listing.fields[field.name].default}
    raise AssertionError(f"nothing of {resource.path} can be changed")


async def ids(client: Client, path: str, **query: Any) -> list[str]:
    response = await client.get(path, params={"limit": 200, **query})
    assert response.status_code == 200, response.text
    return [item["id"] for item in response.json()["items"]]


_COUNTING: ContextVar[list[str] | None] = ContextVar("counting", default=None)


@contextmanager
def counted() -> Iterator[Callable[[], int]]:
    """How many statements were sent to the database so far, for what is asked within the block and nothing else."""
    statements: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        if _COUNTING.get() is statements:  # and not what the service does by itself meanwhile
            statements.append(statement)

    asked_here = _COUNTING.set(statements)
    event.listen(Engine, "before_cursor_execute", note)
    try:
        yield lambda: len(statements)
    finally:
        event.remove(Engine, "before_cursor_execute", note)
        _COUNTING.reset(asked_here)


def named(response: Any) -> set[str]:
    assert response.headers["content-type"] == "application/problem+json"
    return {error["field"] for error in response.json()["errors"]}


@that("create")
async def test_what_is_made_is_read_back_and_listed_and_told(
    resource: Resource, service: Service, owner: Client
) -> None:
    body = await body_of(service, resource, owner)
    response = await owner.post(API + resource.path, json=body)
    assert response.status_code == 201, response.text
    row = response.json()
    for once in ("token", "secret"):  # told this once
        row.pop(once, None)
    assert (await owner.get(f"{API}{resource.path}/{row['id']}")).json() == row
    assert row["id"] in await ids(owner, API + resource.path)
    told = (await owner.get(f"{API}/events", params={"subjectId": row["id"]})).json()["items"]
    assert [item["event"] for item in told] == [f"{noun_of(resource.table)}.created"]
    assert told[0]["data"] | {"webhookUrls": None} == row | {"webhookUrls": None}
    assert told[0]["actorId"] == str(owner.user_id)


@that("change")
async def test_a_change_keeps_what_it_does_not_name(resource: Resource, service: Service, owner: Client) -> None:
    row_id = await made(service, resource, owner)
    address = f"{API}{resource.path}/{row_id}"
    before = (await owner.get(address)).json()
    change = a_change(resource)
    response = await owner.patch(address, json=change)
    assert response.status_code == 200, response.text
    after = response.json()
    consequences = {"updatedAt", "readAt", "isEdited", "editedAt"}
    assert {name for name in after if after[name] != before[name]} - consequences == set(change)
    assert (await owner.get(address)).json() == after
    told = (await owner.get(f"{API}/events", params={"subjectId": str(row_id)})).json()["items"]
    assert told[-1]["event"] == f"{noun_of(resource.table)}.updated"


@that("change")
async def test_a_change_that_changes_nothing_is_not_told(resource: Resource, service: Service, owner: Client) -> None:
    address = f"{API}{resource.path}/{await made(service, resource, owner)}"
    change = a_change(resource)
    assert (await owner.patch(address, json=change)).status_code == 200
    told = (await owner.get(f"{API}/events")).json()["items"]
    first = await owner.patch(address, json={})
    again = await owner.patch(address, json=change)
    assert first.status_code == again.status_code == 200
    assert first.json() == again.json()
    assert (await owner.get(f"{API}/events")).json()["items"] == told


@that("delete")
async def test_what_is_deleted_is_gone_and_told(resource: Resource, service: Service, owner: Client) -> None:
    row_id = await made(service, resource, owner)
    address = f"{API}{resource.path}/{row_id}"
    assert (await owner.delete(address)).status_code == 204
    assert (await owner.get(address)).status_code == 404
    assert (await owner.delete(address)).status_code == 404
    told = (await owner.get(f"{API}/events", params={"subjectId": str(row_id)})).json()["items"]
    assert [item["event"] for item in told] == [f"{noun_of(resource.table)}.deleted"]


@that("create")
async def test_unknown_and_read_only_fields_are_refused_by_name(
    resource: Resource, service: Service, owner: Client
) -> None:
    body = await body_of(service, resource, owner)
    wrong = {"id": str(uuid.uuid4()), "createdAt": "2026-01-01T00:00:00Z", "noSuchField": 1, "workspaceId": "x"}
    response = await owner.post(API + resource.path, json=body | wrong)
    assert response.status_code == 400
    assert named(response) == set(wrong)


@that("change")
async def test_a_change_refuses_unknown_and_read_only_fields_by_name(
    resource: Resource, service: Service, owner: Client
) -> None:
    address = f"{API}{resource.path}/{await made(service, resource, owner)}"
    response = await owner.patch(address, json=a_change(resource) | {"id": "x", "noSuchField": 1})
    assert response.status_code == 400
    assert named(response) == {"id", "noSuchField"}


@that("create")
async def test_every_missing_field_is_named(resource: Resource, owner: Client) -> None:
    required = {field.encode_name for field in msgspec.structs.fields(resource.new) if field.required}
    response = await owner.post(API + resource.path, json={})
    if required:
        assert response.status_code == 400
        assert named(response) == required
    else:
        assert response.status_code == 201


@that("get")
async def test_another_workspace_sees_nothing(
    resource: Resource, service: Service, owner: Client, stranger: Client
) -> None:
    row_id = await made(service, resource, owner)
    address = f"{API}{resource.path}/{row_id}"
    assert (await owner.get(address)).status_code == 200
    assert str(row_id) not in await ids(stranger, API + resource.path)
    verbs = verbs_of(resource)
    answers = [await stranger.get(address)]
    if "change" in verbs:
        answers.append(await stranger.patch(address, json=a_change(resource)))
    if "delete" in verbs:
        answers.append(await stranger.delete(address))
    nowhere = await stranger.get(f"{API}{resource.path}/{uuid.uuid4()}")
    for answer in [*answers, nowhere]:
        assert answer.status_code == 404
        assert answer.json()["title"] == nowhere.json()["title"]
    assert (await owner.get(address)).status_code == 200


@that("create")
async def test_a_reference_into_another_workspace_is_refused(
    resource: Resource, service: Service, owner: Client, stranger: Client
) -> None:
    body = await body_of(service, resource, owner)
    theirs = await body_of(service, resource, stranger)
    for field in msgspec.structs.fields(resource.new):
        column = shapes.column_of(resource.table, field.name)
        if column is None or rows.referred(column) is None or field.encode_name not in theirs:
            continue
        response = await owner.post(API + resource.path, json=body | {field.encode_name: theirs[field.encode_name]})
        assert response.status_code == 400, response.text
        assert named(response) == {field.encode_name}


@that("get")
async def test_a_viewer_reads_and_does_not_write(
    resource: Resource, service: Service, owner: Client, viewer: Client
) -> None:
    row_id = await made(service, resource, viewer)
    address = f"{API}{resource.path}/{row_id}"
    reads = resource.who_reads.admits(Identity(viewer.workspace_id, viewer.user_id, "viewer"))
    assert (await viewer.get(address)).status_code == (200 if reads else 403)
    if resource.who_writes is guards.reader:
        return
    attempts = [("create", "POST", API + resource.path), ("change", "PATCH", address), ("delete", "DELETE", address)]
    for verb, method, path in attempts:
        if verb in verbs_of(resource):
            answer = await viewer.request(method, path, json={})
            assert answer.status_code == 403, f"{method} {path}: {answer.text}"


async def test_the_log_is_the_only_table_that_is_listed_by_hand(owner: Client) -> None:
    tables = {resource.table for resource in RESOURCES}
    assert Event not in tables
    assert (await owner.get(f"{API}/events")).status_code == 200
