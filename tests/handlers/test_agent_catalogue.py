"""The catalogue: published for everybody, written by its author alone, installed and counted."""

import asyncio
import json
import uuid
from pathlib import Path
from typing import Any

import asyncpg
import msgspec
import pytest

from comms.agents import catalogue
from comms.agents.catalogue import PackFile, TemplateFile
from comms.cli import arguments
from comms.cli import catalogue as commands
from comms.database import Urls
from comms.embedded import Embedded
from comms.errors import CannotRun, Conflict, Invalid
from comms.service import Service
from comms.settings import Secret, Settings
from models.agents import AgentTemplate
from models.tenancy import WORKSPACE_SETTING
from tests.conftest import Client
from tests.make import agents as make
from tests.make.agents import API, errors, told

CONFIG = {"model": "small", "systemPrompt": "Be kind."}


async def template(client: Client, slug: str = "greeter", **body: Any) -> dict[str, Any]:
    return await make.made(
        client, "/agent-templates", {"name": "Greeter", "slug": slug, "type": "sms", "config": CONFIG, **body}
    )


async def pack(client: Client, slug: str = "starter", **body: Any) -> dict[str, Any]:
    agents = [{"name": "Ada", "type": "call"}, {"name": "Bob", "config": CONFIG}]
    return await make.made(client, "/agent-packs", {"name": "Starter", "slug": slug, "agentTemplates": agents, **body})


async def publish(client: Client, kind: str, row: dict[str, Any]) -> dict[str, Any]:
    answer = await client.post(f"{API}/agent-{kind}/{row['id']}/publication")
    assert answer.status_code == 201, answer.text
    published: dict[str, Any] = answer.json()
    return published


@pytest.mark.parametrize(("kind", "make_one"), [("templates", template), ("packs", pack)])
async def test_what_is_published_everybody_reads_and_only_its_author_writes(
    owner: Client, stranger: Client, kind: str, make_one: Any
) -> None:
    row = await make_one(owner)
    path = f"{API}/agent-{kind}/{row['id']}"
    assert row["authorWorkspaceId"] == str(owner.workspace_id)
    assert (await stranger.get(path)).status_code == 404
    published = await publish(owner, kind, row)
    assert published["isPublished"]
    assert published["publishedAt"] is not None
    assert (await stranger.get(path)).json() == published
    assert [item["id"] for item in (await stranger.get(f"{API}/agent-{kind}")).json()["items"]] == [row["id"]]
    for answer in (
        await stranger.patch(path, json={"name": "Mine"}),
        await stranger.delete(path),
        await stranger.post(f"{path}/publication"),
        await stranger.delete(f"{path}/publication"),
    ):
        assert answer.status_code == 404
    assert (await owner.delete(f"{path}/publication")).status_code == 204
    assert (await stranger.get(path)).status_code == 404
    noun = f"agent_{kind[:-1]}"
    assert await told(owner, row["id"]) == [f"{noun}.created", f"{noun}.published", f"{noun}.withdrawn"]
    assert await told(stranger, row["id"]) == []


async def test_publishing_or_withdrawing_again_changes_nothing(owner: Client) -> None:
    row = await template(owner)
    path = f"{API}/agent-templates/{row['id']}/publication"
    first = await publish(owner, "templates", row)
    assert await publish(owner, "templates", row) == first
    assert [(await owner.delete(path)).status_code for _ in range(2)] == [204, 204]
    assert len(await told(owner, row["id"])) == 3


