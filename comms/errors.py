"""What a story may refuse, in the words its caller reads.

Refused
├── Unauthenticated    we do not know who asks
├── Forbidden          we know, and they may not
├── Missing            there is no such row in their workspace
├── Conflict           it contradicts what is already there; ``fields`` are taken by the row ``conflicting_id``
├── Stale              it was meant for another version of the row; ``current`` is the one there is
├── Reused             a key that must be new came with another request
├── Unsendable         it is understood, and cannot be sent to whom it is for: ``code`` tells programs why
├── TooMany            they have asked too often: ``retry_after`` seconds
├── Unavailable        whom we would have to ask does not answer
└── Invalid            a field says what it must not; ``errors`` names each

``CannotRun`` is for the command line.
"""

import uuid
from collections.abc import Mapping, Sequence


class CannotRun(Exception):
    """A process cannot do its work here; the message says why, and what to do."""


class Refused(Exception):
    """The request is refused; ``named`` are the fields it is about, where there are any, and what to know of each."""

    named: tuple[tuple[str, str], ...] = ()

    def __init__(self, detail: str | None = None) -> None:
        self.detail = detail or (type(self).__doc__ or "").strip()
        super().__init__(self.detail)


class Unauthenticated(Refused):
    """Send a valid access token as `Authorization: Bearer …`."""


class Forbidden(Refused):
    """Your role does not allow this."""


class Missing(Refused):
    """There is no such thing in this workspace."""


class Conflict(Refused):
    """This contradicts what is already there."""

    def __init__(
        self, detail: str | None = None, *, fields: Sequence[str] = (), conflicting_id: uuid.UUID | None = None
    ) -> None:
        self.fields = fields
        self.conflicting_id = conflicting_id
        super().__init__(detail)


class Stale(Refused):
    """Somebody has changed this meanwhile."""

    def __init__(self, detail: str | None = None, *, current: str | None = None) -> None:
        self.current = current
        super().__init__(detail)


class Reused(Refused):
    """This key was used for something else."""


class Unsendable(Refused):
    """This cannot be sent; ``field`` is what to change, if anything can be."""

    def __init__(self, code: str, words: str, *, field: str = "to") -> None:
        self.code = code
        self.field = field
        self.named = ((field, words),)
        super().__init__(words)


class TooMany(Refused):
    """There were too many attempts: wait, and try again."""

    def __init__(self, retry_after: int) -> None:
        self.retry_after = retry_after
        super().__init__(f"There were too many attempts: try again in {retry_after} s.")


class Unavailable(Refused):
    """Somebody we would have to ask does not answer: try again."""


class Invalid(Refused):
    """The request is not valid."""

    def __init__(self, errors: Mapping[str, str]) -> None:
        self.errors = dict(errors)
        super().__init__("; ".join(f"{field} {reason}" for field, reason in self.errors.items()))
