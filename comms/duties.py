"""What the worker does: each job by its name, and what comes round every so many seconds."""

import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Any, Protocol

import msgspec

from comms import (
    campaigns,
    conversations,
    delivery,
    growth,
    idempotency,
    interactions,
    invitations,
    invoices,
    jobs,
    ownership,
    receipts,
)
from comms.agents import sweeps, workflow_runs
from comms.assignment import following as routing
from comms.calls import progress, queueing, texts
from comms.calls.dialling import Dialler
from comms.consent import answers, hearing
from comms.contacts import files
from comms.database import Database
from comms.hooks import endings
from comms.mail import events as mail_events
from comms.media import FETCH, REMOVE, Media
from comms.notifications import digests, following, sweeping
from comms.notifications.pushing import IS_DUE as PUSH_IS_DUE
from comms.notifications.pushing import Pushing
from comms.notifications.stopping import Stopping
from comms.outbox import SEND, lines
from comms.ownership import deadlines, leaving, moving, watching
from comms.search import following as search_following
from comms.settings import Settings
from comms.vault import Vault
from comms.workflows import engine, ticking
from comms.workflows import following as workflows_following
from comms.workflows import sweeping as workflows_sweeping
from comms.workflows.calling import Calling

Task = Callable[[], Awaitable[Any]]

HOUR = 3600.0


class Round(msgspec.Struct, frozen=True):
    """What comes round every so many seconds; with ``is_due``, which PostgreSQL is asked, only where that is true."""

    seconds: float
    task: Task
    is_due: str | None = None


class Duties(msgspec.Struct, frozen=True):
    """Jobs by their names, and what comes round."""

    jobs: Mapping[str, jobs.Handler]
    rounds: Sequence[Round]


class Again(Protocol):
    """Does kept webhooks again: one, given its workspace and its receipt, or all whose job was lost."""

    async def retry(self, workspace_id: uuid.UUID, receipt_id: uuid.UUID) -> Any: ...
    async def recall(self) -> Any: ...


class Repairing(Protocol):
    """Compares the numbers that are due with their providers' logs."""

    async def sweep_due(self) -> Any: ...


class Bell(Protocol):
    """Hears that something may be due to be sent."""

    def ring(self) -> None: ...


def of(
    database: Database,
    vault: Vault,
    settings: Settings,
    *,
    media: Media,
    replays: Again,
    sender: Bell,
    repair: Repairing,
    dialler: Dialler,
    pushing: Pushing,
    calling: Calling,
) -> Duties:
    """All there is to do for one process's worker."""

    async def fetch(payload: dict[str, Any]) -> None:
        await media.fetch(*jobs.uuids(payload, "workspaceId", "attachmentId"))

    async def remove(payload: dict[str, Any]) -> None:
        await media.remove(payload["storageKey"])

    async def do_again(payload: dict[str, Any]) -> None:
        await replays.retry(*jobs.uuids(payload, "workspaceId", "receiptId"))

    async def import_contacts(payload: dict[str, Any]) -> None:
        await files.run(database, *jobs.uuids(payload, "workspaceId", "importId"))

    async def mail_invitation(payload: dict[str, Any]) -> None:
        await invitations.mail(database, vault, settings, payload)

    stopping = Stopping(settings.security, settings.server.public_url)

    async def mail_digests() -> None:
        await digests.send_due(database, settings.smtp, stopping)

    async def redirect(payload: dict[str, Any]) -> None:
        workspace_id, leg_id, transfer_id = jobs.uuids(payload, "workspaceId", "legId", "transferId")
        since = datetime.fromisoformat(payload["since"])
        await dialler.redirect(workspace_id, leg_id, payload["kind"], transfer_id, turn=payload["turn"], since=since)

    async def end_leg(payload: dict[str, Any]) -> None:
        since = datetime.fromisoformat(payload["since"]) if "since" in payload else None
        await dialler.end(*jobs.uuids(payload, "workspaceId", "legId"), since=since)

    async def remove_queue(payload: dict[str, Any]) -> None:
        [connection_id] = jobs.uuids(payload, "connectionId")
        await dialler.remove_queue(connection_id, payload["provider"], payload["queueId"])

    def about(story: Callable[..., Awaitable[Any]], *names: str) -> jobs.Handler:
        async def handle(payload: dict[str, Any]) -> None:
            await story(*jobs.uuids(payload, "workspaceId", *names))

        return handle

    async def answer_consent(payload: dict[str, Any]) -> None:
        await answers.answer(database, *jobs.uuids(payload, "workspaceId", "entryId"))

    async def send(payload: dict[str, Any]) -> None:
        sender.ring()

    async def release() -> None:
        if await lines.release(database):
            sender.ring()

    async def join_parked() -> None:
        async with database.alone() as db:
            told = await delivery.join_all_parked(db)
        if told:
            database.on_told(told)

    return Duties(
        jobs={
            FETCH: fetch,
            REMOVE: remove,
            receipts.RETRY: do_again,
            files.RUN: import_contacts,
            invitations.MAIL: mail_invitation,
            progress.DIAL: about(dialler.dial, "legId"),
            progress.REDIRECT: redirect,
            progress.REMOVE_QUEUE: remove_queue,
            progress.END_LEG: end_leg,
            progress.RING: about(partial(queueing.ring, database), "callId"),
            progress.TEXT_BACK: about(partial(texts.text_back, database), "callId"),
            hearing.ANSWER: answer_consent,
            leaving.LET_GO: partial(leaving.let_go, database),
            SEND: send,
            workflow_runs.STEP: about(partial(engine.advance, database, calling), "executionId"),
        },
        rounds=[
            Round(1.0, search_following.reader(database).keep_up, search_following.IS_BEHIND),
            Round(0.5, following.reader(database).keep_up, following.IS_BEHIND),
            Round(0.5, workflows_following.reader(database).keep_up, workflows_following.IS_BEHIND),
            Round(1.0, partial(ticking.tick, database), ticking.IS_DUE),
            Round(1.0, release, lines.IS_DUE),
            Round(1.0, routing.reader(database).keep_up, routing.IS_DUE),
            Round(1.0, partial(growth.keep_up, database), growth.IS_DUE),
            Round(2.0, partial(queueing.ring_waiting, database), queueing.IS_DUE),
            Round(5.0, join_parked),
            Round(5.0, partial(lines.mend, database)),
            Round(5.0, partial(mail_events.join_parked, database)),
            Round(5.0, partial(conversations.wake, database)),
            Round(1.0, partial(ownership.expire_leases, database), moving.IS_DUE),
            Round(1.0, partial(deadlines.pass_deadlines, database), deadlines.IS_DUE),
            Round(15.0, partial(watching.watch, database)),
            Round(5.0, partial(interactions.come_due, database)),
            Round(1.0, pushing.push_due, PUSH_IS_DUE),
            Round(5.0, mail_digests),
            Round(15.0, partial(campaigns.start_due, database)),
            Round(60.0, partial(endings.end_those, database)),
            Round(60.0, media.recall),
            Round(60.0, replays.recall),
            Round(60.0, repair.sweep_due),
            Round(60.0, partial(invoices.fall_due, database)),
            *(Round(seconds, sweep) for seconds, sweep in sweeps.of(database)),
            Round(HOUR, partial(sweeping.sweep, database)),
            Round(HOUR, partial(endings.sweep, database)),
            Round(HOUR, partial(workflows_sweeping.sweep, database, settings.keep_runs_days)),
            Round(HOUR, partial(jobs.prune_log, database)),
            Round(HOUR, partial(idempotency.sweep, database)),
        ],
    )
