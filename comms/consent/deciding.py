"""Whether something may be sent now: asked once before it is queued, and again at the moment of sending."""

import uuid
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from comms.consent.addresses import whom, whose
from comms.consent.hours import opens_at, quiet_hours, zones_of
from comms.consent.ledger import fetch
from models.communications.conversations import ConversationChannel


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """Something that is about to be sent: to which address, from which sender of ours, and why.

    ``is_reply``: the contact has written, or called, and this answers it. ``is_automatic``: no person wrote it (a
    campaign, an agent, an automation). ``message_id`` is the message's, once it is a row: so the one message that
    confirms an opt-out is known.
    """

    workspace_id: uuid.UUID
    channel: ConversationChannel
    address: str
    sender: str
    is_reply: bool
    at: datetime
    is_automatic: bool = False
    message_id: uuid.UUID | None = None


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """May it be sent? ``allowed``; or refused for good, which ``code`` and ``words`` explain; or ``not_before``.

    Codes: ``allowed``, ``answer`` (confirms an opt-out, or helps), ``opted_out``, ``in_review``, ``quiet_hours``.
    """

    code: str
    words: str
    not_before: datetime | None = None
    time_zone: str | None = None
    consent_id: uuid.UUID | None = None
    entry_id: uuid.UUID | None = None

    @property
    def allowed(self) -> bool:
        """It may be sent now."""
        return self.code in ("allowed", "answer")

    @property
    def refused(self) -> bool:
        """It must not be sent, now or later."""
        return self.code in ("opted_out", "in_review")

    def explained(self, at: datetime) -> dict[str, Any]:
        """The decision as it stands at the message, under ``metadata.consent``."""
        said: dict[str, Any] = {"decision": self.code, "because": self.words, "decidedAt": _stamp(at)}
        if self.not_before is not None:
            said["notBefore"] = _stamp(self.not_before)
        if self.time_zone is not None:
            said["timezone"] = self.time_zone
        if self.entry_id is not None:
            said["consentId"], said["entryId"] = str(self.consent_id), str(self.entry_id)
        return said


# Each look-up stands alone and is a probe of a key, for a campaign asks about a hundred thousand at once.
_FIND = """
SELECT c.id AS consent_id, c.entry_id, c.state, c.source, c.since, c.heard_at, c.sender, w.settings,
    (SELECT k.timezone FROM contact_points p JOIN contacts k ON k.workspace_id = p.workspace_id AND k.id = p.contact_id
        WHERE p.workspace_id = i.workspace_id AND p.value_key = i.address
            AND p.kind = CASE WHEN i.address LIKE '%@%' THEN 'email' ELSE 'phone' END) AS timezone,
    (SELECT r.created_at FROM opt_out_reviews r
        WHERE r.workspace_id = i.workspace_id AND r.address = i.address AND r.state = 'open'
        ORDER BY r.created_at DESC LIMIT 1) AS in_review_since,
    i.message_id IS NOT NULL AND EXISTS (SELECT FROM consent_entries e
        WHERE e.workspace_id = i.workspace_id AND e.answer_message_id = i.message_id) AS is_answer
FROM unnest($1::uuid[], $2::text[], $3::text[], $4::uuid[]) WITH ORDINALITY
    AS i (workspace_id, address, sender, message_id, ord)
JOIN workspaces w ON w.id = i.workspace_id
LEFT JOIN LATERAL (
    SELECT c.* FROM consents c
    WHERE c.workspace_id = i.workspace_id AND c.address = i.address AND c.sender IN (i.sender, '*', (
        SELECT n.messaging_service_sid FROM workspace_phone_numbers n
        WHERE n.workspace_id = i.workspace_id AND n.phone_number = i.sender))
    ORDER BY c.heard_at DESC, c.state DESC LIMIT 1
) c ON true
ORDER BY i.ord
"""

ALLOWED = Decision(code="allowed", words="nothing speaks against it")
_ANSWER = Decision(code="answer", words="it is the one answer to what they said about hearing from us")
_IN_REVIEW = "they seem to have asked us to stop, in words of their own: a member has to say whether they did"


async def decide(db: Any, questions: Sequence[Question]) -> list[Decision]:
    """A decision for each question, in their order, by one statement; ``db`` is a session or an asyncpg connection."""
    if not questions:
        return []
    rows = await fetch(
        db,
        _FIND,
        [question.workspace_id for question in questions],
        [whom(question.address) for question in questions],
        [whose(question.sender) for question in questions],
        [question.message_id for question in questions],
    )
    return [_decided(question, row) for question, row in zip(questions, rows, strict=True)]


def _decided(question: Question, row: Any) -> Decision:
    if row["is_answer"]:
        return _ANSWER
    known = {"consent_id": row["consent_id"], "entry_id": row["entry_id"]}
    if row["state"] == "opted_out":
        return Decision(code="opted_out", words=_said(row), **known)
    if _is_in_review(row) and (question.is_automatic or not question.is_reply):
        return Decision(code="in_review", words=_IN_REVIEW)
    later = _later(question, row)
    if later is not None:
        return later
    return ALLOWED if row["state"] is None else Decision(code="allowed", words=_said(row), **known)


def _is_in_review(row: Any) -> bool:
    """Whether plain words wait for a person, and they have not said "start" since."""
    waits_since = row["in_review_since"]
    return waits_since is not None and (row["state"] is None or row["heard_at"] < waits_since)


def _later(question: Question, row: Any) -> Decision | None:
    """It has to wait: it is night where they are."""
    if question.is_reply or question.channel == "email":
        return None
    settings = row["settings"] if isinstance(row["settings"], dict) else msgspec.json.decode(row["settings"])
    quiet = quiet_hours(settings, automatic=question.is_automatic)
    if quiet is None:
        return None
    zones = (row["timezone"],) if row["timezone"] else zones_of(whom(question.address))
    opens, zone = opens_at(question.at, quiet, zones, settings.get("timezone") or "UTC")
    if opens <= question.at:
        return None
    return Decision(
        code="quiet_hours",
        words=f"it is not an answer, and where they are ({zone}) quiet hours last from {quiet.start:%H:%M}"
        f" to {quiet.end:%H:%M}",
        not_before=opens,
        time_zone=zone,
    )


_HOW = {
    "keyword": "they wrote so",
    "provider": "they wrote so, and the provider has understood it",
    "review": "they wrote so, and a member has confirmed it",
    "carrier": "the carrier says so",
    "unsubscribe": "they have unsubscribed",
    "resubscribe": "they have subscribed again",
    "complaint": "they have called a mail of ours spam",
    "bounce": "their mailbox does not exist",
    "person": "a member has entered it",
    "chat": "they have agreed to it in a chat",
}


def _said(row: Any) -> str:
    wants = "do not want to hear" if row["state"] == "opted_out" else "want to hear"
    of = "us at all" if row["sender"] == "*" else row["sender"]
    return f"they {wants} from {of} since {row['since'].astimezone(UTC):%Y-%m-%d %H:%M} UTC: {_HOW[row['source']]}"


def _stamp(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
