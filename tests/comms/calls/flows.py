"""Flows as tests need them."""

import uuid
from typing import Any

ADA, BOB, EVE = (uuid.UUID(int=number) for number in (1, 2, 3))
PHONES = {ADA: "+14155550111", BOB: "+14155550112", EVE: "+14155550113"}
WEEKDAYS = {day: [{"from": "09:00", "to": "17:00"}] for day in ("mon", "tue", "wed", "thu", "fri")}


def document(start: str = "hello", **steps: Any) -> dict[str, Any]:
    """A flow with these steps besides a message and an end."""
    usual = {"message": {"type": "voicemail"}, "bye": {"type": "hangup", "text": "Goodbye."}}
    return {"start": start, "steps": usual | steps}


def office(**more: Any) -> dict[str, Any]:
    """Hours, a menu, people in sales and a queue for everything else."""
    return {
        "start": "hours",
        "timezone": "America/Los_Angeles",
        "missedCallText": "Sorry we missed you. What can we do for you?",
        "afterHoursText": "We are closed, and call you back in the morning.",
        "steps": {
            "hours": {
                "type": "hours",
                "schedule": WEEKDAYS,
                "holidays": [{"on": "2026-12-25", "name": "Christmas"}],
                "open": "menu",
                "closed": "message",
            },
            "menu": {
                "type": "menu",
                "text": "For sales press 1, for help press 2.",
                "choices": [
                    {"digit": "1", "next": "sales", "words": ["sales", "buy"]},
                    {"digit": "2", "next": "help", "words": ["help"]},
                ],
                "listens": True,
                "next": "message",
            },
            "sales": {"type": "ring", "users": [str(ADA), str(BOB)], "next": "message"},
            "help": {"type": "queue", "users": [str(EVE)], "text": "Please hold.", "next": "message"},
            "message": {"type": "voicemail", "text": "Please leave a message."},
        },
    } | more
