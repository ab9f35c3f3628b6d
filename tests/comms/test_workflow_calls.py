"""Calls of workflows: to hosts that are allowed, under one key however often they are made, never into our network."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import datetime, timedelta
from email.utils import format_datetime
from typing import Any

import httpx
import pytest

from comms import names
from comms.outside import Outside
from comms.service import Service
from comms.workflows import calling, engine
from comms.workflows.acting import Calls, Done, Failed
from comms.workflows.calling import Calling
from models.base import now
from tests.conftest import Client
from tests.make import agents as make
from tests.make import workflows as flow
from tests.screens import serving


class Shop:
    """Somebody who is called: what was asked, and what is answered to each in turn."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, dict[str, str], bytes]] = []
        self.answers: list[tuple[int, dict[str, str], bytes]] = []
        self.host = ""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        body = (await receive()).get("body", b"")
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        self.asked.append((scope["method"], scope["path"], headers, body))
        status, said, content = self.answers.pop(0) if self.answers else (200, {}, b'{"ok": true}')
        pairs = [
            (name.encode(), value.encode()) for name, value in {"content-type": "application/json", **said}.items()
        ]
        await send({"type": "http.response.start", "status": status, "headers": pairs})
        await send({"type": "http.response.body", "body": content})


@pytest.fixture
async def shop() -> AsyncIterator[Shop]:
    shop = Shop()
    async with serving(shop) as address:
        shop.host = f"localhost:{httpx.URL(address).port}"
        yield shop


@pytest.fixture
def caller(shop: Shop) -> Calling:
    return Calling(Outside(lookup=lambda host, port: ["127.0.0.1"]), [shop.host])


async def begun(client: Client, shop: Shop, /, **more: Any) -> dict[str, Any]:
    """A run whose only step calls the shop."""
    with suppress(AssertionError):  # it is listed once
        await make.made(client, "/agent-workflow-hosts", {"host": shop.host})
    inputs = {"url": f"http://{shop.host}/orders/{{{{trigger.id}}}}", "body": {"note": "{{trigger.note}}"}}
    step = {"id": "order", "action": "http", "inputs": {**inputs, **more.pop("inputs", {})}, **more}
    trigger = {"triggerData": {"id": 7, "note": "Ada's"}}
    return await flow.run_of(client, await flow.active(client, [step]), **trigger)


async def test_a_call_says_what_the_run_knows_and_keeps_what_was_answered(
    owner: Client, service: Service, shop: Shop, caller: Calling
) -> None:
    run = await begun(owner, shop, inputs={"headers": {"X-Shop": "one"}})
    await flow.answer_bells(service, caller)
    [(method, path, headers, body)] = shop.asked
    assert (method, path, body) == ("POST", "/orders/7", b'{"note":"Ada\'s"}')
    assert (headers["x-shop"], headers["idempotency-key"]) == ("one", f"{run['id']}:order")
    over = await flow.read(owner, run)
    assert (over["status"], over["stepResults"]["order"]) == ("completed", {"status": 200, "body": {"ok": True}})


async def test_what_passes_is_tried_again_under_the_same_key_and_what_does_not_is_not(
    owner: Client, service: Service, shop: Shop, caller: Calling
) -> None:
    shop.answers = [
        (503, {}, b""),
        (429, {}, b""),
        (200, {}, b"nonsense"),
        (302, {"location": "https://x.example"}, b""),
    ]
    run = await begun(owner, shop)
    await flow.answer_bells(service, caller)
    assert (await flow.history(owner, run))["order"]["error"]["code"] == "http_503"
    await flow.go_on(service, caller)  # it is not due yet
    assert len(shop.asked) == 1
    for _ in range(2):
        await flow.due_now(service, run)
        await flow.go_on(service, caller)
    assert {headers["idempotency-key"] for _, _, headers, _ in shop.asked} == {f"{run['id']}:order"}
    over = (await flow.history(owner, run))["order"]
    assert (over["status"], over["attempt"], over["output"]["body"]) == ("completed", 3, "nonsense")
    redirected = await begun(owner, shop)
    await flow.answer_bells(service, caller)
    assert "redirects are not followed" in (await flow.read(owner, redirected))["error"]["message"]


