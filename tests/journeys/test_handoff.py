"""An agent answers a text and hands it on; the deadline passes, and a person takes over while it is writing."""

from tests.journeys.desks import listed, phone
from tests.journeys.house import House
from tests.journeys.lines import Line
from tests.journeys.runtimes import AGENT, API, answered, hired, made, runtime
from tests.journeys.waiting import until
from tests.screens import watching

CUSTOMER = phone(4711)


async def test_what_an_agent_hands_on_is_escalated_and_taken_by_a_person_whom_it_does_not_talk_over(
    house: House,
) -> None:
    process, desk = await house.up(), house.desk
    async with desk.client(process.url) as person:
        agent_id, token = await hired(person)
        me = (await person.get(f"{API}/me")).json()["id"]
        team = await made(person, f"{API}/teams", {"name": "Billing"})
        await made(person, f"{API}/team-members", {"teamId": team["id"], "userId": me})
        await person.put(f"{API}/me/availability", json={"availability": "away"})
        async with runtime(process, token) as ada, watching(process.screen_url, token, judged=False) as seen:
            assert await Line(process.port).post(desk.text(CUSTOMER, "I was charged twice")) == 200
            talk, fence = await answered(seen, ada)
            here = f"{AGENT}/conversations/{talk}"
            packet = {"summary": "Charged twice", "facts": {"order": "A-17"}, "tried": ["Looked it up"]}
            bridge = {"tellContact": "We are on it.", "target": {"agentId": agent_id}, "withinSeconds": 600}
            wanted = {
                "fence": fence,
                "reason": "Refunds are for people",
                "target": {"teamId": team["id"]},
                "packet": packet,
                "withinSeconds": 1,
                "steps": [bridge],
            }
            handoff = (await made(ada, f"{here}/handoffs", wanted))["id"]
            too_late = await ada.post(f"{here}/replies", json={"fence": fence, "content": "One more thing"})
            assert too_late.status_code == 409

            async def escalated() -> bool:
                row = (await person.get(f"{API}/conversation-handoffs/{handoff}")).json()
                return bool(row["stepsTaken"]) and row["packet"]["facts"] == packet["facts"]

            await until(escalated, 10, every=0.1)
            # It is asked to bridge the time, and begins to write.
            fence = (await made(ada, f"{here}/claim", {"seconds": 60}))["fence"]
            taken = (await person.put(f"{API}/conversations/{talk}/ownership")).json()
            assert taken["fence"] == fence + 1
            await made(person, f"{API}/conversations/{talk}/messages", {"content": "Here is your money."})
            refused = await ada.post(f"{here}/replies", json={"fence": fence, "content": "Please hold the line!"})
            assert refused.status_code == 409
            assert taken["assignedTo"] == me
            assert me in refused.text, "it is told whose the conversation is"
        rows = await listed(person, "conversation-messages", conversationId=talk, sort="createdAt")
        assert [(row["senderType"], row["content"]) for row in rows] == [
            ("contact", "I was charged twice"),
            ("agent", "You said: I was charged twice"),
            ("system", "We are on it."),
            ("user", "Here is your money."),
        ]
        events = (await person.get(f"{API}/events", params={"conversationId": talk, "limit": "200"})).json()
        moves = [one["event"] for one in events["items"] if one["event"].startswith("conversation")]
    assert [move for move in moves if "participant" not in move] == [
        "conversation.created",
        "conversation.claimed",
        "conversation.handed_on",
        "conversation_handoff.created",
        "conversation_handoff.escalated",
        "conversation.claimed",
        "conversation_handoff.accepted",
        "conversation.taken_over",
    ]
