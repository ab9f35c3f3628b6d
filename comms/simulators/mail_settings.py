"""Where SendGrid says which webhooks an account has."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from comms.providers.mail_wiring import WANTED
from comms.simulators.server import Asked, Reply, Route, is_proven

Row = Mapping[str, Any]


def routes(api_key: str, event_hooks: Sequence[Row], parse_hooks: Sequence[Row]) -> list[Route]:
    """The two listings, for whoever knows the key."""

    def listing(answer: Callable[[], dict[str, Any]]) -> Any:
        async def listed(asked: Asked) -> Reply:
            return Reply(200, answer()) if is_proven(asked, f"Bearer {api_key}") else _REFUSED

        return listed

    return [
        Route("GET", "/v3/user/webhooks/event/settings/all", listing(lambda: {"webhooks": list(event_hooks)})),
        Route("GET", "/v3/user/webhooks/parse/settings", listing(lambda: {"result": list(parse_hooks)})),
    ]


def event_hook(url: str, public_key: str) -> dict[str, Any]:
    """A webhook that posts all that is wanted of it."""
    return {"url": url, "enabled": True, "public_key": public_key, **dict.fromkeys(WANTED, True)}


_REFUSED = Reply(403, {"errors": [{"field": None, "message": "access forbidden"}]})
