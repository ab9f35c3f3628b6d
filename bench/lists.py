"""How long every list takes in a workspace of 100,000 contacts and 1,000,000 messages: pages, filters, sorts, words."""

import statistics
import time
import uuid
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any, Literal, get_args, get_origin

import httpx
import msgspec

import handlers.app  # noqa: F401  # every resource is declared once it is imported
from bench import machine
from bench.stage import Server, Stage
from comms.database import Database
from comms.demo import scale
from handlers import shapes
from handlers.resource import RESOURCES, Resource

TOWN, NEIGHBOUR = "lists", "lists-neighbour"
API = "/api/v1"
LIMIT_SECONDS = 0.030
PAGES_DEEP = 10
# Everywhere, in a few rows, nowhere; unfinished; several; what many rows begin with; a number.
WORDS = ("the", "invoice", "zzqqx", "a", "invoice t", "dental check pl", "the the", "muller", "5550", "2120000")


class Plan(msgspec.Struct, frozen=True):
    """How much there is, and how often each question is asked."""

    contacts: int = 100_000
    messages: int = 1_000_000
    times: int = 7


class Asked(msgspec.Struct, frozen=True):
    """A question of a list, and how long its answers took."""

    path: str
    part: Literal["first", "deep", "filter", "sort", "q"]
    query: dict[str, str]
    seconds: list[float]

    @property
    def median(self) -> float:
        """Half of the answers were quicker."""
        return statistics.median(self.seconds)

    @property
    def p95(self) -> float:
        """The slowest of twenty."""
        return sorted(self.seconds)[min(len(self.seconds) - 1, int(len(self.seconds) * 0.95))]


class Lists(msgspec.Struct, frozen=True):
    """All that was asked; and what the ordinary handler took for a message, in seconds at the median."""

    plan: Plan
    asked: list[Asked]
    ordinary: float


async def fill(stage: Stage, plan: Plan, say: Callable[[str], None]) -> None:
    """There is one large workspace, and a neighbour with a twentieth of it."""
    database = Database(stage.urls(), pool_size=2)
    try:
        for town, share in ((TOWN, 1), (NEIGHBOUR, 20)):
            workspace_id = stage.towns[town].ids[0]
            await scale.fill(database, workspace_id, plan.contacts // share, plan.messages // share, say)
    finally:
        await database.close()
    await stage.settle()


def measure(stage: Stage, server: Server, plan: Plan, ordinary: float) -> Lists:
    """Every declared list, and the search over all, asked one after another by a single client."""
    token = stage.towns[TOWN].access_tokens[0]
    with (
        machine.pinned(stage.cores.clients),
        httpx.Client(
            base_url=f"http://127.0.0.1:{server.port}", headers={"Authorization": f"Bearer {token}"}, timeout=60
        ) as client,
    ):
        return Lists(plan, list(ask_everything(client, plan.times)), ordinary)


def ask_everything(client: httpx.Client, times: int) -> Iterator[Asked]:
    """Each question, asked so many times."""
    for resource in RESOURCES:
        path = API + resource.path
        if client.get(path).status_code == 200:
            yield from _ask_list(client, path, resource, times)
    busiest = _busiest(client)
    if busiest:
        messages = next(resource for resource in RESOURCES if resource.path == "/conversation-messages")
        yield from _ask_list(client, f"{API}/conversations/{busiest}/messages", messages, times)
    for words in WORDS:
        for types in ("message,conversation,contact", "contact"):
            yield from _ask(client, f"{API}/search", "q", {"q": words, "types": types}, times, deep=True)


def _ask_list(client: httpx.Client, path: str, resource: Resource, times: int) -> Iterator[Asked]:
    listing = resource.listing
    yield from _ask(client, path, "first", {}, times)
    rows = client.get(path, params={"limit": 200}).json()["items"]
    middle = _middle(client, path)
    if middle:
        yield from _ask(client, path, "deep", {"createdBefore": middle}, times, deep=True)
    for sort in listing.sorts:
        for sign in ("", "-"):
            yield from _ask(client, path, "sort", {"sort": sign + sort}, times, deep=True)
    for name, field in listing.fields.items():
        if field.encode_name in listing.parameters and name != "created_at":
            for value in _values(field.type, [row.get(field.encode_name) for row in rows]):
                if client.get(path, params={field.encode_name: value}).status_code == 400:
                    continue  # nothing a column of that law could hold
                yield from _ask(client, path, "filter", {field.encode_name: value}, times)
    for words in WORDS if "q" in listing.parameters else ():
        yield from _ask(client, path, "q", {"q": words}, times, deep=True)
        other = next((sort for sort in listing.sorts if sort != "createdAt"), "createdAt")
        yield from _ask(client, path, "q", {"q": words, "sort": other}, times)


def _ask(
    client: httpx.Client, path: str, part: Any, query: dict[str, str], times: int, *, deep: bool = False
) -> Iterator[Asked]:
    """The question's first page, and a page far behind it."""
    answer = _get(client, path, query)
    yield Asked(path, part, query, [_timed(client, path, query) for _ in range(times)])
    cursor = answer["nextCursor"]
    if deep and cursor:
        far = cursor
        for _ in range(PAGES_DEEP):
            cursor = _get(client, path, query | {"cursor": far, "limit": "100"})["nextCursor"]
            if cursor is None:
                break
            far = cursor
        behind = query | {"cursor": far}
        yield Asked(path, part, query | {"cursor": "…"}, [_timed(client, path, behind) for _ in range(times)])


def _timed(client: httpx.Client, path: str, query: dict[str, str]) -> float:
    began = time.perf_counter()
    _get(client, path, query)
    return time.perf_counter() - began


def _get(client: httpx.Client, path: str, query: dict[str, str]) -> Any:
    answer = client.get(path, params=query)
    if answer.status_code != 200:
        raise RuntimeError(f"GET {path} {query}: {answer.status_code} {answer.text}")
    return answer.json()


def _values(annotation: Any, there: list[Any]) -> list[str]:
    """What a filter may be asked: all of few, or one that is there and one that is not."""
    kind = shapes.plain(annotation)
    kind = get_args(kind)[0] if get_origin(kind) is list else kind
    options = [option for option in (get_args(kind) or (kind,)) if option is not type(None)]
    if get_origin(kind) is Literal:
        return list(get_args(kind))
    if options == [bool]:
        return ["true", "false"]
    flat = [one for value in there for one in (value if isinstance(value, list) else [value]) if one is not None]
    nothing = {uuid.UUID: str(uuid.uuid4()), int: "-1"}.get(options[0], "nothing")
    if get_origin(options[0]) is Literal:
        return list(get_args(options[0]))
    return [*dict.fromkeys(str(value) for value in flat[:1]), nothing]


def _middle(client: httpx.Client, path: str) -> str | None:
    """A time in the midst of the list."""
    ends = [client.get(path, params={"limit": 1, "sort": sort}).json()["items"] for sort in ("createdAt", "-createdAt")]
    if not ends[0] or ends[0] == ends[1]:
        return None
    first, last = (datetime.fromisoformat(items[0]["createdAt"]) for items in ends)
    return str((first + (last - first) / 2).isoformat()).replace("+00:00", "Z")


def _busiest(client: httpx.Client) -> str | None:
    """The conversation with the most messages: the first that there was."""
    items = _get(client, f"{API}/conversations", {"sort": "createdAt", "limit": "1"})["items"]
    return items[0]["id"] if items else None
