"""What happens reaches those who listen: signed, each once, in order, whoever is slow, down, or killed."""

import asyncio
import threading
import uuid
from datetime import timedelta
from email.utils import format_datetime
from typing import Any

import pytest

from comms import names
from comms.hooks import endings, settling
from comms.hooks.following import keep_up
from comms.hooks.posting import Pace
from comms.service import Service
from comms.settings import WebhookSettings
from models.base import new_id, now
from tests.conftest import Client
from tests.make.hooks import HURRY, NOTHING_WAITS, Sink, endpoint, happens, in_line, is_signed, posting
from tests.make.sending import until
from tests.screens import eventually

API = "/api/v1"
ONE_WAITS = "(SELECT count(*) FROM webhook_lines) = 1"
MANY_WAIT = """
WITH line AS (
    INSERT INTO webhook_lines (workspace_id, endpoint_id, line_id, next_attempt_at)
    SELECT workspace_id, id, gen_random_uuid(), now() FROM webhook_endpoints, generate_series(1, 3000)
    WHERE workspace_id = $1 AND url LIKE $2
    RETURNING *
)
INSERT INTO webhook_deliveries
    (workspace_id, id, endpoint_id, seq, event, line_id, place, is_replay, created_at, updated_at)
SELECT workspace_id, gen_random_uuid(), endpoint_id, 1, 'contact.updated', line_id, 1, true, now(), now() FROM line
"""
"""Three thousand things wait for an endpoint, each in a line of its own."""


async def test_what_happens_arrives_signed_as_the_log_has_it(
    service: Service, owner: Client, sink: Sink, admin: Any
) -> None:
    mine = await endpoint(service, owner, sink, events=["contact."])
    made = (await owner.post(f"{API}/contacts", json={"firstName": "Ada"})).json()
    async with posting(service, sink):
        await until(admin, f"EXISTS (SELECT FROM webhook_deliveries) AND {NOTHING_WAITS}")
    [heard] = sink.heard
    [fact] = (await owner.get(f"{API}/events", params={"event": "contact.created"})).json()["items"]
    assert heard.told["data"] == fact["data"] == made
    assert (heard.told["type"], heard.told["timestamp"]) == ("contact.created", fact["at"])
    assert {heard.told[name] == fact[name] for name in ("seq", "subjectId", "actorId", "changes")} == {True}
    assert is_signed(heard, mine.secret)
    assert not is_signed(heard, "whsec_" + "A" * 44)
    heard.body += b" "
    assert not is_signed(heard, mine.secret)
    assert heard.headers["webhook-id"] == f"evt_{owner.workspace_id.hex}_{fact['seq']}"
    [delivery] = (await owner.get(f"{API}/webhook-deliveries")).json()["items"]
    assert (delivery["state"], delivery["attempts"], delivery["lastStatus"]) == ("delivered", 1, 200)
    [one] = (await owner.get(f"{API}/webhook-attempts", params={"deliveryId": delivery["id"]})).json()["items"]
    assert (one["status"], one["body"], one["error"], one["url"]) == (200, "thanks", None, sink.url())
    request = (await owner.get(f"{API}/webhook-deliveries/{delivery['id']}/request")).json()
    assert request["body"] == heard.told
    assert request["headers"]["webhook-id"] == heard.headers["webhook-id"]
    assert "webhook-signature" not in request["headers"]


async def test_only_what_it_wants_and_may_be_heard_by_nobody_in_particular_is_told(
    service: Service, owner: Client, sink: Sink, admin: Any
) -> None:
    await endpoint(service, owner, sink)
    await endpoint(service, owner, sink, "/deals", events=["deal.updated"])
    here = owner.workspace_id
    for noun in ("deal", "notification", "session", "access_token"):
        more = {"event": f"{noun}.updated", "subject_type": noun}
        await happens(service, here, [new_id()], **more)
    await happens(service, here, [new_id()], event="contact.deleted", audience=(owner.user_id,))
    async with posting(service, sink):
        await until(admin, f"EXISTS (SELECT FROM webhook_deliveries) AND {NOTHING_WAITS}")
    told = [heard.told["type"] for heard in sink.heard if heard.path == "/events"]
    assert sorted(told) == ["access_token.updated", "deal.updated"]
    assert [heard.told["type"] for heard in sink.heard if heard.path == "/deals"] == ["deal.updated"]


