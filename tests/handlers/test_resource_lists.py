"""What the list of every declared resource promises."""

from typing import Any, get_args

from comms.service import Service
from handlers import shapes
from handlers.resource import Resource
from models.core import Workspace
from tests.conftest import Client
from tests.handlers.test_resources import API, counted, ids, made, named, that


@that("list")
async def test_pages_hold_every_row_once_while_others_are_made(
    resource: Resource, service: Service, owner: Client
) -> None:
    if resource.table is Workspace:
        assert await ids(owner, API + resource.path) == [str(owner.workspace_id)]
        return
    there = {str(await made(service, resource, owner)) for _ in range(5)} | set(await ids(owner, API + resource.path))
    for sort in ("-createdAt", "createdAt"):
        seen: list[dict[str, Any]] = []
        cursor = None
        while True:
            query = {"limit": 2, "sort": sort} | ({"cursor": cursor} if cursor else {})
            response = await owner.get(API + resource.path, params=query)
            assert response.status_code == 200, response.text
            page = response.json()
            seen += page["items"]
            cursor = page["nextCursor"]
            if cursor is None:
                break
            if len(seen) < 4:
                await made(service, resource, owner)
        known = [item["id"] for item in seen]
        assert len(known) == len(set(known))
        assert there <= set(known)
        created = [item["createdAt"] for item in seen]
        assert created == sorted(created, reverse=sort.startswith("-"))


@that("list")
async def test_every_sort_and_filter_it_declares_works(resource: Resource, service: Service, owner: Client) -> None:
    row_id = str(await made(service, resource, owner))
    row = (await owner.get(f"{API}{resource.path}/{row_id}")).json()
    for name in resource.listing.sorts:
        for sort in (name, f"-{name}"):
            assert row_id in await ids(owner, API + resource.path, sort=sort)
    found_by = {}
    for name in resource.listing.parameters:
        value = row.get(name)
        if name in row and not isinstance(value, list | dict):
            text = "null" if value is None else str(value).lower() if isinstance(value, bool) else value
            field = next(f for f in resource.listing.fields.values() if f.encode_name == name)
            if value is None and str in map(shapes.plain, get_args(shapes.plain(field.type))):
                continue  # text that says null
            found_by[name] = text
    # All at once: one that fails loses the row as well.
    assert row_id in await ids(owner, API + resource.path, **found_by), found_by


@that("list")
async def test_a_list_takes_as_many_queries_however_long_it_is(
    resource: Resource, service: Service, owner: Client
) -> None:
    await made(service, resource, owner)
    await ids(owner, API + resource.path)
    with counted() as statements:
        await ids(owner, API + resource.path)
        for_one = statements()
    for _ in range(4):
        await made(service, resource, owner)
    with counted() as statements:
        await ids(owner, API + resource.path)
        assert statements() == for_one > 0


@that("list")
async def test_a_cursor_of_another_question_or_by_hand_is_refused(
    resource: Resource, service: Service, owner: Client
) -> None:
    if resource.table is Workspace:
        return
    for _ in range(2):
        await made(service, resource, owner)
    path = API + resource.path
    cursor = (await owner.get(path, params={"limit": 1})).json()["nextCursor"]
    assert (await owner.get(path, params={"limit": 2, "cursor": cursor})).status_code == 200
    other = "A" if cursor[-4] != "A" else "B"
    for query in (
        {"cursor": cursor, "sort": "createdAt"},
        {"cursor": cursor, "createdAfter": "2020-01-01T00:00:00Z"},
        {"cursor": cursor[:-4] + other + cursor[-3:]},
        {"cursor": cursor[:-1]},
        {"cursor": "…"},
        {"cursor": ""},
    ):
        answer = await owner.get(path, params=query)
        assert answer.status_code == 400, query
        assert named(answer) == {"cursor"}


NONSENSE = [
    ("noSuchFilter=1", "noSuchFilter"),
    ("limit=0", "limit"),
    ("limit=201", "limit"),
    ("limit=x", "limit"),
    ("limit=1&limit=2", "limit"),
    ("sort=secret", "sort"),
    ("createdAfter=yesterday", "createdAfter"),
    ("createdAfter=2026-01-01T00:00:00", "createdAfter"),
]


@that("list")
async def test_a_question_that_makes_no_sense_is_refused_by_name(resource: Resource, owner: Client) -> None:
    for query, field in NONSENSE:
        answer = await owner.get(f"{API}{resource.path}?{query}")
        assert answer.status_code == 400, query
        assert named(answer) == {field}
