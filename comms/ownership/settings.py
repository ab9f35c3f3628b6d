"""What a workspace has settled about its conversations: what contacts are told, and when silence is noticed."""

from collections.abc import Mapping
from typing import Annotated, Any

import msgspec

from models.communications.handoffs import Seconds, Words

DEFAULT_WITHIN_SECONDS = 300
LONGEST_SILENCE_SECONDS = 90 * 24 * 3600

Silence = Annotated[int, msgspec.Meta(ge=1, le=LONGEST_SILENCE_SECONDS)]


def _said(words: str) -> str:
    """The words; ``ValueError`` when nothing would be said."""
    if not words.strip():
        raise ValueError("must not be blank")
    return words


Said = Annotated[Words, msgspec.Meta(extra={"law": _said})]


class HandoffWords(msgspec.Struct, rename="camel", forbid_unknown_fields=True, frozen=True, kw_only=True):
    """What the contact is told when the conversation is handed on, when somebody takes it, and when nobody has."""

    handed_on: Said | None = None
    taken: Said | None = None
    expired: Said | None = None


class HandoffSettings(msgspec.Struct, rename="camel", forbid_unknown_fields=True, frozen=True, kw_only=True):
    """How long whoever is asked is given, unless the handoff says; and what contacts are told."""

    within_seconds: Seconds = DEFAULT_WITHIN_SECONDS
    words: HandoffWords = HandoffWords()


class WatchdogSettings(msgspec.Struct, rename="camel", forbid_unknown_fields=True, frozen=True, kw_only=True):
    """After how long a conversation is noticed in which we do not answer, or the contact does not; null is never.

    With ``releases`` one that we do not answer is nobody's any more, and waits for whoever is free.
    """

    unanswered_seconds: Silence | None = None
    silent_seconds: Silence | None = None
    releases: bool = False


def handoffs_of(settings: Mapping[str, Any]) -> HandoffSettings:
    """What the workspace's settings say of handoffs."""
    return msgspec.convert(settings.get("handoffs") or {}, HandoffSettings)


def watchdog_of(settings: Mapping[str, Any]) -> WatchdogSettings:
    """What they say of silence."""
    return msgspec.convert(settings.get("watchdog") or {}, WatchdogSettings)