async def test_it_hears_what_whoever_switched_it_on_may_hear_now(
    service: Service, owner: Client, admin_member: Client, sink: Sink, admin: Any
) -> None:
    await endpoint(service, admin_member, sink, role="admin")
    for permissions in ("{}", '{"billing": "none"}'):
        await admin.execute(
            "UPDATE workspace_members SET permissions = $1 WHERE user_id = $2", permissions, admin_member.user_id
        )
        await happens(service, owner.workspace_id, [new_id()], event="invoice.updated", subject_type="invoice")
        await happens(service, owner.workspace_id, [new_id()])
        await in_line(service)
    found = await admin.fetch("SELECT event FROM webhook_deliveries ORDER BY place")
    assert [row["event"] for row in found] == ["invoice.updated", "contact.updated", "contact.updated"]


async def test_an_event_is_put_in_line_once_however_often_and_by_how_many_the_log_is_read(
    service: Service, owner: Client, sink: Sink, admin: Any
) -> None:
    await endpoint(service, owner, sink)
    await happens(service, owner.workspace_id, [new_id() for _ in range(40)])
    await asyncio.gather(*(keep_up(service.database, [owner.workspace_id], most=7) for _ in range(4)))
    await in_line(service)
    await admin.execute("UPDATE webhook_progress SET seq = 0")
    await in_line(service)
    assert await admin.fetchval("SELECT count(*) FROM webhook_deliveries") == 40


async def test_several_workers_keep_the_order_of_each_line_and_tell_each_thing_once(
    service: Service, owner: Client, sink: Sink, admin: Any
) -> None:
    await endpoint(service, owner, sink)
    talks = [new_id() for _ in range(6)]
    sink.delay = 0.003
    async with posting(service, sink, workers=3):
        for _ in range(6):
            await happens(service, owner.workspace_id, talks * 2)
            await in_line(service)
        await until(admin, f"(SELECT count(*) FROM webhook_deliveries) = 72 AND {NOTHING_WAITS}")
    lines = sink.lines()
    assert len(sink.heard) == 72
    assert set(lines) == {str(talk) for talk in talks}
    assert all(said == sorted(set(said)) and len(said) == 12 for said in lines.values())


async def test_what_is_not_taken_holds_up_its_own_line_alone_and_is_given_up_at_last(
    service: Service, owner: Client, sink: Sink, admin: Any
) -> None:
    await endpoint(service, owner, sink)
    bad, good = new_id(), new_id()
    sink.refused = {str(bad)}
    await happens(service, owner.workspace_id, [bad, good, bad, good])
    tries = len(settling.BACK_OFF_SECONDS)
    async with posting(service, sink):
        await until(admin, f"EXISTS (SELECT FROM webhook_lines WHERE attempts = 1) AND {ONE_WAITS}")
        assert (sink.lines()[str(good)], len(sink.lines()[str(bad)])) == ([2, 4], 1)
        seconds = await admin.fetchval("SELECT extract(epoch FROM next_attempt_at - now()) FROM webhook_lines")
        assert 3 < seconds <= 5
        # As it will be in three days: the other line has gone on meanwhile, so the endpoint is well.
        sink.refused = set()
        sink.answers["/events"] = [(500, {}, b"")]
        await admin.execute("UPDATE webhook_lines SET attempts = $1, next_attempt_at = now()", tries)
        await until(admin, NOTHING_WAITS)
    rows = await admin.fetch("SELECT seq, state, last_status FROM webhook_deliveries WHERE line_id = $1", bad)
    assert {row["seq"]: (row["state"], row["last_status"]) for row in rows} == {
        1: ("failed", 500),
        3: ("delivered", 200),
    }


