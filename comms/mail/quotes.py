"""What somebody says, and what they quote: their mail program puts the mail they answer below, each in its way.

Gmail writes a line that ends in "wrote:", Apple Mail the same and both mark what follows by ``>``; Outlook repeats the
headers. Who answers between the quoted lines is left alone: there the quotes are part of what is said.
"""

import re

_WROTE = (
    r"wrote|writes|schrieb|geschrieben|a écrit|écrit|escribió|escreveu|ha scritto|scrive|schreef|skrev|kirjoitti"
    r"|napisał\(a\)|napisał|napsal|írta|пишет|написал|写道|のメール|寫道"
)
# One line, or one that the sender's program has broken into up to three.
_ATTRIBUTION = re.compile(
    rf"^(?:>\s?)*(?:On|Am|Le|El|Il|Op|Em|Den|Dne|W dniu|På|Vào|Em|Pe|\d{{4}}).{{5,300}}?(?:{_WROTE}).{{0,40}}[:：]\s*$",
    re.DOTALL,
)
_FORWARD = (
    r"Original Message|Original Appointment|Forwarded message|Begin forwarded message|Ursprüngliche Nachricht"
    r"|Weitergeleitete Nachricht|Message d'origine|Message original|Mensaje original|Mensagem original"
    r"|Messaggio originale|Oorspronkelijk bericht|Originalmeddelande|Opprinnelig melding|Reply message"
)
_SEPARATOR = re.compile(rf"^\s*-{{2,}}\s*(?:{_FORWARD})\s*-{{2,}}\s*$", re.IGNORECASE)
_RULE = re.compile(r"^\s*_{20,}\s*$")
_FIELD = re.compile(
    r"^\*?(From|Sent|Date|To|Cc|Subject|Reply-To|Von|Gesendet|Datum|An|Betreff|De|Envoyé|Date|À|A|Objet|Enviado|Para"
    r"|Asunto|Assunto|Da|Inviato|Oggetto|Van|Verzonden|Aan|Onderwerp|Från|Skickat|Till|Ämne|Fra|Sendt|Til|Emne)\*?\s?:\*?\s",
    re.IGNORECASE,
)
_FROM = re.compile(r"^\*?(From|Von|De|Da|Van|Från|Fra)\*?\s?:\*?\s", re.IGNORECASE)


_MOST_LINES = 5_000  # of a mail: nobody's answer is longer, and the quote begins after it


class _Lines:
    """The lines of a mail, and up to where some of them are marked as quotes and others are not."""

    def __init__(self, text: str) -> None:
        self.all = text.split("\n")
        self.last_marked = self.last_own = -1
        for place, line in enumerate(self.all):
            if line.startswith(">"):
                self.last_marked = place
            elif line.strip():
                self.last_own = place

    def are_marked_from(self, place: int) -> bool:
        """Whether there is something from here on, and all of it marked."""
        return self.last_own < place <= self.last_marked

    def are_own_from(self, place: int) -> bool:
        """Whether nothing from here on is marked."""
        return self.last_marked < place


def separated(text: str) -> tuple[str, str | None]:
    """What is said, and what is quoted below it (None when nothing is); together they are the whole text."""
    lines = _Lines(text)
    for place in range(min(len(lines.all), _MOST_LINES)):
        if _begins_quote(lines, place):
            said = "\n".join(lines.all[:place]).strip()
            quoted = "\n".join(lines.all[place:]).strip()
            if said and quoted:
                return said, quoted
            break
    return text.strip(), None


def _begins_quote(lines: _Lines, place: int) -> bool:
    line = lines.all[place]
    if _SEPARATOR.match(line):
        return True
    if _RULE.match(line):
        return _are_headers(lines.all, place + 1)
    if _FROM.match(line) and (place == 0 or not lines.all[place - 1].strip() or _RULE.match(lines.all[place - 1])):
        return _are_headers(lines.all, place)
    if after := _attribution(lines.all, place):
        return lines.are_marked_from(after) or lines.are_own_from(after)
    return line.startswith(">") and lines.are_marked_from(place)


def _attribution(lines: list[str], place: int) -> int:
    """The place after a line that says who wrote when; 0 when this is none."""
    if len(lines[place].lstrip("> ")) < 5:
        return 0
    for count in (1, 2, 3):
        piece = lines[place : place + count]
        if len(piece) < count or not piece[-1].strip():
            return 0
        if _ATTRIBUTION.match("\n".join(piece)[:500]):
            return place + count
    return 0


def _are_headers(lines: list[str], place: int) -> bool:
    """Whether a mail's headers stand here, as Outlook repeats them: three at least, the first of them the sender."""
    rest = lines[place : place + 12]
    while rest and not rest[0].strip():
        rest.pop(0)
    if not rest or not _FROM.match(rest[0]):
        return False
    found = 0
    for line in rest:
        if not line.strip():
            break
        found += _FIELD.match(line) is not None
    return found >= 3
