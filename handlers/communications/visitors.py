"""What a widget's page asks, for its visitor: outside the members' API, with a token that is good for one chat."""

import uuid
from typing import Annotated, Any

import msgspec
from litestar import Router, delete, get, patch, post
from litestar.params import FromPath, JSONBody, QueryParameter
from litestar.response import Stream
from sqlalchemy import select

from comms import metrics
from comms.chat import leaving, showing, visitors, widgets
from comms.chat.protocol import Page, Place, Said, Seq, Shown
from comms.chat.visitors import Caller, Proof, Told
from comms.errors import Forbidden, Missing, Unauthenticated
from comms.limits import Allowance
from comms.service import Service
from handlers import forms
from handlers.communications.messages import downloaded
from handlers.given import Here, Request
from handlers.guards import anybody
from models.communications import ChatMessage, ChatWidget, MessageAttachment, VisitorSession
from models.communications.chat import ContinuesBy

SESSIONS_BY_ADDRESS = Allowance(30, 10)
UPLOADS, UPLOADS_BY_ADDRESS = Allowance(10, 10), Allowance(30, 10)
TRANSCRIPTS_TO_ADDRESSEE = Allowance(5, 3600)  # whoever says that a mailbox is theirs has something sent there
ASKS = Allowance(60, 1)
TRIES = {
    401: "There is no token of this widget's, or its session has ended: begin another.",
    403: "The page is not where this widget may be.",
    429: "Too many requests: wait as long as `Retry-After` says.",
}

Key = FromPath[str]