async def test_killed_after_the_endpoint_has_it_it_is_told_once_more_under_the_same_id(
    service: Service, owner: Client, sink: Sink, admin: Any
) -> None:
    await endpoint(service, owner, sink)
    await happens(service, owner.workspace_id, [new_id()])
    sink.silent = {"/events"}
    async with posting(service, sink, pace=HURRY):
        await until(admin, "EXISTS (SELECT FROM webhook_lines WHERE is_taken)")
        await eventually(lambda: bool(sink.heard))
    sink.silent = set()
    assert await admin.fetchval("SELECT state FROM webhook_deliveries") == "waiting"
    async with posting(service, sink):
        assert await admin.fetchval("SELECT next_attempt_at > now() FROM webhook_lines"), "it is leased to who is gone"
        await admin.execute("UPDATE webhook_lines SET next_attempt_at = now()")
        await until(admin, NOTHING_WAITS)
    assert len({heard.headers["webhook-id"] for heard in sink.heard}) == 1
    assert len({heard.body for heard in sink.heard}) == 1
    assert len(sink.heard) == 2


async def test_neither_a_silent_endpoint_nor_a_flood_delays_another(
    service: Service, owner: Client, stranger: Client, sink: Sink, admin: Any
) -> None:
    """Thousands wait for who never answers: others hear within few of the workers' turns, however often they fail."""
    await endpoint(service, owner, sink, "/silent")
    await endpoint(service, owner, sink, "/mine")
    await endpoint(service, stranger, sink, "/theirs")
    sink.silent = {"/silent"}
    pace = Pace(poll=0.05, total=30.0, at_once=12, at_an_endpoint=8)
    await happens(service, owner.workspace_id, [new_id() for _ in range(60)])
    await in_line(service)
    await admin.execute(MANY_WAIT, owner.workspace_id, "%/silent")
    async with posting(service, sink, pace=pace) as [worker]:
        await eventually(lambda: len(sink.said("/silent")) == 8)
        await eventually(lambda: len(sink.said("/mine")) == 60)
        for turn in range(5):
            await happens(service, stranger.workspace_id, [new_id()])
            worker.told(stranger.workspace_id, turn)
            async with asyncio.timeout(2):
                await eventually(lambda: len(sink.said("/theirs")) == turn + 1)  # noqa: B023
        assert len(sink.said("/silent")) == 8
    assert sink.said("/theirs") == sorted(sink.said("/theirs"))


async def test_an_endpoint_that_is_down_is_asked_now_and_then_and_then_hears_everything_in_order(
    service: Service, owner: Client, sink: Sink, admin: Any
) -> None:
    await endpoint(service, owner, sink)
    talks = [new_id() for _ in range(10)]
    await happens(service, owner.workspace_id, talks * 3)
    sink.status = 503
    async with posting(service, sink):
        await until(admin, "EXISTS (SELECT FROM webhook_endpoints WHERE paused_until > now())")
        await until(admin, "NOT EXISTS (SELECT FROM webhook_lines WHERE is_taken)")
        asked = len(sink.heard)
        assert asked <= 13
        for _ in range(2):
            await admin.execute("UPDATE webhook_endpoints SET paused_until = now()")
            await until(admin, "EXISTS (SELECT FROM webhook_endpoints WHERE paused_until > now())")
        assert len(sink.heard) == asked + 2, "one at a time"
        # An hour has passed.
        await admin.execute(
            "UPDATE webhook_endpoints SET failing_since = now() - interval '1 hour', paused_until = now()"
        )
        await until(admin, "EXISTS (SELECT FROM webhook_endpoints WHERE paused_until > now() + interval '800 seconds')")
        sink.status = 200
        sink.heard.clear()
        await admin.execute("UPDATE webhook_endpoints SET paused_until = now()")
        await admin.execute("UPDATE webhook_lines SET next_attempt_at = now() WHERE NOT is_taken")
        await until(admin, NOTHING_WAITS)
    assert all(said == sorted(said) and len(said) == 3 for said in sink.lines().values())
    assert len(sink.heard) == 30
    row = await admin.fetchrow("SELECT failures, failing_since, last_error, paused_until FROM webhook_endpoints")
    assert tuple(row) == (0, None, None, None)


