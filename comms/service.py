"""Everything one process runs, begun and ended in order."""

import asyncio
import contextlib
from typing import Any

import asyncpg
import structlog
from sqlalchemy.exc import ProgrammingError, SQLAlchemyError

from comms import arrivals, delivery, duties, jobs, limits, metrics, migrations, outbox
from comms.calls.dialling import Dialler
from comms.calls.taking import Calls
from comms.chat.desk import Desk
from comms.clerk import Clerk
from comms.consent.unsubscribing import Unsubscribing
from comms.database import Database, Urls
from comms.directory import Directory
from comms.embedded import Embedded
from comms.events import Told
from comms.groups import Groups
from comms.hooks.posting import Posting
from comms.hub import Hub
from comms.mail import events as mail_events
from comms.mail import passage
from comms.mail.intake import Intake
from comms.mail.smtp import Servers
from comms.mail.story import Story
from comms.mail.tokens import Tokens
from comms.media import Media
from comms.media.publishing import Publishing
from comms.notifications.pushing import Pushing
from comms.notifications.stopping import Stopping
from comms.outbox import transports
from comms.outbox.packing import Packing
from comms.outbox.sender import Sender
from comms.outside import Outside
from comms.passwords import Passwords
from comms.repair import Sweeps, records
from comms.replays import Replays
from comms.settings import Settings
from comms.vault import Vault
from comms.worker import Worker
from comms.workflows.calling import Calling

log = structlog.get_logger(__name__)

STOP_SECONDS = 10.0


def _unready(*, database: bool, migrations: bool | None) -> dict[str, Any]:
    ages = dict.fromkeys(("queueAgeSeconds", "outboxAgeSeconds", "hubLagSeconds"))
    return {"ready": False, "database": database, "migrations": migrations, **ages}


