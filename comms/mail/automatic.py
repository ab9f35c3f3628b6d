"""Mail that nobody has written: bounces, replies of absent people's programs, lists. It is kept and never answered."""

import re
from email.message import Message
from typing import Literal, get_args

from comms.mail.texts import raw

Automatic = Literal["bounce", "auto_reply", "generated", "list", "bulk", "own"]
"""A bounce (or complaint); an absent person's program; another one; a list; a bulk mail; our own mail, come back."""

KINDS: tuple[Automatic, ...] = get_args(Automatic)

_DAEMON = re.compile(r"(mailer-daemon|postmaster|mail-daemon|mailerdaemon)@", re.IGNORECASE)
_AUTO_HEADERS = ("x-autoreply", "x-autorespond", "x-autoresponder", "x-auto-reply", "x-mail-autoreply")
_LIST_HEADERS = ("list-id", "list-post", "list-unsubscribe", "mailing-list", "x-mailing-list")
_AWAY = re.compile(
    r"(automatic reply|auto[- ]?reply|autoreply|out of (the )?office|automatische antwort|abwesenheitsnotiz"
    r"|réponse automatique|respuesta automática|resposta automática|risposta automatica|automatisch antwoord)\s*:",
    re.IGNORECASE,
)


def kind_of(headers: Message, envelope_sender: str | None, sender: str, subject: str) -> Automatic | None:
    """What sort of automatic mail this is; None when a person seems to have written it (RFC 3834, RFC 3464)."""
    said = raw(headers, "auto-submitted").partition(";")[0].strip().lower()
    precedence = raw(headers, "precedence").strip().lower()
    report = str(headers.get_param("report-type", "") or "") if headers.get_content_type() == "multipart/report" else ""
    if report in ("delivery-status", "feedback-report") or _DAEMON.match(sender):
        return "bounce"
    is_reply = said.startswith("auto-replied") or precedence == "auto_reply" or report == "disposition-notification"
    if is_reply or any(raw(headers, name) for name in _AUTO_HEADERS) or _AWAY.match(subject):
        return "auto_reply"
    if envelope_sender == "":  # the null sender of RFC 5321: what it sends is never to be answered
        return "bounce"
    if (said and said != "no") or report:
        return "generated"
    if any(raw(headers, name) for name in _LIST_HEADERS) or precedence == "list":
        return "list"
    if precedence in ("bulk", "junk"):
        return "bulk"
    return None
