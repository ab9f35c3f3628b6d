"""What workflows do in the CRM and with conversations: the same stories that the API tells, in the step's commit."""

import uuid
from collections.abc import Awaitable, Callable, Mapping
from typing import Annotated, Any, NamedTuple

import msgspec
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from comms import contacts, conversations, deals, events, mentions, prospects, shapes
from comms.errors import Invalid, Missing
from comms.reading import read
from comms.workflows import references, values
from comms.workflows.acting import Action, Check, Done, Effect, Here, Place
from models.base import Base, View, noun_of
from models.communications import Conversation, ConversationView
from models.crm import Contact, ContactView, Deal, DealView, Prospect, ProspectView

Tag = Annotated[str, msgspec.Meta(min_length=1, max_length=100)]


class Made(msgspec.Struct):
    """A row with these values."""

    values: dict[str, Any]


class Changed(msgspec.Struct):
    """The row has these values."""

    id: uuid.UUID
    values: dict[str, Any]


class Tagged(msgspec.Struct):
    """A label of a row."""

    id: uuid.UUID
    tag: Tag


class Given(msgspec.Struct, rename="camel"):
    """A conversation, and the member whose it is to be."""

    id: uuid.UUID
    user_id: uuid.UUID


class Meant(msgspec.Struct):
    """A conversation."""

    id: uuid.UUID


class Kind(NamedTuple):
    """A table that workflows write: its view, and the stories that make and change its rows.

    ``begin`` refuses what no row can begin with.
    """

    table: Any
    view: type[View]
    make: Callable[[AsyncSession, uuid.UUID, dict[str, Any]], Awaitable[Any]]
    change: Callable[[AsyncSession, Any, dict[str, Any]], Awaitable[None]]
    without: tuple[str, ...] = ()
    begin: Callable[[uuid.UUID, dict[str, Any]], Any] | None = None


async def _begin_deal(db: AsyncSession, workspace_id: uuid.UUID, given: dict[str, Any]) -> Deal:
    row = deals.begin(workspace_id, given)
    db.add(row)
    return row


async def _change_deal(db: AsyncSession, row: Deal, given: dict[str, Any]) -> None:
    deals.change(row, given)


async def _begin_prospect(db: AsyncSession, workspace_id: uuid.UUID, given: dict[str, Any]) -> Prospect:
    row = prospects.begin(workspace_id, given)
    db.add(row)
    return row


async def _change_prospect(db: AsyncSession, row: Prospect, given: dict[str, Any]) -> None:
    prospects.change(row, given)


KINDS: Mapping[str, Kind] = {
    "contact": Kind(Contact, ContactView, contacts.create, contacts.change),
    "deal": Kind(Deal, DealView, _begin_deal, _change_deal, ("stage",), deals.begin),
    "prospect": Kind(Prospect, ProspectView, _begin_prospect, _change_prospect, ("stage",), prospects.begin),
}


def _making(kind: Kind) -> Action:
    shape = shapes.create_shape(kind.table, kind.view)

    async def effect(here: Here) -> Done:
        given = shapes.given(read(shape, here.seen.values, f"{here.place}.values"))
        await _expect_named(here, kind, given)
        row = await kind.make(here.db, here.run.workspace_id, given)
        return await _told(here, row, kind.view, "created")

    async def check(place: Place) -> dict[str, str]:
        errors, known = await _check_values(place, kind, shape)
        if not errors and kind.begin is not None:
            try:
                kind.begin(place.workspace_id, {name: known[name] for name in _BEGINNING if name in known})
            except Invalid as error:
                errors = _below(place.place, error.errors)
        return errors

    return Action(Made, effect, check, right="writing")


def _changing(kind: Kind) -> Action:
    shape = shapes.change_shape(kind.table, kind.view, without=kind.without)

    async def effect(here: Here) -> Done:
        row = await _held(here, kind.table)
        before = _shown(row, kind.view)
        given = shapes.given(read(shape, here.seen.values, f"{here.place}.values"))
        await _expect_named(here, kind, {name: value for name, value in given.items() if value != getattr(row, name)})
        await kind.change(here.db, row, given)
        return await _told(here, row, kind.view, "updated", before)

    async def check(place: Place) -> dict[str, str]:
        errors, _ = await _check_values(place, kind, shape)
        return errors | await references.missing(place, kind.table)

    return Action(Changed, effect, check, right="writing")


_BEGINNING = ("stage", "probability")
"""The fields by which it is seen whether a row can begin so."""


