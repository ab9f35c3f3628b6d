"""What is counted, for Prometheus."""

from collections.abc import Iterable
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

REGISTRY = CollectorRegistry()

WEBHOOKS = Counter(
    "comms_webhooks", "Webhooks by provider, kind and verdict.", ["provider", "kind", "verdict"], registry=REGISTRY
)
WEBHOOK_SECONDS = Histogram(
    "comms_webhook_seconds",
    "From a webhook's arrival to its answer.",
    ["kind"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5),
    registry=REGISTRY,
)
GROUP_SIZE = Histogram(
    "comms_commit_group_size",
    "Items committed in one transaction.",
    ["groups"],
    buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256, 512),
    registry=REGISTRY,
)
SPOILT = Counter(
    "comms_items_failed", "Items that failed alone and were kept as failed.", ["groups"], registry=REGISTRY
)
ACCOUNT_DIFFERS = Counter(
    "comms_account_differs",
    "Genuine webhooks whose account id is not the one their connection was configured with.",
    ["provider"],
    registry=REGISTRY,
)
COMMIT_TO_SOCKET = Histogram(
    "comms_commit_to_socket_seconds",
    "From an event's commit to its frame being written to the sockets of this process.",
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5),
    registry=REGISTRY,
)
HUB_LAG = Gauge("comms_hub_lag_seconds", "Age of the oldest event not yet written to sockets.", registry=REGISTRY)
SOCKETS = Gauge("comms_sockets", "Open websockets.", registry=REGISTRY)
CLOSED = Counter("comms_sockets_closed", "Websockets closed by us, by code.", ["code"], registry=REGISTRY)
QUEUE_AGE = Gauge("comms_queue_age_seconds", "Age of the oldest job that is due.", registry=REGISTRY)
WAITING = Gauge("comms_waiting", "Webhooks no lane has taken yet.", ["groups"], registry=REGISTRY)
SENDS = Counter(
    "comms_sends", "Messages given to providers, by what came of it.", ["provider", "outcome"], registry=REGISTRY
)
SEND_SECONDS = Histogram(
    "comms_send_seconds",
    "From a request to a provider to its answer.",
    ["provider"],
    buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 15),
    registry=REGISTRY,
)
DELIVERIES = Counter(
    "comms_webhook_deliveries",
    "Tries to deliver outbound webhooks, by what came of it.",
    ["outcome"],
    registry=REGISTRY,
)
OUTBOX_AGE = Gauge("comms_outbox_age_seconds", "Age of the oldest message that should have left.", registry=REGISTRY)
OUTBOX = Gauge("comms_outbox_messages", "Messages that should have left and have not.", registry=REGISTRY)
CHAT_REFUSED = Counter(
    "comms_chat_refused", "What visitors of chats were refused, by the reason.", ["reason"], registry=REGISTRY
)
CHAT_SOCKETS = Gauge("comms_chat_sockets", "Open websockets of visitors.", registry=REGISTRY)
MEDIA = Counter("comms_media", "Attachments fetched, by what came of it.", ["outcome"], registry=REGISTRY)
NUMBER_MISSING = Gauge(
    "comms_number_missing",
    "Messages and calls that a number's provider has in its log and we do not; none before it was first compared.",
    ["number_id"],
    registry=REGISTRY,
)
NUMBER_CHECKED = Gauge(
    "comms_number_checked_timestamp_seconds",
    "When a number was last compared with its provider's log; 0 for never.",
    ["number_id"],
    registry=REGISTRY,
)


def note_standing(numbers: Iterable[Any]) -> None:
    """How each number stands against its provider's log; a number that is gone is told of no more."""
    NUMBER_MISSING.clear()
    NUMBER_CHECKED.clear()
    for number in numbers:
        number_id = str(number.phone_number_id)
        if number.missing is not None:
            NUMBER_MISSING.labels(number_id).set(number.missing)
        NUMBER_CHECKED.labels(number_id).set(number.checked_at.timestamp() if number.checked_at else 0)
