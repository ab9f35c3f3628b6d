"""SendGrid v3 mail/send: a mail as JSON, and what the answer to it means.

There is no idempotency key and nothing to list: a mail whose answer was lost is known by its events, which carry our
own id. https://www.twilio.com/docs/sendgrid/api-reference/mail-send/mail-send
"""

from base64 import b64encode
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from comms.providers.mail_events import OUR_ID
from comms.providers.outgoing import Accepted, Answer, Busy, Call, Outgoing, Refused, Unclear
from comms.providers.sendgrid import SendGridCredentials

LONGEST_WORDS = 300
API = "https://api.sendgrid.com"


class Enclosed(msgspec.Struct, frozen=True):
    """A file that goes with a mail."""

    name: str
    content_type: str
    content: bytes


class Headers(msgspec.Struct, frozen=True, rename="camel"):
    """What only mail knows of an ``Outgoing``: its ``mail``. ``references`` are Message-IDs without brackets.

    ``text`` is the plain text of a message whose content is HTML; ``unsubscribe`` are addresses to leave a list by.
    """

    message_id: str
    subject: str = ""
    sender_name: str | None = None
    reply_to: str | None = None
    in_reply_to: str | None = None
    references: tuple[str, ...] = ()
    is_automatic: bool = False
    html: str | None = None
    text: str | None = None
    unsubscribe: tuple[str, ...] = ()


def threading_of(headers: Headers) -> dict[str, str]:
    """The headers that hold a thread together, and that tell programs what they may do (RFC 5322, 3834, 2369)."""
    said = {"Message-ID": f"<{headers.message_id}>"}
    # Others make their ids of anything; what no header can have is not in ours.
    if headers.in_reply_to and _is_writable(headers.in_reply_to):
        said["In-Reply-To"] = f"<{headers.in_reply_to}>"
    if references := " ".join(f"<{one}>" for one in headers.references if _is_writable(one)):
        said["References"] = references
    if headers.is_automatic:
        # Where there is a way out, it answers nobody.
        how = "auto-generated" if headers.unsubscribe else "auto-replied"
        said |= {"Auto-Submitted": how, "X-Auto-Response-Suppress": "All"}
    if headers.unsubscribe:
        said["List-Unsubscribe"] = ", ".join(f"<{one}>" for one in headers.unsubscribe)
        if any(one.startswith("https:") for one in headers.unsubscribe):  # RFC 8058 has it for nothing else
            said["List-Unsubscribe-Post"] = "List-Unsubscribe=One-Click"
    return said


def _is_writable(message_id: str) -> bool:
    return message_id.isascii() and message_id.isprintable()


def send(
    outgoing: Outgoing, headers: Headers, files: Sequence[Enclosed], credentials: SendGridCredentials, base: str | None
) -> Call:
    """The request that sends the mail; ``Refused`` when these credentials cannot."""
    if credentials.api_key is None or not credentials.api_key.isascii():
        raise Refused(None, "The connection to SendGrid has no apiKey to send with.", of_connection=True)
    content = [{"type": "text/plain", "value": headers.text or outgoing.content or " "}]
    if headers.html:
        content.append({"type": "text/html", "value": headers.html})
    sender = {"email": outgoing.sender} | ({"name": headers.sender_name} if headers.sender_name else {})
    document: dict[str, Any] = {
        "personalizations": [
            {
                "to": [{"email": outgoing.recipient}],
                "headers": threading_of(headers),
                "custom_args": {OUR_ID: str(outgoing.id)},
            }
        ],
        "from": sender,
        "subject": headers.subject or "(no subject)",
        "content": content,
        # What counts clicks rewrites links, and what counts openings adds a picture: not between people.
        "tracking_settings": {"click_tracking": {"enable": False}, "open_tracking": {"enable": False}},
    }
    if headers.reply_to:
        document["reply_to"] = {"email": headers.reply_to}
    if files:
        document["attachments"] = [
            {
                "content": b64encode(file.content).decode(),
                "filename": file.name,
                "type": file.content_type,
                "disposition": "attachment",
            }
            for file in files
        ]
    proof = {"Authorization": f"Bearer {credentials.api_key}"}
    return Call("POST", f"{base or API}/v3/mail/send", json=document, headers=proof)


def accepted(answer: Answer) -> Accepted:
    """What the answer means; raises ``Refused``, ``Busy`` or ``Unclear``."""
    if 200 <= answer.status < 300:
        message_id = answer.headers.get("x-message-id", "").strip()
        if not message_id:
            raise Unclear("SendGrid took it, and did not say under which id")
        return Accepted(message_id, "queued")
    if answer.status == 429:
        raise Busy("SendGrid takes no more for the moment.", retry_after=_seconds(answer.headers.get("retry-after")))
    if answer.status >= 500 or answer.status == 408:
        raise Unclear(f"SendGrid answered {answer.status}")
    is_of_connection = answer.status in (401, 402, 403, 404) or answer.status < 400
    raise Refused(str(answer.status), _words(answer), of_connection=is_of_connection)


def _words(answer: Answer) -> str:
    """What SendGrid says is wrong."""
    try:
        document = msgspec.json.decode(answer.body)
    except msgspec.MsgspecError:
        document = {}
    errors = document.get("errors") if isinstance(document, Mapping) else None
    said = [str(one["message"]) for one in errors or () if isinstance(one, Mapping) and one.get("message")]
    return " ".join(said)[:LONGEST_WORDS] or f"SendGrid answered {answer.status}."


def _seconds(text: str | None) -> float | None:
    return float(text) if text and text.isdigit() else None
