"""The protocol serves a browser: ten lines of HTML hear what their member may hear, and nothing more."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.async_api import Page, async_playwright, expect

from comms import credentials, workspaces
from comms.database import Database
from comms.embedded import Embedded
from tests.grounds import urls_of
from tests.journeys.conftest import Pair
from tests.journeys.desks import Desk

API = "/api/v1"
CHROMIUM = Path("/usr/bin/chromium")
PAGE = Path(__file__).parents[2] / "docs" / "live.html"
# As root in a container, and without a word to anybody else's servers.
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)

pytestmark = pytest.mark.skipif(not CHROMIUM.exists(), reason=f"no browser here: install chromium ({CHROMIUM})")


@pytest.fixture
async def colleague(postgres: Embedded, pair: Pair, desk: Desk) -> AsyncIterator[httpx.AsyncClient]:
    """Another member of the fresh workspace, who asks the other process."""
    database = Database(urls_of(postgres, "journeys"), pool_size=1)
    async with database.everywhere() as db:
        member = await workspaces.enter(db, desk.workspace_id, email="mia@browser.example", role="member")
        _, token = await credentials.issue(db, member)
    await database.close()
    headers = {"Authorization": f"Bearer {token}"}
    async with httpx.AsyncClient(base_url=pair.other.url, headers=headers, timeout=15) as client:
        yield client


@pytest.fixture
async def page() -> AsyncIterator[Page]:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield await browser.new_page()
        await browser.close()


async def ok(answer: httpx.Response) -> Any:
    assert answer.status_code < 300, answer.text
    return answer.json() if answer.content else None


async def test_a_page_shows_its_member_what_happens_until_they_are_removed(
    pair: Pair, agent: httpx.AsyncClient, colleague: httpx.AsyncClient, page: Page
) -> None:
    me = (await ok(await colleague.get(f"{API}/me")))["id"]
    made = await ok(await agent.post(f"{API}/team-channels", json={"name": "hush", "isPrivate": True}))
    channel = f"{API}/team-channels/{made['id']}"
    await ok(await agent.post(f"{channel}/members", json={"userId": me}))
    ticket = (await ok(await colleague.post(f"{API}/ws-tickets")))["ticket"]
    await page.goto(f"{PAGE.as_uri()}#{pair.other.screen_url}?ticket={ticket}")
    shown = page.locator("li")
    await expect(shown.first).to_contain_text('"type":"ready"')

    said = {"channelId": made["id"], "content": "Are we among ourselves?"}
    await ok(await agent.post(f"{API}/team-messages", json=said))
    await expect(shown.last).to_contain_text("Are we among ourselves?")
    await ok(await agent.delete(f"{channel}/members/{me}"))
    await expect(shown.last).to_contain_text("team_channel_member.deleted")
    await ok(await agent.post(f"{API}/team-messages", json=said | {"content": "Now we are."}))
    await ok(await agent.post(f"{API}/contacts", json={"firstName": "Ann"}))
    await expect(shown.last).to_contain_text("contact.created")

    heard = [json.loads(text) for text in await shown.all_text_contents()]
    events = [frame["event"] for frame in heard if frame["type"] == "event" and frame["subjectType"] != "session"]
    assert events == ["team_message.created", "team_channel_member.deleted", "contact.created"]
    log = (await ok(await colleague.get(f"{API}/events", params={"after": heard[0]["seq"]})))["items"]
    assert [frame["event"] for frame in log] == events[1:]

    member = (await ok(await agent.get(f"{API}/workspace-members", params={"userId": me})))["items"][0]
    await ok(await agent.delete(f"{API}/workspace-members/{member['id']}"))
    await expect(shown.last).to_have_text("closed 4401 your access has ended")
