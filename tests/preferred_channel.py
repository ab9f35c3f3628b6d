"""Run by test_adding_a_field.py in a copy of the tree whose contacts have a preferred channel."""

import asyncio
import os
import pathlib
import sys

import httpx

from comms import credentials, migrations, workspaces
from comms.database import Urls, as_role
from comms.service import Service
from comms.settings import DatabaseSettings, MediaSettings, Secret, SecuritySettings, ServerSettings, Settings
from handlers import openapi
from handlers.app import create_api, create_app
from models.tenancy import WEB, WORKER


async def main() -> None:
    owner = Secret(os.environ["SCRATCH_URL"])
    urls = Urls(owner=owner, web=as_role(owner, WEB), worker=as_role(owner, WORKER))
    assert await migrations.upgrade(urls) == "0100"
    folder = pathlib.Path(os.environ["SCRATCH_FOLDER"])
    settings = Settings(
        data_dir=folder,
        database=DatabaseSettings(pool_size=4),
        server=ServerSettings(public_url="https://x.example"),
        security=SecuritySettings(keys=(("test", b"k" * 32),)),
        media=MediaSettings(url=folder.as_uri()),
    )
    service = Service(settings, urls, worker=False)
    await service.start()
    async with service.database.everywhere() as db:
        workspace, _ = await workspaces.found(db, name="Acme", slug="acme", email="owner@acme.example")
        member = await workspaces.find_member(db, workspace.id, "owner@acme.example")
        _, token = await credentials.issue(db, member)
    api = create_api(to_be_described=True)
    transport = httpx.ASGITransport(create_app(service, api))
    headers = {"Authorization": f"Bearer {token}"}
    async with httpx.AsyncClient(transport=transport, base_url="https://x.example/api/v1", headers=headers) as client:
        made = (await client.post("/contacts", json={"preferredChannel": "sms"})).json()
        assert made["preferredChannel"] == "sms", made
        other = (await client.post("/contacts", json={})).json()
        assert other["preferredChannel"] is None
        refused = await client.post("/contacts", json={"preferredChannel": "fax"})
        assert refused.status_code == 400, refused.text
        assert refused.json()["errors"][0]["field"] == "preferredChannel"
        for question, row in (("sms", made), ("null", other)):
            found = (await client.get("/contacts", params={"preferredChannel": question})).json()["items"]
            assert [item["id"] for item in found] == [row["id"]], found
        address = f"/contacts/{made['id']}"
        assert (await client.patch(address, json={"preferredChannel": "email"})).json()["preferredChannel"] == "email"
        assert (await client.patch(address, json={"company": "Acme"})).json()["preferredChannel"] == "email"
        assert (await client.patch(address, json={"preferredChannel": None})).json()["preferredChannel"] is None
        told = (await client.get("/events", params={"subjectId": made["id"]})).json()["items"]
        assert [item["data"]["preferredChannel"] for item in told] == ["sms", "email", "email", None], told
        assert told[1]["changes"]["preferredChannel"] == {"before": "sms", "after": "email"}, told[1]
        document = openapi.document_of(api)  # what /schema/openapi.json is: tests/handlers/test_documents.py
        field = document["components"]["schemas"]["Contact"]["properties"]["preferredChannel"]
        assert field["enum"] == ["sms", "call", "email", "whatsapp", None], field
        assert field["examples"] == ["sms"]
        assert "preferred channel" in field["description"], field
        for shape in ("NewContact", "ContactChange"):
            assert "preferredChannel" in document["components"]["schemas"][shape]["properties"]
        parameters = document["paths"]["/api/v1/contacts"]["get"]["parameters"]
        assert "preferredChannel" in [parameter["name"] for parameter in parameters]
    await service.stop()
    assert await migrations.downgrade(urls, os.environ["SCRATCH_HEAD"]) == os.environ["SCRATCH_HEAD"]
    sys.stdout.write("everything follows\n")


asyncio.run(main())
