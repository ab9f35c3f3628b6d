"""A folder of mails that have left and reach nobody, for whoever wants to look: one ``.eml`` file each."""

import re
import tempfile
from base64 import b64decode
from collections.abc import Mapping
from datetime import UTC, datetime
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import formataddr
from pathlib import Path
from typing import Any

FOLDER = "sent-mail"
"""Its name in the data folder."""


class SentMail:
    """Keeps mails in ``folder``, in the order of their names."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def keep(self, recipient: str, content: bytes) -> Path:
        """The mail lies in a file of its own, which only its owner may read."""
        self.folder.mkdir(parents=True, exist_ok=True)
        name = re.sub(r"[^\w@.+-]", "_", recipient)[:80]
        prefix = f"{datetime.now(UTC):%Y%m%d-%H%M%S-%f}-{name}-"
        with tempfile.NamedTemporaryFile(dir=self.folder, prefix=prefix, suffix=".eml", delete=False) as file:
            file.write(content)
        return Path(file.name)

    def keep_document(self, recipient: str, document: Mapping[str, Any]) -> Path:
        """The same of a mail as SendGrid's API takes it."""
        return self.keep(recipient, composed(document).as_bytes())


def composed(document: Mapping[str, Any]) -> EmailMessage:
    """A mail as whoever gets it sees it, of what SendGrid's API was told."""
    mail = EmailMessage(policy=SMTP)
    personal = document["personalizations"][0]
    for name, people in (
        ("From", [document["from"]]),
        ("To", personal["to"]),
        ("Reply-To", [document["reply_to"]] if "reply_to" in document else []),
    ):
        if people:
            mail[name] = ", ".join(_shown(one) for one in people)
    mail["Subject"] = " ".join(document["subject"].split())
    for name, value in personal.get("headers", {}).items():
        mail[name] = value
    for place, part in enumerate(document["content"]):
        subtype = part["type"].partition("/")[2]
        if place:
            mail.add_alternative(part["value"], subtype=subtype)
        else:
            mail.set_content(part["value"], subtype=subtype)
    for file in document.get("attachments", ()):
        kind, _, subtype = file.get("type", "application/octet-stream").partition("/")
        mail.add_attachment(
            b64decode(file["content"]), maintype=kind, subtype=subtype or "octet-stream", filename=file["filename"]
        )
    return mail


def _shown(person: Mapping[str, str]) -> str:
    return formataddr((" ".join(person.get("name", "").split()), person["email"]))
