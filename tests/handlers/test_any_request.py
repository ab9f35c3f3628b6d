"""Whatever is asked: Schemathesis tries the whole API, with what its description allows and with what it does not.

A real server on a port of its own, because Schemathesis calls from outside any event loop. Nothing that the document
describes is left out. What the document leaves out is not tried here: the websocket (tests/live/test_live.py) and
the providers' webhooks (tests/handlers/test_webhooks.py), whose form is the providers'.
"""

import asyncio
import os
import socket
import threading
import uuid
from collections.abc import Coroutine, Iterator
from typing import Any

import asyncpg
import pytest
import requests
import schemathesis
import uvicorn
import uvloop
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi import checks

from comms import credentials, workspaces
from comms.embedded import Embedded
from comms.service import Service
from comms.settings import Settings
from handlers.app import create_app
from handlers.resource import RESOURCES, Resource
from handlers.shapes import msgspec_camel
from models.core import User, Workspace, WorkspaceMember
from tests.grounds import TEMPLATE, urls_of
from tests.handlers.descriptions import api, described, document
from tests.make import rows

pytestmark = described

EACH = int(os.environ.get("COMMS_ANY_REQUESTS", "1"))
"""How many requests of each sort to an operation; more of them by hand, or at night, and then about unknown rows too.

One is what an ordinary run has time for: of each operation something that is right, and of each that takes a body
something that is wrong. What is wrong in an address is asked in test_addresses.py and test_resources.py besides.
"""
CHECKS = [
    not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_schema_conformance,
    checks.response_headers_conformance,
]
ORDER = ("post", "get", "patch", "put", "delete")
"""What is there is changed before it is deleted."""
PROFILE = settings(
    database=None,
    deadline=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
    print_blob=False,
)


BY_LENGTH = sorted(RESOURCES, key=lambda resource: -len(resource.path))

schemathesis.openapi.format("phone", st.from_regex(r"\A\+1415555[0-9]{4}\Z"))


class Served:
    """The application on a loopback port, on an event loop of its own."""

    def __init__(self, settings: Settings, server: Embedded, database: str) -> None:
        self.service = Service(settings, urls_of(server, database), worker=False)
        self.known: dict[str, str] = {}
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        config = uvicorn.Config(create_app(self.service, api()), lifespan="on", log_config=None, access_log=False)
        self._server = uvicorn.Server(config)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = threading.Thread(target=self._run, name="served", daemon=True)

    def _run(self) -> None:
        # As in production. The standard loop leaves Nagle's algorithm on for such a listener: 40 ms an answer.
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        await self._server.serve(sockets=[self._listener])

    def __enter__(self) -> "Served":
        self._thread.start()
        while not self._server.started:
            self._thread.join(0.05)
            assert self._thread.is_alive(), "the server has not started"
        return self

    def __exit__(self, *_: object) -> None:
        self._server.should_exit = True
        self._thread.join(20)

    def do(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """What the coroutine returns, run where the server runs."""
        assert self._loop is not None
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(30)

    async def furnish(self) -> str:
        """There is a workspace with a row of every resource; returns its owner's token."""
        async with self.service.database.everywhere() as db:
            workspace, _ = await workspaces.found(db, name="Acme", slug="acme", email="owner@acme.example")
            member = await workspaces.find_member(db, workspace.id, "owner@acme.example")
            assert member is not None
            _, token = await credentials.issue(db, member)
        self.known = {"/workspaces": str(workspace.id), "/users": str(member.user_id)}
        for resource in RESOURCES:
            if resource.table in (Workspace, User):
                continue
            if resource.table is WorkspaceMember:
                self.known[resource.path] = str(member.id)
                continue
            row = await rows.row(self.service, resource.table, workspace_id=workspace.id, user_id=member.user_id)
            self.known[resource.path] = str(row.id)
        return token

    def make_known(self, case: Any) -> None:
        """The ids in the address and the body are those of rows that are there."""
        resource = next((found for found in BY_LENGTH if case.path.startswith(f"/api/v1{found.path}")), None)
        if resource is None:
            return
        if case.path_parameters:
            case.path_parameters[next(iter(case.path_parameters))] = self.known[resource.path]
        if isinstance(case.body, dict):
            for name in case.body:
                target = self._referred(resource, name)
                if target is not None and case.body[name] is not None:
                    case.body[name] = target

    def _referred(self, resource: Resource, name: str) -> str | None:
        """The id of a row that the field may refer to."""
        column = next((c for c in resource.table.__table__.columns if msgspec_camel(c.name) == name), None)
        target = rows.referred(column) if column is not None else None
        path = "/users" if target == "workspace_members" else f"/{(target or '').replace('_', '-')}"
        return self.known.get(path)


@pytest.fixture
def served(postgres: Embedded, settings: Settings) -> Iterator[Served]:
    """A server with a database of its own."""
    name = f"test_{uuid.uuid4().hex}"

    async def execute(statement: str) -> None:
        admin = await asyncpg.connect(postgres.dsn("postgres", "postgres"))
        await admin.execute(statement)
        await admin.close()

    asyncio.run(execute(f"CREATE DATABASE {name} TEMPLATE {TEMPLATE}"))
    with Served(settings, postgres, name) as served:
        yield served
    asyncio.run(execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)"))


def ask(served: Served, session: requests.Session, operation: Any, mode: GenerationMode) -> None:
    """As many requests as it says above, the same each time; all or half of them are about rows that are there."""

    @seed(20260301)
    @settings(PROFILE, max_examples=EACH)
    # Hypothesis begins with the least of everything, and where there is one request that would be all: not here.
    @given(
        is_more_than_least=st.booleans().filter(bool),
        case=operation.as_strategy(generation_mode=mode),
        is_known=st.booleans() if EACH > 1 else st.just(True),
    )
    def asked(is_more_than_least: bool, case: Any, is_known: bool) -> None:
        if is_known:
            served.make_known(case)
        response = case.call(base_url=served.url, session=session)
        case.validate_response(response, checks=CHECKS)

    asked()


def test_no_request_ends_in_a_server_error_or_in_anything_undocumented(served: Served) -> None:
    token = served.do(served.furnish())
    schema = schemathesis.openapi.from_dict(document())
    operations = sorted(
        (found.ok() for found in schema.get_all_operations()),
        key=lambda operation: (ORDER.index(operation.method), operation.path),
    )
    described = {operation["operationId"] for item in document()["paths"].values() for operation in item.values()}
    assert {operation.definition.raw["operationId"] for operation in operations} == described

    failures: list[str] = []
    with requests.Session() as session:
        session.headers["Authorization"] = f"Bearer {token}"
        for operation in operations:
            name = operation.definition.raw["operationId"]
            is_wrong_too = EACH > 1 or "requestBody" in operation.definition.raw
            for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE)[: 1 + is_wrong_too]:
                try:
                    ask(served, session, operation, mode)
                except Unsatisfiable:
                    continue  # there is nothing to get wrong
                except (Exception, BaseExceptionGroup) as error:
                    failures.append(f"--- {name} ({mode.value})\n{error}")
    assert not failures, "\n".join(failures)
