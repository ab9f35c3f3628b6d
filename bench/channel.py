"""How soon a team message is on the screens of a channel's five hundred members, each of them somebody else."""

import asyncio
import json
import statistics
import time

import msgspec

from bench import live, machine
from bench.ledger import Miscounted
from bench.listeners import Audience, Heard
from bench.stage import Server, Stage
from comms import credentials, workspaces
from comms.database import Database

TOWN = "channel"
PATIENCE_SECONDS = 20.0


class Plan(msgspec.Struct, frozen=True):
    """So many members, each with a socket; so many messages, ``rate`` a second, posted over the API."""

    members: int = 500
    messages: int = 100
    rate: int = 10


class Told(msgspec.Struct, frozen=True):
    """Seconds from the request to the frame, over all messages and sockets."""

    plan: Plan
    p50: float
    p99: float
    stolen: float


async def measure(stage: Stage, server: Server, plan: Plan) -> Told:
    """Everybody heard every message once; raises ``Miscounted`` when somebody did not."""
    town = stage.towns[TOWN]
    (workspace_id,), (owner,) = town.ids, town.access_tokens
    tokens = []
    database = Database(stage.urls(), pool_size=1)
    async with database.everywhere() as db:
        for number in range(plan.members):
            member = await workspaces.enter(db, workspace_id, email=f"{number}@channel.example", role="member")
            tokens.append((await credentials.issue(db, member, "bench"))[1])
    await database.close()
    channel = (await _posted(server.port, owner, "team-channels", {"name": "everybody", "type": "general"}))["id"]
    path = stage.folder / "channel.heard"
    audience = Audience(server.port, owner, plan.members, plan.messages, str(path), tokens)
    listeners = await asyncio.to_thread(live.listening, stage, audience)
    theft = machine.Theft()
    with listeners:
        began, left_at = time.monotonic(), {}
        for number in range(plan.messages):
            await asyncio.sleep(began + number / plan.rate - time.monotonic())
            name = f"channel{number:06d}"
            left_at[name] = time.monotonic()
            await _posted(server.port, owner, "team-messages", {"channelId": channel, "content": name})
        try:
            await asyncio.to_thread(listeners.wait, PATIENCE_SECONDS)
        except Exception:  # who waits in vain is counted below
            listeners.communicate("enough\n")
    heard = msgspec.msgpack.decode(path.read_bytes(), type=Heard)
    waits = sorted(at - left for name, left in left_at.items() for at in heard.at.get(name, ()))
    if len(waits) != plan.members * plan.messages or heard.lost:
        raise Miscounted(f"{len(waits)} of {plan.members * plan.messages} deliveries, {heard.lost} were closed")
    return Told(plan, statistics.median(waits), waits[int(len(waits) * 0.99)], theft.share)


async def _posted(port: int, token: str, resource: str, body: dict[str, str]) -> dict[str, str]:
    """What the API has made of it."""
    sent = json.dumps(body).encode()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    head = f"POST /api/v1/{resource} HTTP/1.1\r\nHost: bench.example\r\nAuthorization: Bearer {token}\r\n"
    head += f"Content-Type: application/json\r\nContent-Length: {len(sent)}\r\nConnection: close\r\n\r\n"
    writer.write(head.encode() + sent)
    said, _, answer = (await reader.read()).partition(b"\r\n\r\n")
    writer.close()
    if said[9:12] != b"201":
        raise RuntimeError(f"{resource} was refused: {answer!r}")
    made: dict[str, str] = json.loads(answer)
    return made
