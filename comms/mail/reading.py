"""What is in a mail: SendGrid's form as it lies in a file, in parsed mode or with the raw mail in one field.

Whatever can be read is; only without the form's boundary or its envelope is it ``Unreadable``. Blocks: for a thread.
"""

import hashlib
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from email.message import Message
from email.utils import parsedate_to_datetime
from typing import BinaryIO

import msgspec

from comms.mail import automatic, markup, mime, quotes, returned, texts
from comms.mail.letters import File, Letter
from comms.mail.mime import Part
from comms.providers import parse_form
from comms.providers.base import Unreadable
from models.types import spelt

MOST_TEXT_BYTES = 512 * 1024
MOST_FILES = 200
MOST_REFERENCES = 50
_MOST_HTML_BYTES = 2 * markup.MOST_CHARACTERS
_MOST_FIELD_BYTES = 512 * 1024
_BODIES = ("text/plain", "text/html")


class _Body(msgspec.Struct):
    """A mail's headers, its texts, and what is attached, as ``files`` and as the ``parts`` they are.

    ``hashed`` are the parts that its digest is of.
    """

    headers: Message
    plain: list[str]
    html: list[str]
    files: list[File]
    parts: list[Part]
    hashed: list[mime.Span]
    is_cut: bool = False


def letter(file: BinaryIO, size: int, content_type: str) -> Letter:
    """The mail in an Inbound Parse webhook's body of ``size`` bytes; raises ``Unreadable``."""
    said = mime.parsed(f"Content-Type: {content_type}\n".encode("latin-1", "replace"))
    boundary = texts.parameter(said, "boundary")
    if not boundary:
        raise Unreadable("the form has no boundary")
    parts: dict[str, Part] = {}
    for part in mime.form_parts(file, boundary.encode("latin-1", "replace"), size):
        name = part.headers.get_param("name", None, "content-disposition")
        if isinstance(name, str):
            parts.setdefault(name, part)
    if "envelope" not in parts:
        raise Unreadable("the form has no envelope")
    body_fields = ("email", "headers", "text", "html")
    small = {
        name: mime.read(file, part.span, _MOST_FIELD_BYTES)
        for name, part in parts.items()
        if name not in body_fields and not _is_attachment(name, part)
    }
    charsets = parse_form.charsets_of(texts.decode(small.get("charsets", b""), None))
    fields = {name: texts.decode(content, charsets.get(name)) for name, content in small.items()}
    body = _raw(file, parts["email"]) if "email" in parts else _parsed(file, parts, fields, charsets)
    return _letter(file, fields, body)


def _is_attachment(name: str, part: Part) -> bool:
    return name.removeprefix("attachment").isdigit() or texts.claimed_name(part.headers) is not None


def _raw(file: BinaryIO, part: Part) -> _Body:
    """The mail as it was sent: its tree of parts, of which the inline texts are its text."""
    headers, leaves = mime.leaves(file, part.span)
    body = _Body(headers, [], [], [], [], [leaf.span for leaf in leaves])
    left = {"text/plain": MOST_TEXT_BYTES, "text/html": _MOST_HTML_BYTES}  # of all its parts together
    for leaf in leaves:
        named = texts.claimed_name(leaf.headers)
        is_attached = leaf.headers.get_content_disposition() == "attachment" or named is not None
        if leaf.content_type in _BODIES and not is_attached:
            content, is_whole = mime.decoded(leaf, file, left[leaf.content_type])
            left[leaf.content_type] -= len(content)
            into = body.plain if leaf.content_type == "text/plain" else body.html
            if content:
                into.append(texts.decode(content, _charset(leaf.headers)))
            body.is_cut |= not is_whole
        elif len(body.files) < MOST_FILES and leaf.span.length:
            content_id = texts.message_ids(texts.raw(leaf.headers, "content-id"))
            body.parts.append(leaf)
            body.files.append(_file(leaf, [named], len(body.files), content_id[0] if content_id else None))
    return body


def _charset(headers: Message) -> str | None:
    try:
        return texts.parameter(headers, "charset")
    except (LookupError, ValueError, TypeError):
        return None


