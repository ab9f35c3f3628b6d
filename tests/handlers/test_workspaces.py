"""A workspace's settings, and its keys to AI providers."""

from typing import Any

import pytest

from comms import ai_keys
from comms.service import Service
from models.core import Workspace
from tests.conftest import Client

API = "/api/v1"
KEY = "sk-proj-abcdefghijklmnop"


async def test_settings_change_by_what_is_named(owner: Client) -> None:
    address = f"{API}/workspaces/{owner.workspace_id}"
    first = {
        "reopenWithin": 3600,
        "branding": {"primaryColor": "#ff0000"},
        "features": {"beta": True},
        "notifications": {"digest": "daily"},
        "invoicePrefix": "ACME-",
        "timezone": "Europe/Zurich",
        "defaultCountry": "CH",
        "locale": "de-CH",
        "automaticRepliesPerHour": 20,
        "custom": {"anything": [1, 2]},
    }
    assert (await owner.patch(address, json={"settings": first})).json()["settings"] == first
    second = await owner.patch(address, json={"settings": {"locale": "en", "custom": None}})
    expected = first | {"locale": "en"}
    del expected["custom"]
    assert second.json()["settings"] == expected
    assert (await owner.patch(address, json={"name": "Acme Ltd"})).json()["settings"] == expected


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("reopenWithin", "7 days"),
        ("reopenWithin", -1),
        ("branding", "red"),
        ("features", {"beta": "yes"}),
        ("notifications", []),
        ("invoicePrefix", "x" * 21),
        ("invoicePrefix", "  "),
        ("invoicePrefix", "A\nB"),
        ("timezone", "Mars/Olympus"),
        ("timezone", "../../etc/passwd"),
        ("defaultCountry", "XX"),
        ("locale", "deutsch!"),
        ("automaticRepliesPerHour", -1),
        ("automaticRepliesPerHour", 100_000),
        ("automaticRepliesPerHour", 1.5),
        ("automaticRepliesPerHour", "5"),
        ("automaticRepliesPerHour", True),
        ("custom", 1),
        ("theme", "dark"),
    ],
)
async def test_a_setting_that_makes_no_sense_is_refused_by_name(owner: Client, name: str, value: Any) -> None:
    address = f"{API}/workspaces/{owner.workspace_id}"
    answer = await owner.patch(address, json={"settings": {"locale": "en"} | {name: value}})
    assert answer.status_code == 400
    assert [error["field"] for error in answer.json()["errors"]] == [f"settings.{name}"]
    assert (await owner.get(address)).json()["settings"] == {}


async def test_a_key_goes_in_and_never_comes_out(owner: Client, service: Service, admin: Any) -> None:
    address = f"{API}/workspaces/{owner.workspace_id}/api-keys/openai"
    put = await owner.put(address, json={"key": KEY})
    assert put.status_code == 200, put.text
    assert put.json()["encryptedApiKeys"] == {"openai": {"lastFour": "mnop"}}
    assert (await owner.put(f"{address[:-6]}anthropic", json={"key": KEY + "-2"})).status_code == 200
    everything = (
        (await owner.get(f"{API}/workspaces")).text
        + (await owner.get(f"{API}/events")).text
        + str(await admin.fetch("SELECT * FROM workspaces"))
        + str(await admin.fetch("SELECT * FROM events"))
    )
    assert KEY not in everything
    assert "authTag" not in (await owner.get(f"{API}/events")).text
    async with service.database.workspace(owner.workspace_id) as db:
        row = await db.get_one(Workspace, owner.workspace_id)
        opened = ai_keys.opened(row, service.vault, "openai")
        assert opened is not None
        assert opened.plain == KEY
        assert ai_keys.opened(row, service.vault, "google") is None
    assert (await owner.delete(address)).status_code == 204
    assert (await owner.delete(address)).status_code == 404
    left = (await owner.get(f"{API}/workspaces/{owner.workspace_id}")).json()["encryptedApiKeys"]
    assert left == {"anthropic": {"lastFour": "op-2"}}


@pytest.mark.parametrize(
    ("provider", "body"), [("mistral", {"key": KEY}), ("openai", {"key": "short"}), ("openai", {})]
)
async def test_a_key_that_makes_no_sense_is_refused(owner: Client, provider: str, body: dict[str, Any]) -> None:
    address = f"{API}/workspaces/{owner.workspace_id}/api-keys/{provider}"
    assert (await owner.put(address, json=body)).status_code == 400
