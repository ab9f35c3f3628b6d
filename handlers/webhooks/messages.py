"""Messages and delivery reports of the providers that text: Twilio and SignalWire."""

import structlog

from comms import metrics, receipts
from comms.arrivals import KIND as MESSAGES
from comms.arrivals import Arrival
from comms.delivery import KIND as REPORTS
from comms.delivery import Reported
from comms.directory import Connection
from comms.providers import DIALECTS
from comms.providers.base import Request, WebhookRefused
from comms.service import Service
from handlers.webhooks.answers import EMPTY_SWML, EMPTY_TWIML, NOTED, Answer
from models.base import now

log = structlog.get_logger(__name__)


async def take_message(service: Service, connection: Connection, request: Request) -> Answer:
    """A customer has written: answered once it is kept."""
    dialect = DIALECTS[connection.provider]
    opened = dialect.open(request, connection.credentials)
    answer = EMPTY_SWML if isinstance(opened.document, dict) and "message" in opened.document else EMPTY_TWIML
    try:
        message = dialect.message_of(opened)
    except WebhookRefused:
        raise
    except Exception as error:
        await _keep_failed(service, connection, request, MESSAGES, error)
        return answer
    _note_account(connection, message.account)
    await service.arrivals.add(Arrival(connection, request, message, now()))
    return answer


async def take_report(service: Service, connection: Connection, request: Request) -> Answer:
    """A provider says what became of a message: answered once it is kept."""
    dialect = DIALECTS[connection.provider]
    opened = dialect.open(request, connection.credentials)
    try:
        report = dialect.report_of(opened)
    except WebhookRefused:
        raise
    except Exception as error:
        await _keep_failed(service, connection, request, REPORTS, error)
        return NOTED
    _note_account(connection, report.account)
    await service.reports.add(Reported(connection, request, report, now()))
    return NOTED


async def _keep_failed(service: Service, connection: Connection, request: Request, kind: str, error: Exception) -> None:
    log.error("webhook.not_understood", connection_id=str(connection.id), kind=kind, error=type(error).__name__)
    await service.replays.keep_failed(receipts.Unread(connection, request, now(), kind), error)


def _note_account(connection: Connection, account: str) -> None:
    """A sub-account's number may sign with the token we hold: the secret is the proof, another id only worth a look."""
    configured = getattr(connection.credentials, "account_sid", None) or getattr(
        connection.credentials, "project_id", None
    )
    if account and configured and account != configured:
        metrics.ACCOUNT_DIFFERS.labels(connection.provider).inc()
