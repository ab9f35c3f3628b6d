"""What a provider does with a number of ours: where it posts what comes in, and what may hide that.

    https://www.twilio.com/docs/phone-numbers/api/incomingphonenumber-resource
    https://www.twilio.com/docs/messaging/api/short-code-resource
    https://www.twilio.com/docs/messaging/api/service-resource

SignalWire's compatibility API repeats the first; it has no messaging services.
"""

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote, urlencode

import msgspec

from comms.providers.log import listing_of, text_of
from comms.providers.outgoing import Answer, Call
from comms.providers.rest import Account, document_of, expect_success

SETTABLE: Mapping[str, str] = {
    "sms_url": "SmsUrl",
    "sms_fallback_url": "SmsFallbackUrl",
    "voice_url": "VoiceUrl",
    "voice_fallback_url": "VoiceFallbackUrl",
    "status_callback": "StatusCallback",
}
"""A number's addresses as they are shown, and as they are set."""

APPLICATIONS: Mapping[str, str] = {
    "sms_application_sid": "SmsApplicationSid",
    "voice_application_sid": "VoiceApplicationSid",
}
"""An application whose addresses count instead of the number's own, where there is one."""

PAGE = 100


class Hooks(msgspec.Struct, frozen=True):
    """What a provider does with a number of ours: its id there, and the addresses by the provider's names.

    ``applications`` are those that count instead, by the provider's names; ``trunk`` is where calls go instead.
    """

    sid: str
    number: str
    urls: Mapping[str, str]
    applications: Mapping[str, str] = {}
    trunk: str | None = None
    is_short_code: bool = False


class Pool(msgspec.Struct, frozen=True):
    """A messaging service: where it posts what comes in to its numbers, unless it ``defers`` to their own addresses."""

    sid: str
    inbound_url: str | None
    defers: bool


def number(account: Account, phone_number: str) -> Call:
    """The request for one number of the account, or one short code."""
    if phone_number.startswith("+"):
        query = urlencode({"PhoneNumber": phone_number})
        return Call("GET", f"{account.place}/IncomingPhoneNumbers.json?{query}", basic=account.basic)
    query = urlencode({"ShortCode": phone_number})
    return Call("GET", f"{account.place}/SMS/ShortCodes.json?{query}", basic=account.basic)


def number_in(answer: Answer, phone_number: str) -> Hooks | None:
    """The number as its answer shows it; None when it is not the account's."""
    is_short_code = not phone_number.startswith("+")
    name = "short_codes" if is_short_code else "incoming_phone_numbers"
    for row in listing_of(answer, name)[name]:
        said = row.get("short_code" if is_short_code else "phone_number") if isinstance(row, dict) else None
        if str(said) == phone_number and text_of(row.get("sid")):
            return _hooks(row, phone_number)
    return None


def rewire(account: Account, hooks: Hooks, urls: Mapping[str, str]) -> Call:
    """The request after which the number's webhooks go to ``urls``, and to no application."""
    form = [(SETTABLE[name], url) for name, url in urls.items()]
    form += [(SETTABLE[name].replace("Url", "Method"), "POST") for name in urls if name.endswith("_url")]
    form += [(APPLICATIONS[name], "") for name in hooks.applications]
    kind = "SMS/ShortCodes" if hooks.is_short_code else "IncomingPhoneNumbers"
    place = f"{account.place}/{kind}/{quote(hooks.sid, safe='')}.json"
    return Call("POST", place, form=form, basic=account.basic)


def rewired_in(answer: Answer, hooks: Hooks) -> Hooks:
    """The number as it is after that."""
    document = document_of(answer)
    expect_success(answer, document)
    return _hooks(document, hooks.number)


def services(account: Account, base: str, after: str | None = None) -> Call:
    """The request for the account's messaging services, at Twilio."""
    return Call("GET", f"{messaging_at(base)}/v1/Services?{_page(after)}", basic=account.basic)


def services_in(answer: Answer) -> tuple[list[Pool], str | None]:
    """Some of them, and the query of what comes after, if anything does."""
    document = listing_of(answer, "services")
    found = [
        Pool(str(row["sid"]), text_of(row.get("inbound_request_url")), bool(row.get("use_inbound_webhook_on_number")))
        for row in document["services"]
        if isinstance(row, dict) and text_of(row.get("sid"))
    ]
    return found, _after(document)


def members(account: Account, base: str, service: str, kind: str, after: str | None = None) -> Call:
    """The request for a service's ``PhoneNumbers``, or ``ShortCodes``."""
    place = f"{messaging_at(base)}/v1/Services/{quote(service, safe='')}/{kind}"
    return Call("GET", f"{place}?{_page(after)}", basic=account.basic)


def members_in(answer: Answer, kind: str) -> tuple[list[str], str | None]:
    """Some of a service's numbers, and the query of what comes after, if anything does."""
    name, field = ("phone_numbers", "phone_number") if kind == "PhoneNumbers" else ("short_codes", "short_code")
    document = listing_of(answer, name)
    rows: Sequence[Any] = document[name]
    return [str(row[field]) for row in rows if isinstance(row, dict) and row.get(field)], _after(document)


def defer(account: Account, base: str, service: str) -> Call:
    """The request after which a service leaves what comes in to its numbers' own addresses."""
    place = f"{messaging_at(base)}/v1/Services/{quote(service, safe='')}"
    return Call("POST", place, form=[("UseInboundWebhookOnNumber", "true")], basic=account.basic)


def messaging_at(base: str) -> str:
    """Where the messaging services are beside Twilio's other resources: on a host of its own."""
    return base.replace("://api.", "://messaging.", 1)


def _hooks(row: Mapping[str, Any], phone_number: str) -> Hooks:
    is_short_code = not phone_number.startswith("+")
    return Hooks(
        sid=str(row.get("sid")),
        number=phone_number,
        urls={name: str(row.get(name) or "") for name in SETTABLE},
        applications={} if is_short_code else {name: said for name in APPLICATIONS if (said := text_of(row.get(name)))},
        trunk=text_of(row.get("trunk_sid")),
        is_short_code=is_short_code,
    )


def _page(after: str | None) -> str:
    return after or urlencode({"PageSize": PAGE})


def _after(document: Mapping[str, Any]) -> str | None:
    """The query of the next page, and no more of its address."""
    meta = document.get("meta")
    following = meta.get("next_page_url") if isinstance(meta, dict) else None
    return (following.partition("?")[2] or None) if isinstance(following, str) else None
