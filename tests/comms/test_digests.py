"""What members have not read reaches them by mail: all in one, once, and only what they may see."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import httpx
import pytest
from aiosmtpd.smtp import SMTP

from comms.notifications.digests import send_due
from comms.notifications.keeping import Notice, keep
from comms.notifications.stopping import Stopping
from comms.service import Service
from comms.settings import Secret, SecuritySettings, SmtpSettings
from models.base import now
from tests.conftest import PUBLIC_URL, Client
from tests.make import communications as make
from tests.make.mailbox import Mailbox
from tests.make.notices import API, notices, told, unread, wanted


@pytest.fixture
async def mailbox() -> Mailbox:
    return Mailbox()


@pytest.fixture
async def post(mailbox: Mailbox) -> AsyncIterator[SmtpSettings]:
    """The operator's mail server."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: SMTP(mailbox, loop=loop), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    yield SmtpSettings(Secret(f"smtp://127.0.0.1:{port}"), "comms@acme.example")
    server.close()


async def kept(service: Service, client: Client, *groups: str, seq: int = 1, **more: Any) -> None:
    """Something concerns the client, and is due to be mailed."""
    given: dict[str, Any] = {"kind": "mention", "email_due_at": now() - timedelta(seconds=1)} | more
    told = [
        Notice(user_id=client.user_id, group_key=group, seq=seq, at=now(), title=f"About {group}", **given)
        for group in groups
    ]
    async with service.database.everywhere() as db:
        await keep(db, client.workspace_id, told)


async def sent(service: Service, post: SmtpSettings) -> int:
    return await send_due(service.database, post, service.stopping)


async def states(admin: Any) -> list[str]:
    return [row[0] for row in await admin.fetch("SELECT state FROM notification_digests ORDER BY created_at")]


async def test_all_that_is_unread_is_one_mail_once(
    service: Service, member: Client, owner: Client, mailbox: Mailbox, post: SmtpSettings, admin: Any
) -> None:
    await admin.execute("UPDATE workspaces SET name = E'Acme\\nBcc: all@acme.example'")
    await kept(service, member, "a", "b", message="Psst,\r\n Ada")
    await kept(service, member, "c", email_due_at=now() + timedelta(hours=1))
    await kept(service, member, "d", count=10)
    await kept(service, owner, "e")
    await owner.put(f"{API}/notifications/read-state")
    assert [await sent(service, post) for _ in range(2)] == [1, 0]
    [letter] = mailbox.letters
    assert (letter["To"], letter["Bcc"]) == ("member@acme.example", None)
    assert letter["Subject"] == "3 things wait for you in Acme Bcc: all@acme.example"
    text = letter.get_content()
    lines = [line for line in text.splitlines() if line.startswith("- ")]
    assert sorted(lines) == ["- About a: Psst, Ada", "- About b: Psst, Ada", "- About d (10)"]
    assert letter["Auto-Submitted"] == "auto-generated"
    assert (await states(admin), await unread(member)) == (["sent"], 4)
    await kept(service, member, "a", seq=2)
    assert await sent(service, post) == 1
    assert "About a (2)" in mailbox.letters[1].get_content()
    assert mailbox.letters[0]["Message-ID"] != mailbox.letters[1]["Message-ID"]


async def test_of_several_who_mail_at_once_one_does(
    service: Service, member: Client, owner: Client, mailbox: Mailbox, post: SmtpSettings
) -> None:
    for client in (member, owner):
        await kept(service, client, "a", "b")
    await asyncio.gather(*(sent(service, post) for _ in range(4)))
    assert sorted(letter["To"] for letter in mailbox.letters) == ["member@acme.example", "owner@acme.example"]


async def test_a_mail_server_that_takes_nothing_is_asked_again_later(
    service: Service, member: Client, mailbox: Mailbox, post: SmtpSettings, admin: Any
) -> None:
    await kept(service, member, "a")
    nobody = SmtpSettings(Secret("smtp://127.0.0.1:1"), "comms@acme.example")
    assert [await sent(service, nobody) for _ in range(2)] == [0, 0]
    assert await states(admin) == ["failed"]
    assert await sent(service, post) == 0, "not before five minutes"
    await admin.execute("UPDATE notifications SET email_due_at = now()")
    assert (await sent(service, post), await states(admin)) == (1, ["failed", "sent"])
    assert len(mailbox.letters) == 1


async def test_killed_while_the_mail_server_takes_it_it_is_not_mailed_twice(
    service: Service, member: Client, mailbox: Mailbox, post: SmtpSettings, admin: Any
) -> None:
    await kept(service, member, "a")
    mailbox.silence = asyncio.Event()
    sending = asyncio.create_task(sent(service, post))
    async with asyncio.timeout(5):
        while not mailbox.letters:  # noqa: ASYNC110 - the server tells nobody
            await asyncio.sleep(0.01)
    sending.cancel()
    await asyncio.wait([sending])
    mailbox.silence.set()
    assert await states(admin) == ["sending"]
    assert await sent(service, post) == 0
    assert (len(mailbox.letters), await unread(member)) == (1, 1)
    await kept(service, member, "b")
    assert await sent(service, post) == 1
    assert "About a" not in mailbox.letters[1].get_content()


async def test_an_answer_that_never_came_is_no_reason_to_mail_it_again(
    service: Service, member: Client, mailbox: Mailbox, post: SmtpSettings, admin: Any
) -> None:
    await kept(service, member, "a")
    mailbox.breaks_off = True
    assert await sent(service, post) == 1
    assert (await states(admin), await sent(service, post)) == (["unclear"], 0)
    assert len(mailbox.letters) == 1