async def test_the_database_itself_keeps_the_catalogue_to_its_authors(
    owner: Client, stranger: Client, urls: Urls, service: Service
) -> None:
    hidden, shown = await template(owner, "hidden"), await template(owner, "shown")
    await publish(owner, "templates", shown)
    async with service.database.everywhere() as db:
        db.add(AgentTemplate(name="Operator's", slug="operators", is_published=True))
    web = await asyncpg.connect(urls.web.plain)

    async def as_of(workspace_id: Any, statement: str, *given: Any) -> Any:
        async with web.transaction():
            await web.execute(f"SELECT set_config('{WORKSPACE_SETTING}', $1, true)", str(workspace_id or ""))
            return await web.fetch(statement, *given)

    everything = "SELECT slug FROM agent_templates ORDER BY 1"
    assert [row[0] for row in await as_of(owner.workspace_id, everything)] == ["hidden", "operators", "shown"]
    assert [row[0] for row in await as_of(stranger.workspace_id, everything)] == ["operators", "shown"]
    assert await as_of(None, everything) == []
    change = "UPDATE agent_templates SET name = 'x' RETURNING slug"
    assert await as_of(stranger.workspace_id, change) == []
    assert await as_of(stranger.workspace_id, "DELETE FROM agent_templates RETURNING slug") == []
    assert {row[0] for row in await as_of(owner.workspace_id, change)} == {"hidden", "shown"}
    for statement, given in (
        ("UPDATE agent_templates SET author_workspace_id = $1 WHERE slug = 'hidden'", stranger.workspace_id),
        ("UPDATE agent_templates SET author_workspace_id = NULL WHERE id = $1", hidden["id"]),
    ):
        with pytest.raises(asyncpg.InsufficientPrivilegeError, match="row-level security"):
            await as_of(owner.workspace_id, statement, given)
    forced = "SELECT relrowsecurity AND relforcerowsecurity FROM pg_class WHERE relname = ANY($1)"
    assert [row[0] for row in await web.fetch(forced, ["agent_packs", "agent_templates"])] == [True, True]
    await web.close()


async def test_a_template_is_installed_as_a_draft_and_counted(owner: Client, stranger: Client) -> None:
    row = await template(owner)
    path = f"{API}/agent-templates/{row['id']}/installation"
    assert (await stranger.post(path)).status_code == 404
    await publish(owner, "templates", row)
    answers = await asyncio.gather(*(stranger.post(path) for _ in range(3)), owner.post(path))
    assert [answer.status_code for answer in answers] == [201] * 4
    agent = answers[0].json()
    assert (agent["name"], agent["type"], agent["config"], agent["status"]) == ("Greeter", "sms", CONFIG, "draft")
    assert (agent["sourceTemplateId"], agent["isCustom"]) == (row["id"], False)
    assert agent["createdBy"] == str(stranger.user_id)
    assert (await stranger.get(f"{API}/agents/{agent['id']}")).json() == agent
    assert len((await stranger.get(f"{API}/agents")).json()["items"]) == 3
    assert (await owner.get(f"{API}/agent-templates/{row['id']}")).json()["installCount"] == 4
    assert await told(stranger, agent["id"]) == ["agent.created"]
    assert await told(stranger, row["id"]) == ["agent_template.installed"] * 3
    assert (await told(owner, row["id"]))[2:] == ["agent_template.installed"]


async def test_a_pack_brings_all_its_agents(owner: Client, stranger: Client) -> None:
    row = await pack(owner)
    await publish(owner, "packs", row)
    answer = await stranger.post(f"{API}/agent-packs/{row['id']}/installation")
    assert answer.status_code == 201, answer.text
    agents = answer.json()["agents"]
    assert [(agent["name"], agent["type"], agent["config"]) for agent in agents] == [
        ("Ada", "call", {}),
        ("Bob", "custom", CONFIG),
    ]
    found = await stranger.get(f"{API}/agents", params={"sourcePackId": row["id"], "sort": "createdAt"})
    assert found.json()["items"] == agents
    assert (await owner.get(f"{API}/agent-packs/{row['id']}")).json()["installCount"] == 1
    assert (await owner.get(f"{API}/agents")).json()["items"] == []


