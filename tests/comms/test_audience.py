"""Who hears what."""

import pytest

from comms.audience import Listener, audience_of
from models.base import new_id

ME, OTHER = new_id(), new_id()
MINE = b'{"userId":"%s"}' % str(ME).encode()


@pytest.mark.parametrize(
    ("noun", "me", "another", "an_administrator"),
    [
        ("message", True, True, True),
        ("notification", True, False, False),
        ("access_token", True, False, True),
        ("workspace_api_key", False, False, True),
    ],
)
def test_an_event_is_heard_by_whom_it_concerns(noun: str, me: bool, another: bool, an_administrator: bool) -> None:
    audience = audience_of(noun, MINE)
    assert audience.includes(Listener(ME)) is me
    assert audience.includes(Listener(OTHER)) is another
    assert audience.includes(Listener(OTHER, is_administrator=True)) is an_administrator