class Service:
    """One process of comms: the web, the worker, or both. ``embedded`` is the built-in database, if it is used.

    ``simulators`` is what the demo answers below ``/simulators``: the other side of the wire.
    """

    def __init__(
        self,
        settings: Settings,
        urls: Urls,
        *,
        embedded: Embedded | None = None,
        worker: bool = True,
    ) -> None:
        self.settings = settings
        self.embedded = embedded
        self.simulators: Any = None
        self.database = Database(urls, pool_size=settings.database.pool_size, pgbouncer=settings.database.pgbouncer)
        self.vault = Vault(settings.security)
        self.directory = Directory(self.database, self.vault)
        self.arrivals: Groups[arrivals.Arrival, arrivals.Received] = Groups(
            arrivals.KIND, self.database, arrivals.receive, arrivals.spoil, arrivals.SHORTCUTS
        )
        self.reports: Groups[delivery.Reported, delivery.Noted] = Groups(
            delivery.KIND, self.database, delivery.note, delivery.spoil
        )
        self.calls = Calls(self.database, settings.server.public_url)
        self.sweeps = Sweeps(self.database, self.directory, settings.providers, self.arrivals, self.reports, self.calls)
        self.media = Media(self.database, self.directory, settings.media)
        mail = Story(Tokens(settings.security))
        self.mails: Groups[passage.Arrived, passage.Received] = Groups(
            passage.KIND, self.database, mail.receive, mail.spoil, lanes=1
        )
        self.intake = Intake(self.database, self.media, self.mails)
        self.mail_events: Groups[mail_events.Batch, mail_events.Kept] = Groups(
            mail_events.KIND, self.database, mail_events.note, mail_events.spoil, lanes=1
        )
        self.replays = Replays(
            self.database, self.directory, self.arrivals, self.reports, self.calls, self.intake, self.mail_events
        )
        self.publishing = Publishing(settings.security, settings.server.public_url)
        self.unsubscribing = Unsubscribing(settings.security, settings.server.public_url)
        self.pushing = Pushing(self.database, self.vault, settings.push)
        self.stopping = Stopping(settings.security, settings.server.public_url)
        self.sender = Sender(
            self.database,
            self.directory,
            transports.all_of(settings, self.media.read),
            Packing(self.database, self.publishing, settings.server.public_url),
        )
        self.mail_servers = Servers(settings.providers.smtp_hosts)
        self.passwords = Passwords()
        self.agents_pace = limits.Pace(limits.BY_AGENT)
        self.clerk = None if settings.clerk is None else Clerk(settings.clerk)
        self.hub = Hub(self.database)
        self.hub.on_delivered = metrics.COMMIT_TO_SOCKET.observe
        self.posting = Posting(self.database, self.vault, settings.webhooks)
        self.desk = Desk(self.database, self.hub, settings.security)
        self.dialler = Dialler(self.database, self.directory, settings)
        self._outside = Outside(networks=settings.webhooks.networks)
        self.calling = Calling(self._outside, settings.webhooks.hosts, self.vault)
        duties_here = duties.of(
            self.database,
            self.vault,
            settings,
            media=self.media,
            replays=self.replays,
            sender=self.sender,
            repair=self.sweeps,
            dialler=self.dialler,
            pushing=self.pushing,
            calling=self.calling,
        )
        self._worker = Worker(self.database, duties_here) if worker else None
        self._watch: asyncio.Task[Any] | None = None
        self._started = False

    async def start(self) -> None:
        """Webhooks are taken, sockets are served and jobs are worked off, as far as this process does either."""
        if self._started:
            return
        self._started = True
        self.database.on_told = self._told
        if self.embedded is not None:
            self._watch = asyncio.create_task(self.embedded.watch())
        await self._warn_if_behind()
        await self.directory.start()
        await self.arrivals.start()
        await self.reports.start()
        await self.mails.start()
        await self.mail_events.start()
        await self.hub.start()
        await self.desk.start()
        if self._worker is not None:
            self.hub.listen(self.posting.told)
            await self.sender.start()
            await self.posting.start()
            await self._worker.start()

    async def stop(self) -> None:
        """What had been begun is finished; nothing new is taken."""
        if not self._started:
            return
        self._started = False
        if self._watch is not None:
            self._watch.cancel()
            await asyncio.wait([self._watch])
        self.passwords.close()
        # A database that does not answer must not keep us: what was acknowledged is committed, the rest is tried again.
        try:
            async with asyncio.timeout(self.settings.server.drain_seconds + STOP_SECONDS):
                if self._worker is not None:
                    grace_seconds = min(20, self.settings.server.drain_seconds)
                    await asyncio.gather(
                        *(one.stop(grace_seconds) for one in (self._worker, self.sender, self.posting))
                    )
                await self.sweeps.close()
                await self.arrivals.stop()
                await self.reports.stop()
                await self.mails.stop()
                await self.mail_events.stop()
                await self.desk.stop()
                await self.hub.stop()
                await self.dialler.close()
                await self._outside.close()
                await self.directory.stop()
                await self.database.close()
        except TimeoutError:
            log.warning("service.stopped_late")

    async def readiness(self) -> dict[str, Any]:
        """Whether this process can do its work, and the figures that say so."""
        try:
            async with asyncio.timeout(3):
                current = await migrations.is_current(self.database)
                queue_age = await jobs.queue_age(self.database)
                waiting = await outbox.waiting(self.database)
        except asyncpg.InvalidAuthorizationSpecificationError:  # the roles are made by the first migration
            return _unready(database=True, migrations=False)
        except (SQLAlchemyError, OSError, TimeoutError) as error:
            log.warning("readiness.no_database", error=type(error).__name__)
            is_behind = isinstance(error, ProgrammingError)  # it answers that there is no such table or column
            return _unready(database=is_behind, migrations=False if is_behind else None)
        lag = self.hub.lag()
        return {
            "ready": current,  # what is late elsewhere is no reason to take no more webhooks here
            "database": True,
            "migrations": current,
            "queueAgeSeconds": round(queue_age, 3),
            "outboxAgeSeconds": round(waiting.age_seconds, 3),
            "hubLagSeconds": round(lag, 3),
        }

    async def _warn_if_behind(self) -> None:
        with contextlib.suppress(SQLAlchemyError, asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError):
            async with asyncio.timeout(3):
                is_current = False
                with contextlib.suppress(asyncpg.InvalidAuthorizationSpecificationError):
                    is_current = await migrations.is_current(self.database)
                if not is_current:
                    log.warning("schema.not_current", needed=migrations.head(), remedy="run `comms db upgrade`")

    async def measure(self) -> None:
        """The gauges are current: called before they are read."""
        metrics.HUB_LAG.set(self.hub.lag())
        metrics.SOCKETS.set(self.hub.sockets)
        for groups in (self.arrivals, self.reports, self.mails, self.mail_events):
            metrics.WAITING.labels(groups.name).set(groups.waiting)
        with contextlib.suppress(SQLAlchemyError, OSError, TimeoutError):
            async with asyncio.timeout(2):
                metrics.QUEUE_AGE.set(await jobs.queue_age(self.database))
                waiting = await outbox.waiting(self.database)
                metrics.OUTBOX.set(waiting.messages)
                metrics.OUTBOX_AGE.set(waiting.age_seconds)
                async with self.database.everywhere() as db:
                    metrics.note_standing(await records.standing(db))

    def _told(self, told: Told) -> None:
        self.hub.told(told)
