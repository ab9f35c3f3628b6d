"""Outbound webhooks: endpoints, their secrets, what was delivered to them, and telling it again."""

import time
import uuid
from typing import Annotated, Any

import msgspec
from litestar import Router, delete, get, patch, post
from litestar.params import JSONBody
from sqlalchemy import and_, select

from comms.errors import Forbidden, Invalid, Missing
from comms.heard import heard_by
from comms.hooks import asking, endpoints, following, replaying, signing
from handlers import shapes
from handlers.given import Asker, Db, Here, RowId
from handlers.guards import administrator
from handlers.resource import READ, crud
from models.events import Event
from models.hooks import (
    WebhookAttempt,
    WebhookAttemptView,
    WebhookDelivery,
    WebhookDeliveryView,
    WebhookEndpoint,
    WebhookEndpointView,
    WebhookReplay,
    WebhookReplayView,
    WebhookSigningSecret,
    WebhookSigningSecretView,
)

Shown = Annotated[
    str,
    msgspec.Meta(
        description="What deliveries are signed with: shown this once.",
        examples=["whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"],
    ),
]


class IssuedWebhookEndpoint(WebhookEndpointView, kw_only=True):
    """A new endpoint, and this once the secret its deliveries are signed with."""

    secret: Shown


class IssuedWebhookSigningSecret(WebhookSigningSecretView, kw_only=True):
    """A new secret, and this once its text."""

    secret: Shown


class WebhookRequest(msgspec.Struct, rename="camel"):
    """What is posted to the endpoint, but for the signature."""

    url: Annotated[str, msgspec.Meta(description="Where to.", examples=["https://example.com/comms-events"])]
    headers: Annotated[
        dict[str, str],
        msgspec.Meta(
            description="With which headers, without `webhook-signature`.",
            examples=[{"webhook-id": "evt_0198c0de_4711"}],
        ),
    ]
    body: Annotated[
        dict[str, Any],
        msgspec.Meta(description="What is told.", examples=[{"type": "contact.created", "seq": 4711, "data": {}}]),
    ]


rows = crud(
    "/webhook-endpoints",
    WebhookEndpoint,
    WebhookEndpointView,
    search=("name", "url"),
    filters=("is_active",),
    verbs=(*READ,),
    who_reads=administrator,
    who_writes=administrator,
)
secrets = crud(
    "/webhook-signing-secrets",
    WebhookSigningSecret,
    WebhookSigningSecretView,
    filters=("endpoint_id",),
    verbs=READ,
    who_reads=administrator,
    who_writes=administrator,
)
deliveries = crud(
    "/webhook-deliveries",
    WebhookDelivery,
    WebhookDeliveryView,
    filters=("endpoint_id", "seq"),
    verbs=READ,
    who_reads=administrator,
    who_writes=administrator,
)
attempts = crud(
    "/webhook-attempts",
    WebhookAttempt,
    WebhookAttemptView,
    filters=("delivery_id",),
    verbs=READ,
    who_reads=administrator,
    who_writes=administrator,
)
replays = crud(
    "/webhook-replays",
    WebhookReplay,
    WebhookReplayView,
    filters=("endpoint_id",),
    verbs=READ,
    who_reads=administrator,
    who_writes=administrator,
)
NewEndpoint: Any = rows.new
EndpointChange: Any = rows.edit
NewSecret: Any = secrets.new
NewReplay: Any = replays.new


@post("/", operation_id="create_webhook_endpoint", guards=[administrator])
async def create(db: Db, service: Here, identity: Asker, data: JSONBody[NewEndpoint]) -> IssuedWebhookEndpoint:
    """Have what happens from now on posted to an address of yours, each conversation's events in order.

    It hears what you may hear, but for what is told to single people and what happens in private channels. The secret
    is in this answer and nowhere else.
    """
    values = shapes.given(data)
    row, secret, plain = await endpoints.make(db, service.vault, service.settings.webhooks, identity, values)
    view = await rows.tell(db, identity, "created", row)
    await secrets.tell(db, identity, "created", secret)
    return IssuedWebhookEndpoint(**msgspec.structs.asdict(view), secret=plain)


@patch("/{row_id:uuid}", operation_id="change_webhook_endpoint", guards=[administrator])
async def change(
    db: Db, service: Here, identity: Asker, row_id: RowId, data: JSONBody[EndpointChange]
) -> WebhookEndpointView:
    """Another address or name, other events, or off and on.

    Switched on again it hears as you, from now on; what was waiting is delivered first, and what happened meanwhile
    only if you replay it.
    """
    values = shapes.given(data)
    if values.get("is_active") is False:
        await following.hold(db, identity.workspace_id)  # before the endpoint, as whoever deletes one does
    row = await rows.find(db, identity, row_id, to_change=True)
    before = rows.shown(row)
    await endpoints.change(db, service.settings.webhooks, identity, row, values)
    view: WebhookEndpointView = await rows.settle(db, identity, row, before)
    return view


@delete("/{row_id:uuid}", operation_id="delete_webhook_endpoint", guards=[administrator])
async def remove(db: Db, identity: Asker, row_id: RowId) -> None:
    """Nothing is told there any more; its secrets and its delivery log are gone with it."""
    await following.hold(db, identity.workspace_id)
    await rows.remove(db, identity, row_id)


