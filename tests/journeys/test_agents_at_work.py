"""A runtime that is a script works over the agent API; and what a person lets it do is done once, whoever is killed."""

import asyncio

import asyncpg

from tests.journeys.offices import CUSTOMER, Office
from tests.journeys.runtimes import AGENT, API, answered, hired, made, runtime
from tests.journeys.waiting import until
from tests.screens import watching


async def test_a_scripted_runtime_answers_and_an_edited_approval_is_done_once_in_spite_of_kill_9(
    office: Office,
) -> None:
    process = office.begin()
    await asyncio.to_thread(process.await_start)
    async with office.desk.client(process.url) as person:
        _, token = await hired(person)
        async with runtime(process, token) as ada:
            async with watching(process.screen_url, token, judged=False) as seen:
                request = office.desk.text(CUSTOMER, "Could it be cheaper?")
                path = request.url.removeprefix(office.desk.public_url)
                headers = dict(request.headers)
                taken = await ada.post(path, content=request.body, headers=headers)
                assert taken.status_code == 200
                talk, _ = await answered(seen, ada)
            details = {"conversationId": talk, "content": "10 % off"}
            asked = {"actionType": "send_message", "title": "Offer", "details": details}
            action = await made(ada, f"{AGENT}/actions", asked)
        approval = f"{API}/agent-pending-actions/{action['id']}/approval"
        edited = {"details": {"conversationId": talk, "content": "5 % off"}}
        keyed = {"Idempotency-Key": "approve"}

        # Killed when all is done but the commit: somebody holds the log.
        async with office.books.transaction():
            await office.books.execute("SELECT FROM event_counters FOR UPDATE")
            approving = asyncio.create_task(person.post(approval, json=edited, headers=keyed))
            waits = "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE $1)"
            other = await asyncpg.connect(office.url)

            async def is_waiting() -> bool:
                return bool(await other.fetchval(waits, "%take_event_numbers%"))

            await until(is_waiting, within=10)
            process.kill()
            await other.close()
        await asyncio.gather(approving, return_exceptions=True)
    assert await office.books.fetchval("SELECT status FROM agent_pending_actions") == "pending"

    # Killed when it has just been answered, and nobody knows whether the answer was heard.
    process = office.begin()
    await asyncio.to_thread(process.await_start)
    async with office.desk.client(process.url) as person:
        done = await made(person, approval, edited, **keyed)
        process.kill()
    process = office.begin()
    await asyncio.to_thread(process.await_start)
    async with office.desk.client(process.url) as person, runtime(process, token) as ada:
        assert await made(person, approval, edited, **keyed) == done
        assert (await person.post(approval, json=edited)).status_code == 409
        assert (await ada.get(f"{AGENT}/actions/{action['id']}")).json()["result"] == done["result"]

        async def all_gone() -> bool:
            return bool(await office.books.fetchval("SELECT NOT EXISTS (SELECT FROM outgoing_messages)"))

        # What the killed process had taken to send is looked for first: its lease has passed.
        await office.books.execute("UPDATE outgoing_messages SET next_attempt_at = now() WHERE state = 'sending'")
        await until(all_gone, within=15)
        fence = (await person.get(f"{API}/conversations/{talk}")).json()["fence"]
        handed = {"fence": fence, "reason": "They want a person", "target": {"userId": done["reviewedBy"]}}
        packet = {"packet": {"summary": "Wants it cheaper", "tried": ["5 % off"]}}
        await made(ada, f"{AGENT}/conversations/{talk}/handoffs", handed | packet)
        late = await ada.post(f"{AGENT}/conversations/{talk}/replies", json={"fence": fence, "content": "And also"})
        assert late.status_code == 409
    assert [taken.body for taken in office.exchange.sent] == ["You said: Could it be cheaper?", "5 % off"]
    stages = "SELECT action_details->>'stage' FROM agent_action_audit_log ORDER BY created_at, id"
    assert [row[0] for row in await office.books.fetch(stages)] == ["asked", "approved", "performed"]