class Begin(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """Who comes to chat; whatever they say of themselves may be said later."""

    visitor: Told = msgspec.field(default_factory=Told)
    page: Page = msgspec.field(default_factory=Page)
    identity: Annotated[
        Proof | None, msgspec.Meta(description="Whom the website knows them to be.", examples=[None])
    ] = None


class WidgetShown(msgspec.Struct, rename="camel"):
    """A widget as its page shows it."""

    key: Annotated[str, msgspec.Meta(description="Names the widget.", examples=["cw_8sK2vT9qLm4xYb1c"])]
    texts: Annotated[dict[str, str], msgspec.Meta(description="What it says.", examples=[{"greeting": "Hello!"}])]
    colours: Annotated[dict[str, str], msgspec.Meta(description="Its colours.", examples=[{"accent": "#0a7d55"}])]
    pre_chat_fields: Annotated[list[Any], msgspec.Meta(description="What it asks before the chat.", examples=[[]])]
    continues_by: Annotated[ContinuesBy | None, msgspec.Meta(description="How a chat can go on, if they agree.")]
    is_open: Annotated[
        bool,
        msgspec.Meta(description="Whether somebody is there to answer; else one leaves a message.", examples=[True]),
    ]


class Begun(msgspec.Struct, rename="camel"):
    """A session. Keep the token where the page finds it again after it is loaded anew."""

    token: str
    session_id: uuid.UUID
    visitor_id: uuid.UUID
    is_verified: Annotated[bool, msgspec.Meta(description="Whether the identity was proved.", examples=[False])]
    widget: WidgetShown


class Seen(msgspec.Struct, rename="camel"):
    """What this visitor sees. ``after`` the ``seq`` of it, whatever changes is told."""

    items: list[Shown]
    seq: Seq
    read_place: Place


class KeptView(msgspec.Struct, rename="camel"):
    """Where the visitor's message has its place."""

    id: uuid.UUID
    place: Place
    client_id: str


class Brought(msgspec.Struct, rename="camel"):
    """A file that can be sent along: its ``id`` is one of a message's ``uploadIds``."""

    id: uuid.UUID
    content_type: str
    size: int


class VisitorSaid(msgspec.Struct, rename="camel"):
    """Who the visitor is, as far as they have said."""

    name: str | None
    email: str | None
    phone: str | None
    continues_by: ContinuesBy | None


class Transcribed(msgspec.Struct, rename="camel"):
    """Where the transcript goes."""

    email: str


@get("/{widget_key:str}", operation_id="read_chat_widget", guards=[anybody], problems=TRIES)
async def widget(request: Request, service: Here, widget_key: Key) -> WidgetShown:
    """A widget as its page shows it, and whether somebody is there to answer."""
    return await _shown(service, await _widget(request, service, widget_key))


@post("/{widget_key:str}/sessions", operation_id="begin_visitor_session", guards=[anybody], problems=TRIES)
async def begin(request: Request, service: Here, widget_key: Key, data: JSONBody[Begin]) -> Begun:
    """Begin a session: its `token` is good for 30 days, and for this one chat.

    With `identity`, proved under the widget's secret, it is of the visitor who was here before under the same
    identity, on whatever device, and goes on in their chat. Without, it is a new visitor: an address they give joins
    them with its contact on our side, and shows them nothing of it.
    """
    row = await _widget(request, service, widget_key)
    address = _address(request)
    if address is not None:
        await service.desk.count([("chat_sessions_address", address, SESSIONS_BY_ADDRESS)])
    async with service.database.workspace(row.workspace_id) as db:
        try:
            session = await visitors.begin(
                db,
                service.vault,
                row,
                data.visitor,
                data.page,
                data.identity,
                request.headers.get("user-agent"),
            )
        except Forbidden:
            metrics.CHAT_REFUSED.labels("forged").inc()
            raise
    token = service.desk.tokens.token_of(row.workspace_id, session.id)
    shown = await _shown(service, row)
    return Begun(token, session.id, session.visitor_id, data.identity is not None, shown)


@patch("/{widget_key:str}/visitor", operation_id="change_visitor", guards=[anybody], problems=TRIES)
async def tell(request: Request, service: Here, widget_key: Key, data: JSONBody[Told]) -> VisitorSaid:
    """The visitor says who they are, or agrees that the chat goes on by text or mail once they have left.

    With the session's token as `Authorization: Bearer cv_…`.
    """
    caller = await _caller(request, service, widget_key)
    await service.desk.count([("chat_asks", str(caller.session_id), ASKS)])
    async with service.database.workspace(caller.workspace_id) as db:
        row = await db.get(ChatWidget, (caller.workspace_id, caller.widget_id))
        assert row is not None
        visitor = await visitors.held(db, caller.workspace_id, caller.visitor_id)
        await visitors.tell(db, row, visitor, data)
        agreed: Any = visitor.continues_by
        return VisitorSaid(visitor.name, visitor.email, visitor.phone, agreed)


@delete("/{widget_key:str}/session", operation_id="end_visitor_session", guards=[anybody], problems=TRIES)
async def end(request: Request, service: Here, widget_key: Key) -> None:
    """The session is over, and its token good for nothing any more. With the token as `Authorization: Bearer cv_…`."""
    caller = await _caller(request, service, widget_key)
    async with service.database.workspace(caller.workspace_id) as db:
        session = await db.get(VisitorSession, (caller.workspace_id, caller.session_id), with_for_update=True)
        assert session is not None
        await visitors.revoke(db, session)


@get("/{widget_key:str}/messages", operation_id="list_chat_messages", guards=[anybody], problems=TRIES)
async def messages(
    request: Request,
    service: Here,
    widget_key: Key,
    after: Annotated[
        int | None,
        QueryParameter(ge=0, description="Only what has changed since that `seq`, in the order of its changes."),
    ] = None,
) -> Seen:
    """What this visitor sees of the chat: all of it, or what has changed. With the token as `Authorization: Bearer`."""
    caller = await _caller(request, service, widget_key)
    await service.desk.count([("chat_asks", str(caller.session_id), ASKS)])
    # Asked before: whoever holds the visitor's row must not wait for the connection that writes to it, too.
    seq, read_place = await service.desk.standing_of(caller)
    async with service.database.workspace(caller.workspace_id) as db:
        await visitors.touch(db, caller)
        if after is not None:
            [items] = await showing.changed(db, [(caller.workspace_id, caller.visitor_id, after)])
        else:
            items = await showing.all_of(db, caller.workspace_id, caller.visitor_id)
    return Seen(items, max([seq if after is None else min(seq, after), *(item.seq for item in items)]), read_place)


@post("/{widget_key:str}/messages", operation_id="say_in_chat", guards=[anybody], problems=TRIES)
async def say(request: Request, service: Here, widget_key: Key, data: JSONBody[Said]) -> KeptView:
    """The visitor says something, once however often it is sent. With the token as `Authorization: Bearer cv_…`."""
    caller = await _caller(request, service, widget_key)
    kept = await service.desk.say(caller, data, _address(request))
    return KeptView(kept.id, kept.place, kept.client_id)


@post(
    "/{widget_key:str}/uploads",
    operation_id="upload_in_chat",
    guards=[anybody],
    request_max_body_size=leaving.LARGEST_UPLOAD,
    consumes="application/octet-stream",
    example="(the bytes of a picture)",
    problems={**TRIES, 413: "The file is larger than 10 MiB."},
)
async def upload(
    request: Request,
    service: Here,
    widget_key: Key,
    file_name: Annotated[
        str | None,
        QueryParameter(name="fileName", description="The name of the file, where the body is the file itself."),
    ] = None,
) -> Brought:
    """Bring a picture, a sound, a film, a document or a text, 10 MiB at most: what it is, is seen from what is in it.

    The body is the file, or a form with it as `file`; the token stands in `Authorization: Bearer cv_…`.
    """
    caller = await _caller(request, service, widget_key)
    attempts = [("chat_uploads", str(caller.session_id), UPLOADS)]
    if (address := _address(request)) is not None:
        attempts.append(("chat_uploads_address", address, UPLOADS_BY_ADDRESS))
    await service.desk.count(attempts)
    kind, parameters = request.content_type
    content, name = await request.body(), forms.name_of(file_name)
    if kind == "multipart/form-data":
        content, name = forms.file_in(content, parameters.get("boundary", "")) or (b"", None)
    kept = await leaving.bring(service.database, service.media, caller, content, name)
    return Brought(kept.id, kept.content_type, kept.size)


@get("/{widget_key:str}/files/{file_id:uuid}", operation_id="get_chat_file", guards=[anybody], problems=TRIES)
async def file(request: Request, service: Here, widget_key: Key, file_id: FromPath[uuid.UUID]) -> Stream:
    """A file of this visitor's chat. Always a download; the token stands in `Authorization: Bearer cv_…`."""
    caller = await _caller(request, service, widget_key)
    async with service.database.workspace(caller.workspace_id) as db:
        row = await db.scalar(
            select(MessageAttachment)
            .join(
                ChatMessage,
                (ChatMessage.workspace_id == MessageAttachment.workspace_id)
                & (ChatMessage.message_id == MessageAttachment.message_id),
            )
            .where(
                ChatMessage.visitor_id == caller.visitor_id,
                MessageAttachment.id == file_id,
                MessageAttachment.state == "stored",
            )
        )
    if row is None:
        raise Missing("There is no such file in this chat.")
    chunks, _, _ = await service.media.open(row)
    return downloaded(chunks, row)


@post(
    "/{widget_key:str}/transcripts",
    operation_id="mail_chat_transcript",
    guards=[anybody],
    problems={**TRIES, 422: "It cannot be mailed."},
)
async def transcribe(request: Request, service: Here, widget_key: Key) -> Transcribed:
    """Everything that was said is mailed to the visitor's e-mail address, once.

    With the token as `Authorization: Bearer cv_…`.
    """
    caller = await _caller(request, service, widget_key)
    await service.desk.count([("chat_asks", str(caller.session_id), ASKS)])
    email = await leaving.addressee_of(service.database, caller)
    whose = f"{caller.workspace_id}:{email.lower()}"
    await service.desk.count([("chat_transcripts", whose, TRANSCRIPTS_TO_ADDRESSEE)])
    await leaving.transcribe(service.database, caller, email)
    return Transcribed(email)


async def _widget(request: Request, service: Service, key: str) -> ChatWidget:
    scope: dict[str, Any] = {**request.scope}  # a guard may have found it already
    found: ChatWidget | None = scope.get("comms.widget") or await widgets.find(service.database, key)
    if found is None:
        raise Missing("There is no such widget.")
    return found


async def _shown(service: Service, row: ChatWidget) -> WidgetShown:
    by: Any = row.continues_by
    is_open = await service.desk.is_open(row)
    return WidgetShown(row.key, row.texts, row.colours, row.pre_chat_fields, by, is_open)


async def _caller(request: Request, service: Service, key: str) -> Caller:
    """The visitor whose token is sent along; of another widget's they are nobody."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer":
        raise Unauthenticated("Send the token of a session as `Authorization: Bearer cv_…`.")
    return await proved(service, token.strip(), key)


async def proved(service: Service, token: str, key: str | None = None) -> Caller:
    """The visitor whose token this is; what is forged is refused and counted."""
    try:
        caller = await visitors.identify(service.database, service.desk.tokens, token)
    except visitors.Forged:
        metrics.CHAT_REFUSED.labels("forged").inc()
        raise
    except Unauthenticated:
        metrics.CHAT_REFUSED.labels("ended").inc()
        raise
    if key is not None and caller.widget_key != key:
        metrics.CHAT_REFUSED.labels("forged").inc()
        raise visitors.Forged
    return caller


def _address(request: Request) -> str | None:
    return None if request.client is None else request.client.host


routes = Router(
    "/chat",
    tags=["chat"],
    route_handlers=[widget, begin, tell, end, messages, say, upload, file, transcribe],
)
