"""What can happen: one list, which the documentation shows; that nothing else is told is watched by every test."""

import re
from pathlib import Path

import pytest

from comms.happenings import HAPPENINGS, doubt
from handlers.resource import RESOURCES
from models.base import noun_of

BECOMES = {"create": "created", "change": "updated", "delete": "deleted"}


def test_the_documentation_shows_them_all() -> None:
    lines = re.findall(r"^\| `(\w+)` \| (.*) \|$", Path("docs/events.md").read_text(), re.MULTILINE)
    assert {noun: frozenset(re.findall(r"\w+", told)) for noun, told in lines} == HAPPENINGS


def test_what_the_api_does_to_its_resources_is_among_them() -> None:
    for resource in RESOURCES:
        for verb in BECOMES.keys() & set(resource.verbs):
            assert doubt(f"{noun_of(resource.table)}.{BECOMES[verb]}") is None


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("deal.", None),
        ("deal.stage_changed", None),
        ("deals.created", "nothing ever happens to 'deals': do you mean 'deal'?"),
        ("message.recieved", "a message is never 'recieved': do you mean 'received'?"),
        ("number_sweep.exploded", "a number_sweep is never 'exploded': it is completed"),
        ("", "nothing ever happens to ''"),
    ],
)
def test_who_waits_for_what_never_happens_is_told_what_does(kind: str, reason: str | None) -> None:
    assert doubt(kind) == reason
