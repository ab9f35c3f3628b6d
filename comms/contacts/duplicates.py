"""Contacts that may be one person: found by what people write in more ways than one."""

import uuid
from typing import Literal

import phonenumbers
from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncSession

from models.crm import Contact, ContactPoint

Reason = Literal["sameName", "sameMailbox", "sameLocalPart", "sameNationalNumber"]

SCORES: dict[Reason, int] = {"sameMailbox": 90, "sameNationalNumber": 80, "sameName": 60, "sameLocalPart": 35}
AGREEING = 15
"""What every further reason adds."""
MOST = 20
CANDIDATES = 50
"""How many contacts are looked at for one reason; a name that more have says little."""
SHORTEST_LOCAL = 5
ROLES = frozenset({"admin", "billing", "contact", "hello", "info", "mail", "noreply", "office", "sales", "support"})
_SAME_PROVIDER = {"googlemail.com": "gmail.com"}

# Each look-up is a probe of an index, and bounded.
_BY_NAME = text(
    "SELECT id FROM contacts WHERE workspace_id = :workspace AND id <> :contact AND name_key ="
    " lower(btrim(left(CAST(:first AS text), 100) || ' ' || left(CAST(:last AS text), 100))) LIMIT :most"
)
_BY_KEY = text(
    "SELECT contact_id, value FROM contact_points WHERE workspace_id = :workspace AND contact_id <> :contact"
    " AND kind = :kind AND match_key = ANY(CAST(:keys AS text[])) LIMIT :most"
)


async def suggest(db: AsyncSession, contact: Contact) -> list[tuple[Contact, int, list[Reason]]]:
    """Contacts that may be this one, the likeliest first, each with its score and the reasons for it."""
    own = (
        await db.execute(
            select(ContactPoint.kind, ContactPoint.value).where(
                ContactPoint.workspace_id == contact.workspace_id, ContactPoint.contact_id == contact.id
            )
        )
    ).all()
    here = {"workspace": contact.workspace_id, "contact": contact.id, "most": CANDIDATES}
    reasons: dict[uuid.UUID, set[Reason]] = {}
    if contact.first_name and contact.last_name:  # one name alone is no reason
        named = {"first": contact.first_name, "last": contact.last_name}
        for row_id in (await db.execute(_BY_NAME, here | named)).scalars():
            reasons.setdefault(row_id, set()).add("sameName")
    mails = {mailbox(value) for kind, value in own if kind == "email"}
    if mails:
        rows = await db.execute(_BY_KEY, here | {"kind": "email", "keys": sorted({local for local, _ in mails})})
        for row_id, value in rows:
            local, domain = mailbox(value)
            if (local, domain) in mails:
                reasons.setdefault(row_id, set()).add("sameMailbox")
            elif len(local) >= SHORTEST_LOCAL and local not in ROLES:
                reasons.setdefault(row_id, set()).add("sameLocalPart")
    numbers = [value for kind, value in own if kind == "phone"]
    if numbers:
        rows = await db.execute(_BY_KEY, here | {"kind": "phone", "keys": sorted({value[-7:] for value in numbers})})
        for row_id, value in rows:
            if any(_is_same(value, mine) for mine in numbers):
                reasons.setdefault(row_id, set()).add("sameNationalNumber")
    scored = sorted(
        ((score(why), row_id) for row_id, why in reasons.items()), key=lambda found: (-found[0], str(found[1]))
    )
    best = scored[:MOST]
    others = await db.scalars(
        select(Contact).where(
            Contact.workspace_id == contact.workspace_id, Contact.id.in_([row_id for _, row_id in best])
        )
    )
    known = {other.id: other for other in others}
    return [
        (known[row_id], points, sorted(reasons[row_id], key=lambda reason: -SCORES[reason]))
        for points, row_id in best
        if row_id in known
    ]


def score(reasons: set[Reason]) -> int:
    """How sure it is: the best reason, and something for each that agrees."""
    return min(99, max(SCORES[reason] for reason in reasons) + AGREEING * (len(reasons) - 1))


def mailbox(address: str) -> tuple[str, str]:
    """The mailbox behind an address: case, dots and what follows a plus do not tell mailboxes apart."""
    local, _, domain = address.partition("@")
    return local.partition("+")[0].replace(".", "").lower(), _SAME_PROVIDER.get(domain, domain)


def national(number: str) -> str:
    """A number in E.164 without its country code."""
    try:
        return str(phonenumbers.parse(number, None).national_number)
    except phonenumbers.NumberParseException:
        return number.lstrip("+")


def _is_same(one: str, other: str) -> bool:
    """Whether two numbers are one without their country codes, or with one taken for part of the number."""
    mine, theirs = national(one), national(other)
    return len(mine) >= 7 and len(theirs) >= 7 and (one.endswith(theirs) or other.endswith(mine))