async def test_a_look_up_whose_turn_has_not_come_uses_up_no_try(
    owner: Client, service: Service, shop: Shop, caller: Calling, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = await begun(owner, shop, retries=0, inputs={"ifUnclear": "fail"})
    with monkeypatch.context() as crowded:
        crowded.setattr(names, "MOST_EACH", 0)
        await flow.answer_bells(service, caller)
        await flow.due_now(service, run)
        await flow.go_on(service, caller)
    waits = (await flow.history(owner, run))["order"]
    assert (waits["status"], waits["attempt"], waits["error"]["code"]) == ("waiting", 1, "crowded")
    await flow.due_now(service, run)
    await flow.go_on(service, caller)
    over = (await flow.history(owner, run))["order"]
    assert (over["status"], over["attempt"], len(shop.asked)) == ("completed", 1, 1)


async def test_a_caller_who_is_killed_has_perhaps_been_heard(
    owner: Client, service: Service, shop: Shop, caller: Calling
) -> None:
    """One workflow asks again under the same key; another, which must not, says that nobody knows."""

    class Dies(Calling):
        async def make(self, call: Calls) -> Done:
            await caller.make(call)
            raise ConnectionError("killed")

    again = await begun(owner, shop)
    never = await begun(owner, shop, inputs={"ifUnclear": "fail"})
    for workspace_id, run_id in await flow.bells(service):
        with pytest.raises(ConnectionError):
            await engine.advance(service.database, Dies(Outside()), workspace_id, run_id)
    waiting = await flow.read(owner, again)
    assert (waiting["status"], waiting["waitingFor"]) == ("running", "http")
    await engine.advance(service.database, caller, owner.workspace_id, uuid.UUID(again["id"]))  # it may still be at it
    assert len(shop.asked) == 2
    for _ in range(2):
        for run in (again, never):
            await flow.due_now(service, run)
        await flow.go_on(service, caller)
    assert (await flow.read(owner, again))["status"] == "completed"
    over = await flow.read(owner, never)
    assert (over["status"], over["error"]["code"]) == ("failed", "unclear")
    keys = [headers["idempotency-key"] for _, _, headers, _ in shop.asked]
    assert sorted(keys) == sorted([f"{again['id']}:order"] * 2 + [f"{never['id']}:order"])


async def test_an_answer_that_comes_after_the_run_was_asked_again_is_nobodys(
    owner: Client, service: Service, shop: Shop, caller: Calling
) -> None:
    run = await begun(owner, shop)
    (rung,) = await flow.bells(service)
    async with service.database.workspace(owner.workspace_id) as db:
        called = await engine._move(db, *rung)
    assert called is not None
    await flow.due_now(service, run)
    await flow.go_on(service, caller)  # whoever made the call is taken for gone
    await flow.due_now(service, run)
    async with service.database.workspace(owner.workspace_id) as db:
        again = await engine._move(db, *rung)
    assert again is not None
    assert again[1] == called[1] + 1
    before = await flow.history(owner, run)
    async with service.database.workspace(owner.workspace_id) as db:
        await engine._keep_answer(db, *rung, called[0], called[1], Failed("late", "too late"))
    assert await flow.history(owner, run) == before


async def test_nothing_is_asked_of_our_own_network_whatever_a_name_means(
    owner: Client, service: Service, shop: Shop
) -> None:
    meanings = iter([["10.0.0.7"], ["169.254.169.254"], ["93.184.216.34", "127.0.0.1"]])
    inside = Calling(Outside(lookup=lambda host, port: next(meanings)))
    await make.made(owner, "/agent-workflow-hosts", {"host": "api.example.com"})
    for _ in range(3):
        run = await begun(owner, shop, inputs={"url": "https://api.example.com/x"})
        await flow.answer_bells(service, inside)
        over = await flow.read(owner, run)
        assert (over["status"], over["error"]["code"]) == ("failed", "address")
        assert "private network" in over["error"]["message"]
    plain = await begun(owner, shop)  # by http, which is for hosts that the operator has named
    await flow.answer_bells(service, inside)
    assert "https://" in (await flow.read(owner, plain))["error"]["message"]
    assert shop.asked == []


async def test_a_host_that_is_no_longer_allowed_is_not_called(
    owner: Client, service: Service, shop: Shop, caller: Calling
) -> None:
    run = await begun(owner, shop)
    [host] = (await owner.get(f"{make.API}/agent-workflow-hosts")).json()["items"]
    await owner.delete(f"{make.API}/agent-workflow-hosts/{host['id']}")
    await asyncio.gather(*(flow.answer_bells(service, caller) for _ in range(2)))
    assert "not among the workspace's" in (await flow.read(owner, run))["error"]["message"]
    assert shop.asked == []


async def test_a_host_that_answers_drop_by_drop_takes_no_longer_than_the_step_may(owner: Client) -> None:
    async def drips(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        with suppress(OSError):
            for _ in range(100):
                await send({"type": "http.response.body", "body": b".", "more_body": True})
                await asyncio.sleep(0.02)

    async with serving(drips) as address:
        host = f"localhost:{httpx.URL(address).port}"
        caller = Calling(Outside(lookup=lambda host, port: ["127.0.0.1"]), [host])
        call = Calls(owner.workspace_id, "GET", f"http://{host}/", {}, None, 0.1)
        began = asyncio.get_running_loop().time()
        with pytest.raises(Failed, match=r"not done within 0\.1 s") as failed:
            await caller.make(call)
        assert asyncio.get_running_loop().time() - began < 1
    assert (failed.value.code, failed.value.may_pass) == ("unclear", True)


async def test_slow_hosts_of_one_workspace_leave_room_for_others_and_the_rest_wait_in_line(
    owner: Client,
    stranger: Client,
    service: Service,
    shop: Shop,
    caller: Calling,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Calls beyond a workspace's share hold nothing: they go on, the first one first, as others end."""
    slow = [await begun(owner, shop) for _ in range(calling.MOST_OF_ONE + 2)]
    quick = await begun(stranger, shop)
    answered = asyncio.Event()
    make_call = caller.make

    async def dawdles(call: Calls) -> Done:
        if call.workspace_id == owner.workspace_id:
            await answered.wait()
        return await make_call(call)

    monkeypatch.setattr(caller, "make", dawdles)
    rung = await flow.bells(service)
    going = {key: asyncio.create_task(engine.advance(service.database, caller, *key)) for key in rung}
    async with asyncio.timeout(10):
        while len(held := {key for key, task in going.items() if not task.done()}) > calling.MOST_OF_ONE:
            await asyncio.wait([going[key] for key in held], return_when=asyncio.FIRST_COMPLETED)
    assert {workspace_id for workspace_id, _ in held} == {owner.workspace_id}
    assert (await flow.history(stranger, quick))["order"]["status"] == "completed"
    for run in [run for run in slow if (owner.workspace_id, uuid.UUID(run["id"])) not in held]:
        waiting = await flow.read(owner, run)
        assert (waiting["waitingFor"], await flow.history(owner, run)) == ("turn", {})
    assert {workspace_id for workspace_id, _ in await flow.bells(service)} == {stranger.workspace_id}
    answered.set()
    await asyncio.wait(going.values(), timeout=10)
    await flow.answer_bells(service, caller)
    assert {(await flow.read(owner, run))["status"] for run in slow} == {"completed"}
    assert len({headers["idempotency-key"] for _, _, headers, _ in shop.asked}) == len(slow) + 1 == len(shop.asked)


@pytest.mark.parametrize(("answer", "tries"), [(200, 1), (503, 2)])
async def test_a_run_that_is_paused_during_a_call_keeps_the_answer_and_goes_on_when_resumed(
    answer: int,
    tries: int,
    owner: Client,
    service: Service,
    shop: Shop,
    caller: Calling,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run = await begun(owner, shop)
    shop.answers = [(answer, {}, b"{}")]
    path = f"{make.API}/agent-workflow-executions/{run['id']}"
    make_call = caller.make

    async def meanwhile(call: Calls) -> Done:
        if not shop.asked:
            await owner.post(f"{path}/pause")
        return await make_call(call)

    monkeypatch.setattr(caller, "make", meanwhile)
    await flow.answer_bells(service, caller)
    assert (await flow.read(owner, run))["status"] == "paused"
    await flow.go_on(service, caller)
    assert len(shop.asked) == 1
    await owner.post(f"{path}/resumption")
    await flow.due_now(service, run)
    await flow.go_on(service, caller)
    assert ((await flow.read(owner, run))["status"], len(shop.asked)) == ("completed", tries)


@pytest.mark.parametrize(
    ("said", "least", "most"),
    [("120", 119, 120), ("in_a_minute", 58, 60), ("999999", 3_599, 3_600), ("soon", 4, 5), ("a_while_ago", 4, 5)],
)
async def test_whoever_asks_to_be_asked_later_is(
    said: str, least: float, most: float, owner: Client, service: Service, shop: Shop, caller: Calling
) -> None:
    dates = {"in_a_minute": 60, "a_while_ago": -60}
    said = format_datetime(now() + timedelta(seconds=dates[said]), usegmt=True) if said in dates else said
    run = await begun(owner, shop)
    shop.answers = [(503, {"retry-after": said}, b"")]
    before = now()
    await flow.answer_bells(service, caller)
    row = (await flow.history(owner, run))["order"]
    later = (datetime.fromisoformat(row["dueAt"]) - before).total_seconds()
    assert least <= later <= most + 5


async def test_a_secret_header_belongs_to_its_host_and_is_nowhere_to_be_seen(
    owner: Client, member: Client, service: Service, shop: Shop, admin: Any
) -> None:
    secret = "Bearer 7f3d8b1c9f2c"
    host = await make.made(owner, "/agent-workflow-hosts", {"host": shop.host})
    path = f"{make.API}/agent-workflow-hosts/{host['id']}"
    answer = await owner.put(f"{path}/secret-headers/Authorization", json={"value": secret})
    assert (answer.status_code, answer.json()["secretHeaders"]) == (200, {"authorization": {"lastFour": "9f2c"}})
    for name, value, wrong in (("host", secret, 400), ("x y", secret, 400), ("x-key", "short", 400)):
        assert (await owner.put(f"{path}/secret-headers/{name}", json={"value": value})).status_code == wrong
    assert (await member.put(f"{path}/secret-headers/x-key", json={"value": secret})).status_code == 403
    assert (await owner.patch(path, json={"host": "elsewhere.example"})).status_code == 409
    shop.answers = [(200, {}, f'{{"you": "{secret}"}}'.encode())]
    caller = Calling(Outside(lookup=lambda host, port: ["127.0.0.1"]), [shop.host], service.vault)
    run = await begun(owner, shop)
    await flow.answer_bells(service, caller)
    [(_, _, headers, _)] = shop.asked
    assert headers["authorization"] == secret
    assert (await flow.read(owner, run))["stepResults"]["order"]["body"] == {"you": "***"}
    for table in ("agent_workflow_hosts", "agent_workflow_executions", "agent_workflow_step_runs", "events"):
        assert await admin.fetchval(f"SELECT count(*) FROM {table} t WHERE t::text LIKE '%7f3d8b1c%'") == 0
    assert (await owner.delete(f"{path}/secret-headers/authorization")).status_code == 204
    assert (await owner.delete(f"{path}/secret-headers/authorization")).status_code == 404
    run = await begun(owner, shop)
    await flow.answer_bells(service, caller)
    assert "authorization" not in shop.asked[1][2]