async def test_nothing_is_mailed_that_they_may_not_see_any_more(
    service: Service, owner: Client, member: Client, viewer: Client, mailbox: Mailbox, post: SmtpSettings, admin: Any
) -> None:
    channel = (await owner.post(f"{API}/team-channels", json={"name": "hush", "isPrivate": True})).json()["id"]
    await owner.post(f"{API}/team-channels/{channel}/members", json={"userId": str(member.user_id)})
    said = {"channelId": channel, "content": f"@[{member.user_id}] psst"}
    await owner.post(f"{API}/team-messages", json=said)
    await told(service)
    talk = await make.conversation(service, owner.workspace_id)
    await kept(service, member, "gone", subject_type="conversation", subject_id=talk.id)
    await kept(service, member, "agents", kind="approval", subject_type="agent_pending_action", subject_id=talk.id)
    await kept(service, viewer, "left")
    await admin.execute("UPDATE notifications SET email_due_at = now()")
    assert len(await notices(member)) == 3
    # What the log will have taken back in a moment.
    await admin.execute("DELETE FROM team_channel_members WHERE user_id = $1", member.user_id)
    await admin.execute("UPDATE conversations SET status = 'spam'")
    permissions = 'UPDATE workspace_members SET permissions = \'{"agents": "none"}\' WHERE user_id = $1'
    await admin.execute(permissions, member.user_id)
    await admin.execute("UPDATE workspace_members SET is_active = false WHERE user_id = $1", viewer.user_id)
    assert (await sent(service, post), mailbox.letters) == (0, [])
    assert await admin.fetchval("SELECT count(*) FROM notifications WHERE email_due_at IS NOT NULL") == 0


async def test_at_night_no_mail_is_sent_and_who_wants_none_gets_none(
    service: Service, member: Client, owner: Client, mailbox: Mailbox, post: SmtpSettings, admin: Any
) -> None:
    for client in (member, owner):
        await kept(service, client, "a")
    await wanted(owner, digest="never")
    # By hand: as it was when it became due, before they said when they sleep.
    await admin.execute(
        "INSERT INTO notification_preferences (workspace_id, id, quiet_start, quiet_end, created_at, updated_at)"
        " VALUES ($1, $2, $3, $4, now(), now())",
        member.workspace_id,
        member.user_id,
        *(f"{now() + timedelta(hours=hours):%H:%M}" for hours in (-1, 1)),
    )
    assert (await sent(service, post), mailbox.letters) == (0, [])
    due = await admin.fetch("SELECT user_id FROM notifications WHERE email_due_at > now()")
    assert [row["user_id"] for row in due] == [member.user_id]


async def test_one_click_ends_the_digests_of_this_workspace(
    service: Service,
    member: Client,
    owner: Client,
    mailbox: Mailbox,
    post: SmtpSettings,
    anonymous: httpx.AsyncClient,
) -> None:
    await kept(service, member, "a")
    await sent(service, post)
    [letter] = mailbox.letters
    assert letter["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    link = letter["List-Unsubscribe"].strip("<>")
    assert link.startswith(f"{PUBLIC_URL}/no-more-digests/")
    assert link in letter.get_content()
    path = link.removeprefix(PUBLIC_URL)
    asked = await anonymous.get(path)
    assert (asked.status_code, "member@acme.example" in asked.text) == (200, True)
    assert (await member.get(f"{API}/notification-preferences")).json()["digest"] == "hourly", "programs look at links"
    for _ in range(2):
        done = await anonymous.post(path, data={"List-Unsubscribe": "One-Click"})
        assert done.status_code == 200, done.text
    assert (await member.get(f"{API}/notification-preferences")).json()["digest"] == "never"
    assert (await owner.get(f"{API}/notification-preferences")).json()["digest"] == "hourly"
    await kept(service, member, "b")
    assert (await sent(service, post), len(mailbox.letters)) == (0, 1)


@pytest.mark.parametrize("change", ["forged", "other", "cut", "nothing", "long"])
async def test_a_link_that_is_not_ours_ends_nothing(
    service: Service, member: Client, owner: Client, anonymous: httpx.AsyncClient, change: str
) -> None:
    link = service.stopping.address_of(member.workspace_id, member.user_id).removeprefix(PUBLIC_URL)
    other = service.stopping.address_of(owner.workspace_id, owner.user_id).rpartition("/")[2]
    forged = Stopping(SecuritySettings(keys=(("x", b"x" * 32),)), "").address_of(member.workspace_id, member.user_id)
    place, _, token = link.rpartition("/")
    said, _, signature = token.partition(".")
    wrong = {
        "forged": forged,
        "other": f"{place}/{said}.{other.partition('.')[2]}",
        "cut": f"{place}/{said}.{signature[:-4]}",
        "nothing": f"{place}/.",
        "long": f"{place}/{'A' * 5000}.{'é' * 10}",
    }[change]
    for answer in (await anonymous.get(wrong), await anonymous.post(wrong)):
        assert answer.status_code == 404
    assert (await anonymous.get(link)).status_code == 200
    assert (await member.get(f"{API}/notification-preferences")).json()["digest"] == "hourly"


async def test_without_a_mail_server_what_is_due_stays_due(service: Service, member: Client, admin: Any) -> None:
    await kept(service, member, "a")
    assert await send_due(service.database, None, service.stopping) == 0
    assert await admin.fetchval("SELECT count(*) FROM notifications WHERE email_due_at IS NOT NULL") == 1
