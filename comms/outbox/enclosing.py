"""What providers take along with a message: how many items, and how large together.

https://www.twilio.com/docs/messaging/guides/accepted-mime-types and SignalWire's platform limits: an MMS of 5 MB, and
of 1.2 MB, or 750 kB from a toll-free number. What we cannot weigh, at an address elsewhere, the provider weighs.
"""

import re
from collections.abc import Mapping, Sequence

from comms.errors import Unsendable
from comms.mail import leaving
from comms.outbox.addressing import Place

MOST_ITEMS: Mapping[str, int] = {"signalwire": 8}
OF_OTHERS = 10
LARGEST: Mapping[str, int] = {"twilio": 5_000_000, "signalwire": 1_200_000}
LARGEST_TOLL_FREE = 750_000
LARGEST_WHATSAPP = 16_000_000

_TOLL_FREE = re.compile(r"\+1(800|888|877|866|855|844|833)\d{7}")


def most_of(place: Place) -> int:
    """How many items may go along."""
    return MOST_ITEMS.get(place.route.provider, OF_OTHERS)


def expect_small_enough(place: Place, sizes: Sequence[int]) -> None:
    """Together they are no more than the provider takes; else ``Unsendable``."""
    most = _largest(place)
    if most is not None and sum(sizes) > most:
        words = f"must be at most {most:,} bytes together, as {place.route.provider} takes no more"
        raise Unsendable("size", f"{words}: they are {sum(sizes):,}", field="attachmentIds")


def _largest(place: Place) -> int | None:
    if place.mail is not None:
        return leaving.MOST_BYTES
    if place.channel == "whatsapp":
        return LARGEST_WHATSAPP
    if place.route.provider == "signalwire" and _TOLL_FREE.fullmatch(place.route.from_address):
        return LARGEST_TOLL_FREE
    return LARGEST.get(place.route.provider)
