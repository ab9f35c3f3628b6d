"""A workspace that can be called: a telephone network over real HTTP, members with phones, and who does the jobs."""

import uuid
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import httpx
import msgspec
from sqlalchemy import update

from comms import duties
from comms.calls.dialling import Dialler
from comms.directory import Connection
from comms.outbox.rest import Rest
from comms.providers import rest, twilio
from comms.providers.base import Request
from comms.service import Service
from comms.settings import ProviderSettings
from comms.simulators.server import Server
from comms.simulators.telephone import CallsApi, Line, Person, Switchboard
from comms.worker import Worker
from models.communications import WorkspacePhoneNumber
from models.core import WorkspaceMember
from tests.conftest import PUBLIC_URL
from tests.make.communications import OUR_NUMBER
from tests.screens import serving

CALLER = "+14155550199"


class Network:
    """The telephones around a workspace, and its provider's REST API."""

    def __init__(self, service: Service, line: Connection, switchboard: Switchboard, url: str) -> None:
        self.service = service
        self.line = line
        self.switchboard = switchboard
        self.api = CallsApi(switchboard)
        self.dialler = dialler(service, url)

    def at(self, kind: str) -> str:
        """Where the provider is told to ask."""
        return f"{PUBLIC_URL}/webhooks/{self.line.provider}/{self.line.id}/{kind}"

    async def call(self, person: Person, *, sender: str = CALLER, **more: Any) -> Line:
        """Somebody calls our number; the line as it was in the end."""
        status_url = more.pop("status_url", self.at("voice-status"))
        return await self.switchboard.call(sender, OUR_NUMBER, self.at("voice"), person, status_url=status_url, **more)

    def ring(self, person: Person, *, sender: str = CALLER, **more: Any) -> Line:
        """The same, begun."""
        url, status_url = self.at("voice"), self.at("voice-status")
        return self.switchboard.ring(sender, OUR_NUMBER, url, person, status_url=status_url, **more)

    @asynccontextmanager
    async def working(self) -> AsyncIterator[None]:
        """Jobs are worked off."""
        here = self.service
        done = duties.of(
            here.database,
            here.vault,
            here.settings,
            media=here.media,
            replays=here.replays,
            sender=here.sender,
            dialler=self.dialler,
            repair=here.sweeps,
            pushing=here.pushing,
            calling=here.calling,
        )
        worker = Worker(here.database, done)
        await worker.start()
        try:
            yield
        finally:
            await worker.stop(2)


def dialler(service: Service, url: str) -> Dialler:
    """Who dials where the providers' APIs are at ``url``, and waits for nobody long."""
    providers = ProviderSettings(twilio_url=url, signalwire_url=url)
    return Dialler(
        service.database,
        service.directory,
        msgspec.structs.replace(service.settings, providers=providers),
        look_again_seconds=0.1,
        settled_seconds=1,
        http=Rest(rest.Messages(twilio.account_at), None, timeout=httpx.Timeout(0.5)),
    )


@asynccontextmanager
async def network(service: Service, app: Any, line: Connection, **options: Any) -> AsyncIterator[Network]:
    """The people of ``line``'s provider call ``app``, and are called by it."""
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=PUBLIC_URL) as client:

        async def fetch(request: Request) -> tuple[int, str]:
            answer = await client.request(
                request.method, request.url, content=request.body, headers=dict(request.headers)
            )
            return answer.status_code, answer.text

        switchboard = Switchboard(line.credentials, fetch, fallback_url=None, **options)
        api = CallsApi(switchboard)
        async with serving(Server(api.routes)) as address:
            made = Network(service, line, switchboard, address.replace("ws://", "http://").removesuffix("/ws"))
            made.api = api
            usual, service.dialler = service.dialler, made.dialler
            try:
                yield made
            finally:
                service.dialler = usual
                await made.dialler.close()
                await switchboard.close()


async def flow(service: Service, line: Connection, document: Mapping[str, Any]) -> None:
    """The workspace's numbers have this flow."""
    async with service.database.everywhere() as db:
        await db.execute(
            update(WorkspacePhoneNumber)
            .where(WorkspacePhoneNumber.workspace_id == line.workspace_id)
            .values(voice_flow=dict(document))
        )


async def phone(service: Service, workspace_id: uuid.UUID, user_id: uuid.UUID, number: str) -> None:
    """Calls for the member ring there."""
    async with service.database.everywhere() as db:
        await db.execute(
            update(WorkspaceMember)
            .where(WorkspaceMember.workspace_id == workspace_id, WorkspaceMember.user_id == user_id)
            .values(phone=number)
        )