async def _check_values(place: Place, kind: Kind, shape: type[msgspec.Struct]) -> tuple[dict[str, str], dict[str, Any]]:
    """What is wrong with the values, as far as they are known; and those that are, by the names of their columns."""
    sent = place.step.inputs.get("values")
    if not isinstance(sent, dict):
        return {}, {}
    known = {name: value for name, value in sent.items() if not values.is_open(value)}
    later = sent.keys() - known.keys()
    names = {field.encode_name: field.name for field in msgspec.structs.fields(shape)}
    errors = {f"{place.place}.values.{name}": "is not a field here" for name in later - names.keys()}
    try:
        read(shape, known, f"{place.place}.values")
    except Invalid as error:
        errors |= {name: why for name, why in error.errors.items() if name.rpartition(".")[2] not in later}
    if errors:
        return errors, {}
    sound = {names[name]: value for name, value in known.items()}
    wrong = await references.wrong_in(place.db, place.workspace_id, kind.table, sound)
    return _below(place.place, wrong), sound


async def _expect_named(here: Here, kind: Kind, given: Mapping[str, Any]) -> None:
    """Whatever these values of a row name is there, and whoever they give it to; raises ``Invalid``."""
    if wrong := await references.wrong_in(here.db, here.run.workspace_id, kind.table, given):
        raise Invalid(_below(here.place, wrong))


def _below(place: str, errors: Mapping[str, str]) -> dict[str, str]:
    return {f"{place}.values.{name}": reason for name, reason in errors.items()}


def _tagging(kind: type[Base], view: type[View], *, adds: bool) -> Effect:
    async def effect(here: Here) -> Done:
        row: Any = await _held(here, kind)
        before = _shown(row, view)
        if isinstance(row, Conversation):
            (conversations.tag if adds else conversations.untag)(row, here.seen.tag)
        else:
            others = [tag for tag in row.tags if tag != here.seen.tag]
            row.tags = [*others, here.seen.tag] if adds and here.seen.tag not in row.tags else row.tags
            row.tags = row.tags if adds else others
        return await _told(here, row, view, "updated", before)

    return effect


def _checking_tag(kind: type[Base]) -> Check:
    """The row is there if it is known which, and a conversation's tag is one that it can have."""

    async def check(place: Place) -> dict[str, str]:
        errors, tag = await references.missing(place, kind), place.said.get("tag")
        try:
            if isinstance(tag, str) and (not tag.strip() or (kind is Conversation and not conversations.tidy([tag]))):
                errors[f"{place.place}.tag"] = "must not be empty"
        except Invalid as error:
            errors[f"{place.place}.tag"] = error.errors["tags"]
        return errors

    return check


async def _assign(here: Here) -> Done:
    """The conversation is this member's."""
    row = await _held(here, Conversation)
    await conversations.assign(here.db, row, here.seen.user_id)
    return Done({"id": str(row.id), "assignedTo": str(here.seen.user_id)})


async def _check_assignee(place: Place) -> dict[str, str]:
    errors, user_id = await references.missing(place, Conversation), place.said.get("userId")
    if user_id is None:
        return errors
    meant = uuid.UUID(user_id)
    hindered = await mentions.no_answerers_of(place.db, place.workspace_id, [meant])
    return errors | ({f"{place.place}.userId": hindered[meant]} if meant in hindered else {})


async def _check_meant(place: Place) -> dict[str, str]:
    return await references.missing(place, Conversation)


async def _close(here: Here) -> Done:
    """The conversation is closed; one that was is so already."""
    row = await _held(here, Conversation)
    if row.status == "active":
        await conversations.enter(here.db, row, conversations.CLOSURE)
    return Done({"id": str(row.id), "status": row.status})


async def _held(here: Here, table: Any) -> Any:
    """The row, locked until the commit."""
    row = await here.db.scalar(
        select(table)
        .where(table.workspace_id == here.run.workspace_id, table.id == here.seen.id)
        .with_for_update(key_share=True)
        .execution_options(populate_existing=True)
    )
    if row is None:
        raise Missing(f"There is no {noun_of(table).replace('_', ' ')} {here.seen.id} in this workspace.")
    return row


async def _told(here: Here, row: Any, view: type[View], what: str, before: Any = None) -> Done:
    await here.db.flush()
    await here.db.refresh(row)
    shown = _shown(row, view)
    if before is None or shown != before:
        events.record(here.db, f"{noun_of(type(row))}.{what}", row, shown, before=before)
    return Done(msgspec.json.decode(events.encode(shown)))


def _shown(row: Any, view: type[View]) -> Any:
    return msgspec.convert(row, view, from_attributes=True)


ACTIONS: dict[str, Action] = {
    **{f"create_{name}": _making(kind) for name, kind in KINDS.items()},
    **{f"update_{name}": _changing(kind) for name, kind in KINDS.items()},
    **{
        f"{verb}_{noun_of(table)}": Action(
            Tagged, _tagging(table, view, adds=verb == "tag"), _checking_tag(table), right="writing"
        )
        for verb in ("tag", "untag")
        for table, view in ((Contact, ContactView), (Conversation, ConversationView))
    },
    "assign_conversation": Action(Given, _assign, _check_assignee, right="writing"),
    "close_conversation": Action(Meant, _close, _check_meant, right="writing"),
}
