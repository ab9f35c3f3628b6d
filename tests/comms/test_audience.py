"""Who hears what."""

from typing import get_args

import pytest

from comms.audience import Listener, Need, audience_of, lacks_of
from models.base import new_id
from models.core import Area

ME, OTHER = new_id(), new_id()
MINE = b'{"userId":"%s"}' % str(ME).encode()


@pytest.mark.parametrize(
    ("noun", "me", "another", "an_administrator"),
    [
        ("message", True, True, True),
        ("notification", True, False, False),
        ("access_token", True, False, True),
        ("workspace_api_key", False, False, True),
        ("session", True, False, False),
        ("workspace_invitation", True, True, True),
    ],
)
def test_an_event_is_heard_by_whom_it_concerns(noun: str, me: bool, another: bool, an_administrator: bool) -> None:
    audience = audience_of(noun, MINE)
    assert audience.includes(Listener(ME)) is me
    assert audience.includes(Listener(OTHER)) is another
    assert audience.includes(Listener(OTHER, is_administrator=True)) is an_administrator


@pytest.mark.parametrize(
    ("noun", "need"),
    [
        ("agent", ("agents", "read")),
        ("agent_pending_action", ("agents", "read")),
        ("agent_pack", ("packs", "read")),
        ("agent_template", ("packs", "read")),
        ("invoice", ("billing", "read")),
        ("expense", ("billing", "write")),
        ("workspace_member", ("members", "read")),
        ("user", ("members", "read")),
        ("workspace_invitation", ("members", "write")),
        ("agenda", None),
        ("contact", None),
    ],
)
def test_an_area_is_heard_by_who_is_permitted(noun: str, need: Need | None) -> None:
    audience = audience_of(noun, MINE)
    assert audience.includes(Listener(ME))
    everything: frozenset[Need] = lacks_of("viewer", dict.fromkeys(get_args(Area), "none"))
    assert audience.includes(Listener(ME, lacks=everything)) is (need is None)
    if need is not None:
        assert audience.includes(Listener(ME, lacks=everything - {need}))
        assert not audience.includes(Listener(ME, is_administrator=True, lacks=frozenset({need})))


def test_an_owner_lacks_nothing_whatever_was_written() -> None:
    assert lacks_of("owner", dict.fromkeys(get_args(Area), "none")) == frozenset()


def test_who_submitted_an_expense_hears_of_it_and_their_colleagues_do_not() -> None:
    audience = audience_of("expense", b'{"submittedBy":"%s"}' % str(ME).encode())
    usual = lacks_of("member", {})
    assert audience.includes(Listener(ME, lacks=usual))
    assert not audience.includes(Listener(OTHER, lacks=usual))
    assert audience.includes(Listener(OTHER, lacks=lacks_of("admin", {})))
