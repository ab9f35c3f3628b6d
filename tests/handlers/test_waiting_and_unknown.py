"""Whoever is not proven yet holds nothing up: bodies that do not come, and connections that nobody has."""

import asyncio
import uuid
from typing import Any

import pytest
from sqlalchemy import event

from comms.directory import Connection, Directory
from comms.service import Service
from handlers import patience
from handlers.webhooks import ROUTES
from models.tenancy import WORKER
from tests.conftest import Client
from tests.handlers.webhooks import text
from tests.make import communications as make


async def _stalled(app: Any, path: str, **headers: str) -> tuple[int, dict[bytes, bytes]]:
    """What the app answers to a POST of which three bytes of thirty come, and no more."""
    pieces = [{"type": "http.request", "body": b"abc", "more_body": True}]
    said: list[Any] = []

    async def receive() -> Any:
        return pieces.pop() if pieces else await asyncio.Event().wait()

    async def send(message: Any) -> None:
        said.append(message)

    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "POST", "scheme": "https",
        "path": path, "raw_path": path.encode(), "query_string": b"", "root_path": "",
        "headers": [
            (b"host", b"hooks.example.com"), (b"content-length", b"30"), (b"content-type", b"application/json"),
            *((name.encode(), value.encode()) for name, value in headers.items()),
        ],
        "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 8000), "state": {},
    }  # fmt: skip
    async with asyncio.timeout(5):
        await app(scope, receive, send)
    return said[0]["status"], dict(said[0]["headers"])


async def test_a_webhook_whose_body_does_not_come_is_408(
    app: Any, line: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert ROUTES["twilio", "messages"].most_seconds == 15
    monkeypatch.setattr(ROUTES["twilio", "messages"], "most_seconds", 0.05)
    status, headers = await _stalled(app, f"/webhooks/twilio/{line.id}/messages")
    assert (status, headers[b"connection"]) == (408, b"close")


async def test_a_body_that_comes_late_but_in_time_is_read(line: Connection, app: Any) -> None:
    request = text(line, sid="SM1")
    half = len(request.body) // 2
    pieces = [request.body[:half], request.body[half:]]
    said: list[Any] = []

    async def receive() -> Any:
        await asyncio.sleep(0.01)
        return {"type": "http.request", "body": pieces.pop(0), "more_body": bool(pieces)}

    async def send(message: Any) -> None:
        said.append(message)

    path = f"/webhooks/twilio/{line.id}/messages"
    headers = [(name.encode(), value.encode()) for name, value in request.headers.items()]
    scope = {"type": "http", "method": "POST", "path": path, "raw_path": path.encode(), "query_string": b""}
    await app({**scope, "headers": headers}, receive, send)
    assert said[0]["status"] == 200


async def test_a_request_whose_body_does_not_come_is_408(
    app: Any, owner: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patience, "SECONDS", 0.05)
    status, headers = await _stalled(app, "/api/v1/contacts/", authorization=f"Bearer {owner.token}")
    assert (status, headers[b"connection"]) == (408, b"close")
    assert (await _stalled(app, "/api/v1/contacts/"))[0] == 401  # before a byte is waited for


async def test_an_unknown_connection_costs_no_more_than_a_known_one(
    service: Service, workspace_id: uuid.UUID, line: Connection
) -> None:
    """Who asks for many that nobody has makes us ask for one row a second."""
    asked: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if "workspace_api_keys" in statement:
            asked.append(statement)

    directory = Directory(service.database, service.vault)
    await directory.load()
    later = await make.connection(service, workspace_id)  # as another process makes one
    engine = service.database._engines[WORKER].sync_engine
    event.listen(engine, "before_cursor_execute", note)
    try:
        for _ in range(50):
            assert await directory.look_up(str(line.id)) is not None
        assert await directory.look_up("no id at all") is None
        assert asked == []
        assert await directory.look_up(str(later.id)) == later
        for _ in range(50):
            assert await directory.look_up(str(uuid.uuid4())) is None
        assert len(asked) == 1
        assert "k.id = $1" in asked[0]
    finally:
        event.remove(engine, "before_cursor_execute", note)