@pytest.mark.parametrize("is_a_time", [False, True])
async def test_a_busy_endpoint_is_left_alone_as_long_as_it_says(
    service: Service, owner: Client, sink: Sink, admin: Any, is_a_time: bool
) -> None:
    await endpoint(service, owner, sink)
    after = format_datetime(now() + timedelta(seconds=300), usegmt=True) if is_a_time else "300"
    sink.answers["/events"] = [(429, {"retry-after": after}, b"")]
    await happens(service, owner.workspace_id, [new_id()])
    async with posting(service, sink):
        await until(admin, "EXISTS (SELECT FROM webhook_endpoints WHERE paused_until > now() + interval '290 seconds')")
        mine = await admin.fetchval("SELECT id FROM webhook_endpoints")
        await until(admin, "NOT EXISTS (SELECT FROM webhook_lines WHERE is_taken)")
        assert (await owner.delete(f"{API}/webhook-endpoints/{mine}/pause")).status_code == 204
        await until(admin, NOTHING_WAITS)
    assert len(sink.heard) == 2


async def ended(service: Service, admin: Any, owner: Client, reason: str, event: str = "disabled") -> uuid.UUID:
    """The endpoint is off for that reason, and it was told so; its id."""
    [row] = await admin.fetch("SELECT id, is_active, disabled_reason FROM webhook_endpoints")
    assert (row["is_active"], row["disabled_reason"]) == (False, reason)
    told = (await owner.get(f"{API}/events", params={"event": f"webhook_endpoint.{event}"})).json()["items"]
    assert [one["data"]["disabledReason"] for one in told] == [reason]
    made: uuid.UUID = row["id"]
    return made


async def test_who_takes_nothing_for_days_is_switched_off_and_goes_on_where_they_were(
    service: Service, owner: Client, admin_member: Client, sink: Sink, admin: Any
) -> None:
    await endpoint(service, owner, sink)
    await happens(service, owner.workspace_id, [new_id()])
    await in_line(service)
    for failures, age, is_over in ((5, "4 days 23 hours", 0), (4, "6 days", 0), (5, "5 days 1 hour", 1)):
        await admin.execute(
            f"UPDATE webhook_endpoints SET failures = $1, failing_since = now() - interval '{age}'", failures
        )
        assert await endings.end_those(service.database) == is_over
    mine = await ended(service, admin, owner, endings.SILENT)
    await happens(service, owner.workspace_id, [new_id()])
    await in_line(service)
    assert await admin.fetchval("SELECT count(*) FROM webhook_deliveries") == 1, "what happens meanwhile is not kept"
    async with posting(service, sink):
        answer = await admin_member.patch(f"{API}/webhook-endpoints/{mine}", json={"isActive": True})
        assert answer.status_code == 200, answer.text
        on = answer.json()
        assert (on["failures"], on["disabledAt"], on["onBehalfOf"]) == (0, None, str(admin_member.user_id))
        await until(admin, NOTHING_WAITS)
    assert sink.said()[0] == 1
    assert 2 not in sink.said()


async def test_who_has_gone_is_switched_off_at_once(service: Service, owner: Client, sink: Sink, admin: Any) -> None:
    await endpoint(service, owner, sink)
    sink.answers["/events"] = [(410, {}, b"")]
    await happens(service, owner.workspace_id, [new_id()])
    async with posting(service, sink):
        await until(admin, "EXISTS (SELECT FROM webhook_endpoints WHERE NOT is_active)")
    await ended(service, admin, owner, endings.GONE)


async def test_who_has_left_takes_their_endpoints_with_them(
    service: Service, owner: Client, admin_member: Client, sink: Sink, admin: Any
) -> None:
    await endpoint(service, admin_member, sink, role="admin")
    await admin.execute("UPDATE workspace_members SET is_active = false WHERE user_id = $1", admin_member.user_id)
    await happens(service, owner.workspace_id, [new_id()])
    await in_line(service)
    assert await admin.fetchval("SELECT count(*) FROM webhook_deliveries") == 0
    assert await endings.end_those(service.database) == 1
    await ended(service, admin, owner, endings.LEFT)


async def test_what_waits_for_an_endpoint_whose_member_has_gone_is_told_nobody(
    service: Service, owner: Client, admin_member: Client, sink: Sink, admin: Any
) -> None:
    await endpoint(service, admin_member, sink, role="admin")
    await endpoint(service, owner, sink, "/mine")
    await happens(service, owner.workspace_id, [new_id()])
    await in_line(service)
    await admin.execute("UPDATE workspace_members SET is_active = false WHERE user_id = $1", admin_member.user_id)
    async with posting(service, sink):
        await until(admin, ONE_WAITS)
        assert await endings.end_those(service.database) == 1
    assert (sink.said(), sink.said("/mine")) == ([], [1])


