"""What SendGrid's Inbound Parse says of a mail besides the mail itself: to whom it went, and what was proven of it.

https://www.twilio.com/docs/sendgrid/for-developers/parsing-email/setting-up-the-inbound-parse-webhook
"""

import re
from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from comms.providers.base import Unreadable

Verdict = Literal["pass", "fail", "softfail", "neutral", "none", "temperror", "permerror"]

MOST_RECIPIENTS = 200
_DKIM = re.compile(r"@([A-Za-z0-9.-]{1,253})\s*:\s*([A-Za-z]+)")
_LONGEST = 2_000


class Envelope(msgspec.Struct, frozen=True):
    """Who the mail was really from and to, as SMTP had it; ``sender`` is "" for a bounce."""

    sender: str
    recipients: tuple[str, ...]


class Proofs(msgspec.Struct, frozen=True):
    """What the receiving server has proven: SPF of the envelope's sender, and the domains whose DKIM passed."""

    spf: str = "none"
    dkim: str = "none"
    envelope_domain: str = ""

    @property
    def signed_by(self) -> list[str]:
        """The domains that have signed the mail."""
        return [domain.lower() for domain, verdict in _DKIM.findall(self.dkim) if verdict.lower() == "pass"]

    def speak_for(self, address: str) -> bool:
        """Whether whoever sent it may use this address: DKIM or SPF passed, for a domain aligned with it (RFC 7489)."""
        domain = domain_of(address)
        if not domain:
            return False
        if self.spf == "pass" and aligned(domain, self.envelope_domain):
            return True
        return any(aligned(domain, signer) for signer in self.signed_by)


def domain_of(address: str) -> str:
    """What stands behind the last @, in lower case."""
    return address.rpartition("@")[2].strip(" <>.").lower()


def aligned(domain: str, proven: str) -> bool:
    """Whether they are the same domain, or one lies below the other; relaxed alignment without sister domains."""
    if "." not in domain or "." not in proven:
        return False
    return domain == proven or domain.endswith(f".{proven}") or proven.endswith(f".{domain}")


def envelope_of(text: str) -> Envelope:
    """The envelope from its JSON; ``Unreadable`` when it is not there."""
    try:
        document: Any = msgspec.json.decode(text)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise Unreadable("the envelope is not JSON") from error
    if not isinstance(document, dict):
        raise Unreadable("the envelope is not an object")
    recipients, sender = document.get("to"), document.get("from")
    if isinstance(recipients, str):
        recipients = [recipients]
    if not isinstance(recipients, list):
        raise Unreadable("the envelope names no recipient")
    named = [one.replace("\0", "").strip() for one in recipients if isinstance(one, str) and "@" in one]
    return Envelope(
        sender=sender.replace("\0", "").strip() if isinstance(sender, str) else "",
        recipients=tuple(dict.fromkeys(named[:MOST_RECIPIENTS])),
    )


def proofs_of(fields: Mapping[str, str], envelope: Envelope) -> Proofs:
    """What ``SPF`` and ``dkim`` say."""
    return Proofs(
        spf=fields.get("SPF", "none").strip().lower()[:50] or "none",
        dkim=fields.get("dkim", "none").strip()[:_LONGEST] or "none",
        envelope_domain=domain_of(envelope.sender),
    )


def charsets_of(text: str) -> Mapping[str, str]:
    """Each field's charset; empty when nothing readable is said."""
    return {name: value for name, value in _object(text).items() if isinstance(value, str)}


def attachment_facts(text: str) -> Mapping[str, Mapping[str, Any]]:
    """What ``attachment-info`` says of each attachment, by the name of its field."""
    return {name: value for name, value in _object(text).items() if isinstance(value, dict)}


def content_ids(text: str) -> Mapping[str, str]:
    """The Content-ID of each inline attachment, by the name of its field."""
    return {value: name for name, value in _object(text).items() if isinstance(value, str)}


def _object(text: str) -> dict[str, Any]:
    try:
        document = msgspec.json.decode(text)
    except (msgspec.DecodeError, ValueError, RecursionError):
        return {}
    return document if isinstance(document, dict) else {}