async def test_what_costs_is_not_given_away(owner: Client, stranger: Client) -> None:
    row = await pack(owner, pricingType="one-time", price="19.90", currency="EUR")
    await publish(owner, "packs", row)
    path = f"{API}/agent-packs/{row['id']}/installation"
    assert (await stranger.post(path)).status_code == 409
    assert (await stranger.get(f"{API}/agents")).json()["items"] == []
    assert (await owner.get(f"{API}/agent-packs/{row['id']}")).json()["installCount"] == 0
    assert (await owner.post(path)).status_code == 201


async def test_who_installs_needs_the_right_to_read_packs_and_to_write_agents(
    owner: Client, member: Client, viewer: Client
) -> None:
    row = await template(owner)
    path = f"{API}/agent-templates/{row['id']}"
    assert (await viewer.post(f"{path}/installation")).status_code == 403
    assert (await member.post(f"{path}/installation")).status_code == 201
    assert (await member.post(f"{path}/publication")).status_code == 403
    assert (await member.patch(path, json={"name": "x"})).status_code == 403


async def test_a_pack_that_makes_no_sense_is_refused_by_name(owner: Client) -> None:
    for body, fields in (
        ({"agentTemplates": [{"type": "call"}, {"name": "x", "colour": 1}]},
         {"agentTemplates[0].name", "agentTemplates[1].colour"}),
        ({"price": "1.00"}, {"price"}),
        ({"pricingType": "one-time", "price": "-1.00"}, {"price"}),
        ({"currency": "euro"}, {"currency"}),
        ({"slug": "Not A Slug"}, {"slug"}),
        ({"installCount": 5, "rating": "5.00", "isPublished": True}, {"installCount", "rating", "isPublished"}),
    ):  # fmt: skip
        answer = await owner.post(f"{API}/agent-packs", json={"name": "P", "slug": "p", **body})
        assert set(errors(answer)) == fields, body
    empty = await make.made(owner, "/agent-packs", {"name": "Empty", "slug": "empty"})
    assert (await owner.post(f"{API}/agent-packs/{empty['id']}/publication")).status_code == 409


async def test_a_slug_is_taken_once_for_everybody(owner: Client, stranger: Client) -> None:
    await template(owner)
    body = {"name": "Greeter", "slug": "greeter"}
    assert (await stranger.post(f"{API}/agent-templates", json=body)).status_code == 409


async def test_trends_count_recent_installations(owner: Client, stranger: Client, service: Service, admin: Any) -> None:
    row = await template(owner)
    await publish(owner, "templates", row)
    ages = ["1 hour", "2 days", "20 days", "40 days"]
    for age in ages:
        agent = (await stranger.post(f"{API}/agent-templates/{row['id']}/installation")).json()
        moved = "UPDATE agents SET created_at = now() - $1::text::interval WHERE id = $2"
        await admin.execute(moved, age, agent["id"])
    async with service.database.everywhere() as db:
        await catalogue.count_trends(db)
    shown = (await owner.get(f"{API}/agent-templates/{row['id']}")).json()
    assert [shown[name] for name in ("installs24h", "installs7d", "installs30d")] == [1, 2, 3]
    assert shown["trendingScore"] == 10 + 6 + 3


def written(folder: Path, document: Any) -> Path:
    path = folder / f"{uuid.uuid4()}.json"
    path.write_text(json.dumps(document))
    return path


async def test_the_operators_template_is_everybodys_and_nobodys_to_change(owner: Client, service: Service) -> None:
    document = TemplateFile(name="House", slug="house", is_featured=True)
    async with service.database.everywhere() as db:
        row_id = await catalogue.publish_as_operator(db, document)
    path = f"{API}/agent-templates/{row_id}"
    shown = (await owner.get(path)).json()
    assert (shown["authorWorkspaceId"], shown["isPublished"], shown["isFeatured"]) == (None, True, True)
    assert (await owner.patch(path, json={"name": "Mine"})).status_code == 404
    async with service.database.everywhere() as db:
        document.name = "House, again"
        assert await catalogue.publish_as_operator(db, document) == row_id
    again = (await owner.get(path)).json()
    assert (again["name"], again["publishedAt"]) == ("House, again", shown["publishedAt"])
    async with service.database.everywhere() as db:
        assert await catalogue.withdraw_as_operator(db, "house") == ["template"]
        assert await catalogue.withdraw_as_operator(db, "house") == []
    assert (await owner.get(path)).status_code == 404


