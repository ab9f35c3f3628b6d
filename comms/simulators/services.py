"""Twilio's short codes and messaging services, which decide where numbers post, as its APIs show and change them."""

from collections.abc import Awaitable, Callable, Mapping

import msgspec

from comms.simulators.exchange import Exchange
from comms.simulators.numbers import Number
from comms.simulators.server import Asked, Reply, Route, basic, is_proven


class Pool(msgspec.Struct):
    """A messaging service, and the numbers in it."""

    sid: str
    numbers: list[str]
    inbound_request_url: str | None = None
    use_inbound_webhook_on_number: bool = False


def routes(exchange: Exchange, services: Mapping[str, Pool], short_codes: Mapping[str, Number]) -> list[Route]:
    """The resources beside ``exchange.routes``; ``services`` by their ids, ``short_codes`` by their digits."""

    def guarded(answers: Callable[[Asked], Reply]) -> Callable[[Asked], Awaitable[Reply]]:
        async def guarded(asked: Asked) -> Reply:
            password = getattr(exchange.credentials, "auth_token", "")
            is_ours = asked.named.get("account", exchange.account) == exchange.account
            return answers(asked) if is_ours and is_proven(asked, basic(exchange.account, password)) else _REFUSED

        return guarded

    def list_services(asked: Asked) -> Reply:
        return Reply(200, {"services": [_service(one) for one in services.values()], "meta": {"next_page_url": None}})

    def change_service(asked: Asked) -> Reply:
        found = services.get(asked.named["sid"])
        if found is None:
            return _MISSING
        found.use_inbound_webhook_on_number = asked.form.get("UseInboundWebhookOnNumber") == "true"
        return Reply(200, _service(found))

    def list_numbers(asked: Asked) -> Reply:
        rows = [{"phone_number": number} for number in _numbers(asked) if number.startswith("+")]
        return Reply(200, {"phone_numbers": rows, "meta": {"next_page_url": None}})

    def list_codes(asked: Asked) -> Reply:
        rows = [{"short_code": number} for number in _numbers(asked) if not number.startswith("+")]
        return Reply(200, {"short_codes": rows, "meta": {"next_page_url": None}})

    def _numbers(asked: Asked) -> list[str]:
        found = services.get(asked.named["sid"])
        return [] if found is None else found.numbers

    def list_short_codes(asked: Asked) -> Reply:
        wanted = asked.query.get("ShortCode")
        rows = [_short_code(one) for code, one in short_codes.items() if wanted in (None, code)]
        return Reply(200, {"short_codes": rows, "next_page_uri": None})

    def change_short_code(asked: Asked) -> Reply:
        found = next((one for one in short_codes.values() if one.sid == asked.named["sid"]), None)
        if found is None:
            return _MISSING
        found.sms_url = asked.form.get("SmsUrl", found.sms_url)
        found.sms_fallback_url = asked.form.get("SmsFallbackUrl", found.sms_fallback_url)
        return Reply(200, _short_code(found))

    account = "/2010-04-01/Accounts/{account}"
    return [
        Route("GET", "/v1/Services", guarded(list_services)),
        Route("POST", "/v1/Services/{sid}", guarded(change_service)),
        Route("GET", "/v1/Services/{sid}/PhoneNumbers", guarded(list_numbers)),
        Route("GET", "/v1/Services/{sid}/ShortCodes", guarded(list_codes)),
        Route("GET", f"{account}/SMS/ShortCodes.json", guarded(list_short_codes)),
        Route("POST", f"{account}/SMS/ShortCodes/{{sid}}.json", guarded(change_short_code)),
    ]


def _service(service: Pool) -> dict[str, object]:
    shown = msgspec.structs.asdict(service)
    del shown["numbers"]
    return shown


def _short_code(code: Number) -> dict[str, object]:
    return {
        "sid": code.sid,
        "short_code": code.phone_number,
        "sms_url": code.sms_url,
        "sms_fallback_url": code.sms_fallback_url,
    }


_REFUSED = Reply(401, {"code": 20003, "message": "Authenticate", "status": 401})
_MISSING = Reply(404, {"code": 20404, "message": "The requested resource was not found", "status": 404})