async def test_what_whoever_is_behind_an_endpoint_may_no_longer_hear_is_given_up_and_the_line_goes_on(
    service: Service, owner: Client, sink: Sink, admin: Any
) -> None:
    await endpoint(service, owner, sink)
    talk = new_id()
    for noun in ("invoice", "contact", "invoice"):
        more = {"event": f"{noun}.updated", "subject_type": noun}
        await happens(service, owner.workspace_id, [talk], **more)
    await in_line(service)
    await admin.execute("""UPDATE workspace_members SET permissions = '{"billing": "none"}', role = 'admin'""")
    async with posting(service, sink):
        await until(admin, NOTHING_WAITS)
    assert sink.said() == [2]
    rows = await admin.fetch("SELECT seq, state, last_error FROM webhook_deliveries ORDER BY seq")
    reason = "whoever is behind the endpoint may not hear of it"
    assert [tuple(row) for row in rows] == [(1, "failed", reason), (2, "delivered", None), (3, "failed", reason)]
    assert await admin.fetchval("SELECT failures FROM webhook_endpoints") == 0
    assert {row["error"] for row in await admin.fetch("SELECT error FROM webhook_attempts")} == {None, reason}


async def test_who_waits_for_a_look_up_of_ours_has_not_failed(
    service: Service, owner: Client, sink: Sink, admin: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(names, "MOST_EACH", 1)
    go = threading.Event()

    def lookup(host: str, port: int | None) -> list[str]:
        go.wait(5)
        return ["127.0.0.1"]

    port = sink.host.partition(":")[2]
    hosts = [f"{name}.example:{port}" for name in ("one", "two")]
    for host in hosts:
        mine = await endpoint(service, owner, sink)
        await admin.execute("UPDATE webhook_endpoints SET url = $1 WHERE id = $2", f"http://{host}/events", mine.id)
    await happens(service, owner.workspace_id, [new_id()])
    await in_line(service)
    await admin.execute("UPDATE webhook_lines SET attempts = 3")
    settings = WebhookSettings(hosts=tuple(hosts))
    async with posting(service, sink, lookup=lookup, settings=settings, pace=Pace(poll=0.05, rest=0.05)):
        await until(admin, "EXISTS (SELECT FROM webhook_lines WHERE taken > 1)")
        assert await admin.fetchval("SELECT min(attempts) FROM webhook_lines") == 3
        go.set()
        await until(admin, NOTHING_WAITS)
    assert len(sink.heard) == 2
    assert await admin.fetchval("SELECT count(*) FROM webhook_attempts WHERE error IS NOT NULL") == 0
    assert await admin.fetchval("SELECT max(attempts) FROM webhook_deliveries") == 1


async def test_what_is_old_is_not_kept(service: Service, owner: Client, sink: Sink, admin: Any) -> None:
    await endpoint(service, owner, sink)
    await happens(service, owner.workspace_id, [new_id(), new_id()])
    async with posting(service, sink):
        await until(admin, f"(SELECT count(*) FROM webhook_attempts) = 2 AND {NOTHING_WAITS}")
    await admin.execute("UPDATE webhook_deliveries SET created_at = now() - interval '31 days' WHERE seq = 1")
    assert await endings.sweep(service.database) == 1
    assert [row["seq"] for row in await admin.fetch("SELECT seq FROM webhook_deliveries")] == [2]
    assert await admin.fetchval("SELECT count(*) FROM webhook_attempts") == 1


async def test_what_still_waits_when_it_is_too_old_leaves_no_empty_line(
    service: Service, owner: Client, sink: Sink, admin: Any
) -> None:
    await endpoint(service, owner, sink)
    await happens(service, owner.workspace_id, [new_id()])
    await in_line(service)
    await admin.execute("UPDATE webhook_deliveries SET created_at = now() - interval '31 days'")
    assert await endings.sweep(service.database) == 1
    async with posting(service, sink):
        await until(admin, NOTHING_WAITS)
    assert sink.heard == []
