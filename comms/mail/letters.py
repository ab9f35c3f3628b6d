"""A mail that has come, read: what is in it and what is known of it, in no provider's dialect."""

from datetime import datetime

import msgspec

from comms.mail.automatic import Automatic
from comms.mail.returned import Returned
from comms.mail.texts import Mailbox
from comms.providers.parse_form import Envelope, Proofs


class File(msgspec.Struct, frozen=True):
    """Something attached: where its content lies in the webhook's body, and under which transfer encoding."""

    name: str
    content_type: str
    start: int
    length: int
    encoding: str = ""
    content_id: str | None = None


class Letter(msgspec.Struct, frozen=True, kw_only=True):
    """One mail. ``said`` and ``quoted`` are its text; ``html`` may be shown, and None where there is none or too much.

    ``reply_to`` is where its sender wants answers, if elsewhere; this, its ``sender`` and its ``envelope`` are spelt as
    addresses are kept. ``digest`` is of its content, whatever way it took;
    ``is_cut`` when it was too long to be kept as text. ``returned`` is what a mail server says in it of a mail of ours.
    """

    envelope: Envelope
    proofs: Proofs
    sender: Mailbox
    senders: int
    reply_to: str | None
    to: tuple[str, ...]
    cc: tuple[str, ...]
    subject: str
    message_id: str | None
    in_reply_to: str | None
    references: tuple[str, ...]
    written_at: datetime | None
    said: str
    quoted: str | None
    html: str | None
    has_remote_images: bool
    automatic: Automatic | None
    files: tuple[File, ...]
    spam_score: float | None
    digest: str
    is_cut: bool
    returned: Returned | None

    @property
    def is_verified(self) -> bool:
        """Whether it is proven to come from the address it names as its sender."""
        return self.senders == 1 and self.proofs.speak_for(self.sender.address)
