"""How fast agents claim conversations and answer in them, over the agent API: each claimed once, each answered once."""

import asyncio
import json
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager

import msgspec

from bench import machine
from bench.ledger import Miscounted
from bench.stage import CONTACTS, FIRST_ID, Server, Stage
from comms import credentials
from comms.database import Database
from models.agents import Agent
from models.base import new_id
from models.core import WorkspaceMember

TOWN = "agents"


class Plan(msgspec.Struct, frozen=True):
    """So many agents, each with so many connections, share so many conversations; each is asked for by two of them.

    They are so many that no token comes near its pace (``comms.limits.BY_AGENT``, 50 a second): it is not what is
    measured.
    """

    agents: int = 16
    connections: int = 1
    conversations: int = CONTACTS


class Worked(msgspec.Struct, frozen=True):
    """Requests a second, and the 99th percentile of their answers in seconds; claims count those that came too late."""

    plan: Plan
    claims: float
    claims_p99: float
    replies: float
    replies_p99: float
    stolen: float


class _Line:
    """One connection of a runtime."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, token: str) -> None:
        self._reader = reader
        self._writer = writer
        self._token = token

    async def post(self, path: str, body: object, key: str | None = None) -> tuple[int, bytes]:
        """The status and the body of the answer."""
        sent = json.dumps(body).encode()
        head = f"POST /api/v1/agent/{path} HTTP/1.1\r\nHost: bench.example\r\nAuthorization: Bearer {self._token}\r\n"
        head += "" if key is None else f"Idempotency-Key: {key}\r\n"
        head += f"Content-Type: application/json\r\nContent-Length: {len(sent)}\r\n\r\n"
        self._writer.write(head.encode() + sent)
        said = (await self._reader.readuntil(b"\r\n\r\n")).lower()
        length = int(said.partition(b"content-length:")[2].partition(b"\r\n")[0])
        return int(said[9:12]), await self._reader.readexactly(length)


async def measure(stage: Stage, server: Server, plan: Plan) -> Worked:
    """Every conversation was one agent's, and was answered once; raises ``Miscounted`` when one was not."""
    (workspace_id,) = stage.towns[TOWN].ids
    tokens = await _hire(stage, workspace_id, plan.agents)
    talks = [f"00000000-0000-7000-8000-{FIRST_ID + n}" for n in range(plan.conversations)]
    fences: dict[str, tuple[int, int]] = {}
    lost = 0
    theft = machine.Theft()

    async def claim(line: _Line, agent: int, talk: str) -> None:
        nonlocal lost
        status, answer = await line.post(f"conversations/{talk}/claim", {"seconds": 3600})
        if status == 201:
            fences[talk] = (agent, json.loads(answer)["fence"])
        elif status == 409:
            lost += 1
        else:
            raise Miscounted(f"a claim was answered {status}: {answer!r}")

    async def reply(line: _Line, _agent: int, talk: str) -> None:
        body = {"fence": fences[talk][1], "content": "Yes, 3pm is free."}
        status, answer = await line.post(f"conversations/{talk}/replies", body, talk)
        if status != 201:
            raise Miscounted(f"a reply was answered {status}: {answer!r}")

    async with _lines(server, tokens, plan.connections) as lines:
        due: list[list[str]] = [[] for _ in tokens]
        for place, talk in enumerate(talks):
            for agent in {place % len(tokens), (place + 1) % len(tokens)}:
                due[agent].append(talk)
        asked = sum(map(len, due))
        claims, claims_p99 = await _timed(lines, due, claim)
        own = [[talk for talk in talks if fences[talk][0] == agent] for agent in range(len(tokens))]
        replies, replies_p99 = await _timed(lines, own, reply)
    await _check(stage, workspace_id, plan.conversations, asked - lost)
    return Worked(plan, claims, claims_p99, replies, replies_p99, theft.share)


async def _hire(stage: Stage, workspace_id: uuid.UUID, count: int) -> list[str]:
    """The tokens of so many active agents; the customers have written, so that they can be answered."""
    database = Database(stage.urls(), pool_size=1)
    tokens = []
    await stage.admin.execute(_WRITTEN, workspace_id)
    try:
        async with database.everywhere() as db:
            user_id = await stage.admin.fetchval(
                "SELECT user_id FROM workspace_members WHERE workspace_id = $1", workspace_id
            )
            member = WorkspaceMember(workspace_id=workspace_id, user_id=user_id)
            for number in range(count):
                agent = Agent(workspace_id=workspace_id, id=new_id(), name=f"Agent {number}", status="active")
                db.add(agent)
                await db.flush()
                tokens.append((await credentials.issue(db, member, "bench", agent_id=agent.id))[1])
    finally:
        await database.close()
    await stage.settle()
    return tokens


@asynccontextmanager
async def _lines(server: Server, tokens: Sequence[str], each: int) -> AsyncIterator[list[list[_Line]]]:
    opened = [
        [(*await asyncio.open_connection("127.0.0.1", server.port), token) for _ in range(each)] for token in tokens
    ]
    try:
        yield [[_Line(*one) for one in group] for group in opened]
    finally:
        for group in opened:
            for _reader, writer, _token in group:
                writer.close()


async def _timed(
    lines: list[list[_Line]], due: list[list[str]], ask: Callable[[_Line, int, str], Awaitable[None]]
) -> tuple[float, float]:
    """All that is due was asked, by each agent on all of its lines: requests a second, and their 99th percentile."""
    waits: list[float] = []

    async def work(line: _Line, agent: int, talks: list[str]) -> None:
        while talks:
            talk = talks.pop()
            asked = time.perf_counter()
            await ask(line, agent, talk)
            waits.append(time.perf_counter() - asked)

    began = time.perf_counter()
    await asyncio.gather(*[work(line, agent, due[agent]) for agent, group in enumerate(lines) for line in group])
    took = time.perf_counter() - began
    waits.sort()
    return len(waits) / took, waits[int(len(waits) * 0.99)]


async def _check(stage: Stage, workspace_id: uuid.UUID, wanted: int, won: int) -> None:
    counts = {"won": won, **await stage.admin.fetchrow(_COUNTED, workspace_id)}
    if set(counts.values()) != {wanted}:
        raise Miscounted(f"of {wanted} conversations there are {counts}")


_WRITTEN = """
INSERT INTO conversation_messages (workspace_id, id, conversation_id, direction, content, sender_type, status, provider,
    from_address, created_at, updated_at)
SELECT c.workspace_id, uuidv7(), c.id, 'inbound', 'Is 3pm free?', 'contact', 'received', 'twilio', p.value, now(), now()
FROM conversations c JOIN contact_points p ON p.workspace_id = c.workspace_id AND p.contact_id = c.contact_id
WHERE c.workspace_id = $1
"""
_COUNTED = """
SELECT count(*) FILTER (WHERE c.agent_id IS NOT NULL AND c.fence = 1) AS claimed,
    count(*) FILTER (WHERE 1 = (SELECT count(*) FROM conversation_messages m
        WHERE m.workspace_id = c.workspace_id AND m.conversation_id = c.id AND m.direction = 'outbound')) AS answered,
    count(*) FILTER (WHERE 1 = (SELECT count(*) FROM conversation_messages m
        WHERE m.workspace_id = c.workspace_id AND m.conversation_id = c.id AND m.sender_agent_id = c.agent_id)) AS once
FROM conversations c WHERE c.workspace_id = $1
"""
