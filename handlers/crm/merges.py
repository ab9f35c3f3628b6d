"""Contacts that turn out to be one person, and those that may."""

import uuid
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
from litestar import Router, delete, get, post
from litestar.params import FromPath, JSONBody
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession

from comms.contacts import duplicates, merging
from comms.database import attempt
from comms.events import Actor
from handlers.crm.contacts import contacts
from handlers.given import Asker, Db, Here, Request, RowId
from handlers.guards import reader, writer
from handlers.listing import Page
from handlers.resource import READ, crud, listed
from models.crm import ContactMerge, ContactMergeView, ContactView

TRIES = 3
# A deadlock with messages that came in the same instant, or a contact that came or went between two statements.
TRANSIENT = frozenset({"40P01", "40001", "23503"})


class OtherContact(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """The contact that is the same person: it becomes part of the one in the address."""

    contact_id: uuid.UUID


class Duplicate(msgspec.Struct, rename="camel"):
    """A contact that may be the same person: how sure that is, from 1 to 100, and why."""

    contact: ContactView
    score: int
    reasons: list[duplicates.Reason]


class Duplicates(msgspec.Struct, rename="camel"):
    """The likeliest first."""

    items: list[Duplicate]


merges = crud(
    "/contact-merges",
    ContactMerge,
    ContactMergeView,
    filters=("contact_id", "merged_contact_id", "merged_by", "undone_at"),
    verbs=READ,
)


@post("/{row_id:uuid}/merge", operation_id="merge_contact", guards=[writer])
async def merge(db: Db, identity: Asker, row_id: RowId, data: JSONBody[OtherContact]) -> ContactMergeView:
    """Everything of the other contact is this one's: conversations, addresses, deals, whatever refers to it.

    Where both have an active conversation on a channel, this one's takes the other's messages, and the other's is
    archived empty. What this contact does not say of itself is filled in, tags and custom fields are united. The other
    contact is gone, for 30 days not for good: `DELETE …/merges/{mergeId}` parts them again, unless this contact has
    been deleted meanwhile, and its merges with it.
    """

    return await _patiently(db, lambda: merging.merge(db, identity, row_id, data.contact_id))


@delete("/{row_id:uuid}/merges/{merge_id:uuid}", operation_id="undo_contact_merge", guards=[writer], status_code=200)
async def part(service: Here, identity: Asker, row_id: RowId, merge_id: FromPath[uuid.UUID]) -> ContactMergeView:
    """The other contact is there again, with what it had as far as that still exists; what came since stays here."""

    async with service.database.workspace(identity.workspace_id, Actor("user", identity.user_id)) as db:
        return await _patiently(db, lambda: merging.part(db, identity, row_id, merge_id))


@listed(merges, "/{contact_id:uuid}/merges", operation_id="list_merges_of_contact")
async def of_contact(
    request: Request, db: Db, identity: Asker, contact_id: FromPath[uuid.UUID], asked: Any
) -> Page[ContactMergeView]:
    """The contacts that have become part of this one."""
    await contacts.find(db, identity, contact_id)
    return await merges.listing.page(db, request, asked, ContactMerge.contact_id == contact_id)


@get("/{row_id:uuid}/duplicates", operation_id="list_duplicates_of_contact", guards=[reader])
async def suggest(db: Db, identity: Asker, row_id: RowId) -> Duplicates:
    """Contacts that may be the same person, at most 20: by name, by e-mail address, by phone number."""
    contact = await contacts.find(db, identity, row_id)
    found = await duplicates.suggest(db, contact)
    return Duplicates([Duplicate(contacts.shown(other), score, reasons) for other, score, reasons in found])


async def _patiently(db: AsyncSession, story: Callable[[], Awaitable[ContactMerge]]) -> ContactMergeView:
    """The story, begun again when it met somebody who was on the way in: what it held is let go of before."""
    for time in range(1, TRIES + 1):
        try:
            async with attempt(db):
                view: ContactMergeView = merges.shown(await story())
            return view
        except DBAPIError as error:
            if time == TRIES or getattr(error.orig, "sqlstate", None) not in TRANSIENT:
                raise
    raise AssertionError("unreachable")


routes: list[Router] = [Router("/contacts", route_handlers=[merge, part, of_contact, suggest]), merges.router()]