def _parsed(file: BinaryIO, parts: Mapping[str, Part], fields: Mapping[str, str], charsets: Mapping[str, str]) -> _Body:
    """The mail as SendGrid has taken it apart."""
    body = _Body(Message(), [], [], [], [], [])
    if "headers" in parts:
        body.headers = mime.parsed(mime.read(file, parts["headers"].span, mime.MOST_HEADER_BYTES))
    for name, into, most in (("text", body.plain, MOST_TEXT_BYTES), ("html", body.html, _MOST_HTML_BYTES)):
        if name in parts:
            content = mime.read(file, parts[name].span, most)
            into.append(texts.decode(content, charsets.get(name)))
            body.is_cut |= parts[name].span.length > most
            body.hashed.append(parts[name].span)
    facts = parse_form.attachment_facts(fields.get("attachment-info", ""))
    inline = parse_form.content_ids(fields.get("content-ids", ""))
    for name, part in parts.items():
        if not _is_attachment(name, part) or len(body.files) >= MOST_FILES:
            continue
        said = {key: value for key, value in facts.get(name, {}).items() if isinstance(value, str)}
        content_id = said.get("content-id") or inline.get(name)
        names = [said.get("filename"), said.get("name"), texts.claimed_name(part.headers)]
        # The form's parts are not encoded, whatever a header of theirs says.
        plain = Part(part.headers, part.span)
        body.parts.append(plain)
        body.files.append(_file(plain, names, len(body.files), content_id and content_id.strip("<> ")))
        body.hashed.append(part.span)
    return body


def _file(part: Part, names: Sequence[str | None], position: int, content_id: str | None) -> File:
    return File(
        name=texts.file_name(names, part.content_type, position),
        content_type=texts.line(part.content_type, 200),
        start=part.span.start,
        length=part.span.length,
        encoding=part.encoding,
        content_id=texts.line(content_id, 300) if content_id else None,
    )


def _letter(file: BinaryIO, fields: Mapping[str, str], body: _Body) -> Letter:
    envelope = parse_form.envelope_of(fields["envelope"])
    recipients = tuple(dict.fromkeys(map(spelt, envelope.recipients)))
    envelope = parse_form.Envelope(spelt(envelope.sender), recipients)
    # What SendGrid has decoded comes first: it is the same mail, and its own headers may be in any state.
    senders = texts.mailboxes([fields.get("from", "")]) or texts.mailboxes([texts.raw(body.headers, "from")])
    sender = senders[0] if senders else texts.Mailbox("", texts.line(envelope.sender, 320))
    sender = texts.Mailbox(sender.name, spelt(sender.address))
    subject = texts.unfolded(fields.get("subject", "")) or texts.header(body.headers, "subject")
    ids = texts.message_ids(texts.raw(body.headers, "message-id"))
    answered = texts.message_ids(texts.raw(body.headers, "in-reply-to"))
    references = texts.message_ids(texts.raw(body.headers, "references"))[-MOST_REFERENCES:]
    wanted = [spelt(box.address) for box in texts.mailboxes([texts.raw(body.headers, "reply-to")])]
    reported = returned.returned(file, body.parts, [*answered, *reversed(references)])
    said, quoted, html, has_remote_images, is_cut = _content(body)
    return Letter(
        envelope=envelope,
        proofs=parse_form.proofs_of(fields, envelope),
        sender=sender,
        senders=max(len(senders), len(body.headers.get_all("from", []))),
        reply_to=wanted[0] if wanted and wanted[0].lower() != sender.address.lower() else None,
        to=_addresses(fields, body, "to"),
        cc=_addresses(fields, body, "cc"),
        subject=subject[:1000],
        message_id=ids[0] if ids else None,
        in_reply_to=answered[0] if answered else None,
        references=tuple(references),
        written_at=_date(texts.raw(body.headers, "date")),
        said=said,
        quoted=quoted,
        html=html,
        has_remote_images=has_remote_images,
        automatic="bounce" if reported else automatic.kind_of(body.headers, envelope.sender, sender.address, subject),
        files=tuple(body.files),
        spam_score=_number(fields.get("spam_score", "")),
        digest=_digest(file, subject, body),
        is_cut=is_cut,
        returned=reported,
    )


def _content(body: _Body) -> tuple[str, str | None, str | None, bool, bool]:
    html = "\n<hr>\n".join(body.html)
    shown = markup.cleaned(html) if html.strip() else markup.Cleaned("")
    plain = "\n\n".join(text.strip() for text in body.plain if text.strip())
    said, quoted = quotes.separated(plain or markup.text_of(html))
    is_cut = body.is_cut or shown.html is None
    return said, quoted, shown.html or None, shown.has_remote_images, is_cut


def _addresses(fields: Mapping[str, str], body: _Body, name: str) -> tuple[str, ...]:
    boxes = texts.mailboxes([fields[name]]) if fields.get(name) else texts.mailboxes([texts.raw(body.headers, name)])
    return tuple(box.address for box in boxes)


def _date(text: str) -> datetime | None:
    try:
        at = parsedate_to_datetime(text)
        return (at if at.tzinfo else at.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if abs(number) < 1e6 else None


def _digest(file: BinaryIO, subject: str, body: _Body) -> str:
    """The same for the same content, however its form was delimited and whatever servers have put on top of it."""
    digest = hashlib.sha256(subject.encode())
    for span in body.hashed:
        digest.update(b"\0%d\0" % span.length)
        for piece in mime.pieces(file, span):
            digest.update(piece)
    return digest.hexdigest()