async def test_the_operator_takes_no_workspaces_slug_and_publishes_no_nonsense(owner: Client, service: Service) -> None:
    row = await template(owner)
    with pytest.raises(Conflict, match="greeter"):
        async with service.database.everywhere() as db:
            await catalogue.publish_as_operator(db, TemplateFile(name="Mine now", slug="greeter"))
    assert (await owner.get(f"{API}/agent-templates/{row['id']}")).json() == row
    for document in (
        TemplateFile(name="x", slug="X Y"),
        PackFile(name="x", slug="x", agent_templates=[]),
        PackFile(name="x", slug="x", agent_templates=[{"type": "call"}]),
    ):
        with pytest.raises(Invalid):
            async with service.database.everywhere() as db:
                await catalogue.publish_as_operator(db, document)


async def test_the_commands_publish_and_withdraw(
    owner: Client, settings: Settings, urls: Urls, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    configured = msgspec.structs.replace(
        settings,
        database=msgspec.structs.replace(
            settings.database,
            url=Secret(urls.owner.plain),
            web_url=Secret(urls.web.plain),
            worker_url=Secret(urls.worker.plain),
        ),
    )

    def run(*words: str) -> int:
        chosen = arguments.parser().parse_args(["catalogue", *words])
        assert chosen.run.startswith("catalogue:")
        status: int = getattr(commands, chosen.run.partition(":")[2])(configured, chosen)
        return status

    pack = {"name": "House", "slug": "house", "agentTemplates": [{"name": "Ada"}], "price": "0.00"}
    assert await asyncio.to_thread(in_main, run, "publish", str(written(tmp_path, pack))) == 0
    shown = (await owner.get(f"{API}/agent-packs", params={"slug": "house"})).json()["items"]
    assert [item["agentTemplates"] for item in shown] == [[{"name": "Ada"}]]
    assert await asyncio.to_thread(in_main, run, "withdraw", "house") == 0
    assert (await owner.get(f"{API}/agent-packs", params={"slug": "house"})).json()["items"] == []
    for words, complaint in (
        (("withdraw", "house"), "nothing is published"),
        (("publish", str(written(tmp_path, pack | {"colour": 1}))), "colour"),
        (("publish", str(written(tmp_path, pack | {"currency": "euro"}))), "currency"),
        (("publish", str(tmp_path / "nowhere.json")), "cannot read"),
    ):
        with pytest.raises(CannotRun, match=complaint):
            await asyncio.to_thread(in_main, run, *words)
    assert "house is published as" in capsys.readouterr().out


@pytest.mark.parametrize("worker", ["postgresql://comms_worker@127.0.0.1:1/comms", "postgres"])
async def test_the_commands_say_that_there_is_no_database_or_no_schema(
    settings: Settings, postgres: Embedded, worker: str
) -> None:
    url = Secret(postgres.dsn("postgres", "postgres") if worker == "postgres" else worker)
    configured = msgspec.structs.replace(
        settings, database=msgspec.structs.replace(settings.database, url=url, worker_url=url)
    )
    chosen = arguments.parser().parse_args(["catalogue", "withdraw", "house"])
    with pytest.raises(CannotRun, match="comms db upgrade"):
        await asyncio.to_thread(in_main, lambda: commands.withdraw(configured, chosen))


def in_main(run: Any, *words: str) -> int:
    """A command of its own loop, off the tests' loop; signals are for the main thread alone."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("comms.cli.running.signal.signal", lambda *_: None)
        status: int = run(*words)
        return status
