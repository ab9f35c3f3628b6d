"""SendGrid's side of the wire: event batches and inbound mail, signed with the private keys only a simulation has."""

from base64 import b64decode, b64encode
from collections.abc import Mapping, Sequence
from datetime import datetime
from secrets import token_hex
from typing import Any

import msgspec
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_der_private_key,
)

from comms.providers.base import Request
from comms.providers.sendgrid import SIGNATURE, TIMESTAMP, SendGridCredentials

Attachment = tuple[str, str, bytes]  # file name, content type, content


def new_keys() -> tuple[str, str]:
    """A fresh public and private key, as ``SendGridCredentials`` hold them."""
    private = ec.generate_private_key(ec.SECP256R1())
    public = private.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    secret = private.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    return b64encode(public).decode(), b64encode(secret).decode()


def event(kind: str, email: str, at: datetime, *, message_id: str | None = None, **more: Any) -> dict[str, Any]:
    """One event as SendGrid reports it; ``message_id`` is the ``X-Message-Id`` the mail was accepted under."""
    message_id = message_id or token_hex(11)
    return {
        "email": email,
        "timestamp": int(at.timestamp()),
        "smtp-id": f"<{message_id}@ismtpd-555>",
        "event": kind,
        "sg_event_id": b64encode(token_hex(12).encode()).decode(),
        "sg_message_id": f"{message_id}.filter0001.16648.5515E0B88.0",
        **more,
    }


def events(url: str, credentials: SendGridCredentials, events: Sequence[Mapping[str, Any]], now: datetime) -> Request:
    """A batch of events, each object and the array ended by CRLF as SendGrid does."""
    body = b"[" + b",\r\n".join(msgspec.json.encode(event) for event in events) + b"]\r\n"
    return _signed(url, "application/json", body, credentials.event_private_key, now)


def inbound(
    url: str,
    credentials: SendGridCredentials,
    now: datetime,
    *,
    sender: str,
    recipients: Sequence[str],
    subject: str = "Booking",
    text: str | None = "Is the 3pm slot still open?",
    html: str | None = None,
    headers: Mapping[str, str] | None = None,
    attachments: Sequence[Attachment] = (),
    dkim: str | None = None,
    spf: str = "pass",
    **more: str,
) -> Request:
    """A mail in parsed mode; ``headers`` replace or add to the usual ones, ``more`` are further fields of the form."""
    domain = sender.rpartition("@")[2].rstrip(">")
    lines = {
        "From": sender,
        "To": ", ".join(recipients),
        "Subject": subject,
        "Message-ID": f"<{token_hex(12)}@{domain}>",
        "Date": f"{now:%a, %d %b %Y %H:%M:%S %z}",
        "MIME-Version": "1.0",
        **(headers or {}),
    }
    fields = {
        "headers": "".join(f"{name}: {value}\n" for name, value in lines.items()),
        "dkim": f"{{@{domain} : pass}}" if dkim is None else dkim,
        "to": lines["To"],
        "from": sender,
        "subject": subject,
        **({} if text is None else {"text": text}),
        **({} if html is None else {"html": html}),
        "sender_ip": "192.0.2.7",
        "envelope": _json({"to": [_bare(recipient) for recipient in recipients], "from": _bare(sender)}),
        "attachments": str(len(attachments)),
        **({"attachment-info": _json(_described(attachments))} if attachments else {}),
        "charsets": _json(dict.fromkeys(("to", "from", "subject", "text", "html"), "UTF-8")),
        "SPF": spf,
        **more,
    }
    boundary = f"xYzZ{token_hex(8)}"
    body = _multipart(boundary, fields, attachments)
    return _signed(url, f"multipart/form-data; boundary={boundary}", body, credentials.parse_private_key, now)


def inbound_raw(
    url: str,
    credentials: SendGridCredentials,
    now: datetime,
    *,
    sender: str,
    recipients: Sequence[str],
    mail: bytes,
    dkim: str | None = None,
    spf: str = "pass",
) -> Request:
    """A mail in raw mode: ``mail`` is all of it, headers first."""
    domain = sender.rpartition("@")[2].rstrip(">")
    fields = {
        "dkim": f"{{@{domain} : pass}}" if dkim is None else dkim,
        "to": ", ".join(recipients),
        "from": sender,
        "sender_ip": "192.0.2.7",
        "envelope": _json({"to": [_bare(recipient) for recipient in recipients], "from": _bare(sender)}),
        "charsets": _json(dict.fromkeys(("to", "from"), "UTF-8")),
        "SPF": spf,
    }
    boundary = f"xYzZ{token_hex(8)}"
    whole = _multipart(boundary, fields, ())
    part = f'--{boundary}\r\nContent-Disposition: form-data; name="email"\r\n\r\n'.encode() + mail + b"\r\n"
    body = part + whole
    return _signed(url, f"multipart/form-data; boundary={boundary}", body, credentials.parse_private_key, now)


def _signed(url: str, content_type: str, body: bytes, private_key: str | None, now: datetime) -> Request:
    headers = {"user-agent": "SendGrid Event API", "content-type": content_type}
    if private_key is None:  # as inbound mail comes when no security policy is set
        return Request("POST", url, headers, body)
    key = load_der_private_key(b64decode(private_key), None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ValueError("a private key of SendGrid's kind is P-256")
    timestamp = str(int(now.timestamp()))
    signature = key.sign(timestamp.encode() + body, ec.ECDSA(SHA256()))
    return Request("POST", url, headers | {SIGNATURE: b64encode(signature).decode(), TIMESTAMP: timestamp}, body)


def _multipart(boundary: str, fields: Mapping[str, str], attachments: Sequence[Attachment]) -> bytes:
    parts = [
        f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
        for name, value in fields.items()
    ]
    for index, (file_name, content_type, content) in enumerate(attachments, 1):
        quoted = file_name.replace('"', "%22")
        head = f'Content-Disposition: form-data; name="attachment{index}"; filename="{quoted}"'
        parts.append(f"--{boundary}\r\n{head}\r\nContent-Type: {content_type}\r\n\r\n".encode() + content + b"\r\n")
    return b"".join(parts) + f"--{boundary}--\r\n".encode()


def _described(attachments: Sequence[Attachment]) -> dict[str, dict[str, str]]:
    return {
        f"attachment{index}": {"filename": name, "name": name, "type": content_type}
        for index, (name, content_type, _) in enumerate(attachments, 1)
    }


def _bare(address: str) -> str:
    return address.rpartition("<")[2].rstrip(">").strip()


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()