@delete("/{row_id:uuid}/pause", operation_id="end_webhook_pause", guards=[administrator])
async def resume(db: Db, identity: Asker, row_id: RowId) -> None:
    """An endpoint that was down is tried again at once, with everything that waits for it."""
    row = await rows.find(db, identity, row_id, to_change=True)
    await endpoints.forgive(db, row)


@post("/", operation_id="create_webhook_signing_secret", guards=[administrator])
async def add_secret(db: Db, service: Here, identity: Asker, data: JSONBody[NewSecret]) -> IssuedWebhookSigningSecret:
    """One more secret for an endpoint: deliveries are signed with each there is, until you delete the old one."""
    endpoint_id: uuid.UUID = data.endpoint_id
    try:
        endpoint = await rows.find(db, identity, endpoint_id, to_change=True)
    except Missing:
        raise Invalid({"endpointId": "refers to nothing in this workspace"}) from None
    row, plain = await endpoints.add_secret(db, service.vault, endpoint)
    view = await secrets.tell(db, identity, "created", row)
    return IssuedWebhookSigningSecret(**msgspec.structs.asdict(view), secret=plain)


@delete("/{row_id:uuid}", operation_id="delete_webhook_signing_secret", guards=[administrator])
async def remove_secret(db: Db, identity: Asker, row_id: RowId) -> None:
    """Nothing is signed with it any more. 409 for the last one of an endpoint."""
    row = await secrets.find(db, identity, row_id)
    await endpoints.expect_another_secret(db, await rows.find(db, identity, row.endpoint_id, to_change=True))
    await secrets.remove(db, identity, row_id)


@get("/{row_id:uuid}/request", operation_id="get_webhook_request", guards=[administrator])
async def request(db: Db, identity: Asker, row_id: RowId) -> WebhookRequest:
    """What a delivery posts: the JSON, and the headers but for the signature and the time of the try.

    403 for what you may not hear of yourself.
    """
    row = await deliveries.find(db, identity, row_id)
    endpoint = await rows.find(db, identity, row.endpoint_id)
    found = (await db.execute(select(Event, and_(*heard_by(identity))).where(Event.seq == row.seq))).one_or_none()
    if found is None:
        raise Missing("Its event is no longer in the log.")
    event, may_hear = found
    if not may_hear:
        raise Forbidden("You may not hear of what it tells: ask somebody who may.")
    told = {name: getattr(event, name) for name in ("event", "at", "subject_type", "subject_id", "conversation_id")}
    told |= {"actor_type": event.actor_type, "actor_id": event.actor_id}
    told["data"] = msgspec.json.encode(event.data).decode()
    told["changes"] = None if event.changes is None else msgspec.json.encode(event.changes).decode()
    body = asking.body_of(identity.workspace_id, row.seq, told)
    signed = signing.headers_of(signing.id_of(identity.workspace_id, row.seq), int(time.time()), body, ())
    headers = {"content-type": "application/json", "user-agent": "comms", signing.ID: signed[signing.ID]}
    return WebhookRequest(asking.shown(endpoint.url), headers, msgspec.json.decode(body))


@post("/{row_id:uuid}/replay", operation_id="replay_webhook_delivery", status_code=200, guards=[administrator])
async def replay(db: Db, identity: Asker, row_id: RowId) -> WebhookDeliveryView:
    """The event is told once more, under the same `webhook-id`, at the end of its line. 409 if the endpoint is off."""
    row = await replaying.replay(db, await deliveries.find(db, identity, row_id))
    view: WebhookDeliveryView = deliveries.shown(row)
    return view


@delete(
    "/{row_id:uuid}/replay",
    operation_id="delete_webhook_delivery_replay",
    guards=[administrator],
    versioned=False,
)
async def call_off(db: Db, identity: Asker, row_id: RowId) -> None:
    """The event is not told once more, if it still waits for that: what waits is `failed`, and says why."""
    row = await deliveries.find(db, identity, row_id)
    await rows.find(db, identity, row.endpoint_id, to_change=True)
    await replaying.call_off_one(db, row)


@post("/", operation_id="create_webhook_replay", guards=[administrator])
async def replay_all(db: Db, identity: Asker, data: JSONBody[NewReplay]) -> WebhookReplayView:
    """Everything of a stretch of time that the endpoint wants to hear now is told once more, in order.

    Under the same `webhook-id`s as before, so whoever has had it knows. 409 if the endpoint is off.
    """
    row = await replaying.ask(db, identity, data.endpoint_id, data.from_at, data.until_at)
    view: WebhookReplayView = await replays.tell(db, identity, "created", row)
    return view


@delete("/{row_id:uuid}", operation_id="delete_webhook_replay", guards=[administrator])
async def call_all_off(db: Db, identity: Asker, row_id: RowId) -> None:
    """Nothing more of it is told once more: what waits is `failed`, and says why; what was delivered stays so."""
    row = await replays.find(db, identity, row_id)
    await rows.find(db, identity, row.endpoint_id, to_change=True)
    await replaying.call_off(db, await replays.find(db, identity, row_id, to_change=True))
    await replays.remove(db, identity, row_id)


routes = Router(
    "/",
    tags=["hooks"],
    route_handlers=[
        rows.router(create, change, remove, resume),
        secrets.router(add_secret, remove_secret),
        deliveries.router(request, replay, call_off),
        attempts.router(),
        replays.router(replay_all, call_all_off),
    ],
)
