"""The letter of an invitation: sent by a job, through a mail server."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import msgspec
import pytest
from aiosmtpd.smtp import SMTP

from comms import invitations, jobs
from comms.service import Service
from comms.settings import Secret, Settings, SmtpSettings
from tests.conftest import Client
from tests.make.mailbox import Mailbox
from tests.screens import eventually

API = "/api/v1"
NEW = "new@acme.example"


@pytest.fixture
async def mailbox() -> Mailbox:
    return Mailbox()


@pytest.fixture
async def settings(settings: Settings, mailbox: Mailbox) -> AsyncIterator[Settings]:
    """There is a mail server."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: SMTP(mailbox, loop=loop), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    smtp = SmtpSettings(Secret(f"smtp://127.0.0.1:{port}"), "comms@acme.example")
    yield msgspec.structs.replace(settings, smtp=smtp)
    server.close()


@pytest.fixture
async def working(service: Service, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[None]:
    """Jobs are worked off."""
    monkeypatch.setattr(jobs, "RETRY_SECONDS", (0, 0, 0, 0))

    async def mail(payload: dict[str, Any]) -> None:
        await invitations.mail(service.database, service.vault, service.settings, payload)

    runner = jobs.Runner(service.database, {invitations.MAIL: mail}, poll_seconds=0.2)
    await runner.start()
    yield
    await runner.stop(5)


async def invite(owner: Client) -> dict[str, Any]:
    answer = await owner.post(f"{API}/workspace-members", json={"email": NEW})
    assert answer.status_code == 201, answer.text
    invitation: dict[str, Any] = answer.json()
    return invitation


async def test_an_invitation_is_mailed_with_its_link(
    owner: Client, mailbox: Mailbox, anonymous: httpx.AsyncClient, admin: Any, working: None
) -> None:
    await admin.execute("UPDATE workspaces SET name = E'Acme\\nBcc: all@acme.example'")
    invitation = await invite(owner)
    await eventually(lambda: bool(mailbox.letters))
    letter = mailbox.letters[0]
    assert letter["To"] == NEW
    assert letter["Bcc"] is None
    assert letter["Subject"] == "You are invited to Acme Bcc: all@acme.example"
    assert invitation["link"] in letter.get_content()
    address = f"{API}/workspace-invitations/{invitation['id']}"
    async with asyncio.timeout(5):
        while (await owner.get(address)).json()["mailedAt"] is None:  # noqa: ASYNC110 - a row knows nothing of events
            await asyncio.sleep(0.02)
    told = [item["event"] for item in (await owner.get(f"{API}/events")).json()["items"]]
    assert told == ["workspace_invitation.created", "workspace_invitation.mailed"]


async def test_the_link_is_not_to_be_read_in_the_queue(owner: Client, admin: Any) -> None:
    invitation = await invite(owner)
    payloads = [bytes(row[0]) for row in await admin.fetch("SELECT payload FROM jobs.pgqueuer")]
    assert len(payloads) == 1
    assert invitation["link"].rpartition("/")[2].encode() not in payloads[0]
    assert invitation["id"].encode() in payloads[0]


async def test_a_letter_is_tried_again_and_sent_once(owner: Client, mailbox: Mailbox, working: None) -> None:
    mailbox.refusals = 2
    await invite(owner)
    await eventually(lambda: bool(mailbox.letters))
    await asyncio.sleep(0.3)
    assert len(mailbox.letters) == 1


async def test_a_job_that_rings_twice_sends_one_letter(
    owner: Client, mailbox: Mailbox, service: Service, admin: Any
) -> None:
    await invite(owner)
    payload = msgspec.json.decode(bytes(await admin.fetchval("SELECT payload FROM jobs.pgqueuer")))
    for _ in range(2):
        await invitations.mail(service.database, service.vault, service.settings, payload)
    assert len(mailbox.letters) == 1


async def test_who_was_uninvited_gets_no_letter(owner: Client, mailbox: Mailbox, service: Service, admin: Any) -> None:
    invitation = await invite(owner)
    payload = msgspec.json.decode(bytes(await admin.fetchval("SELECT payload FROM jobs.pgqueuer")))
    assert (await owner.delete(f"{API}/workspace-invitations/{invitation['id']}")).status_code == 204
    await invitations.mail(service.database, service.vault, service.settings, payload)
    assert mailbox.letters == []
