"""A number of a provider's account, as its REST API shows it."""

from typing import Any

import msgspec


class Number(msgspec.Struct):
    """A number of the account, and where it posts what comes in."""

    sid: str
    phone_number: str
    sms_url: str = ""
    sms_fallback_url: str = ""
    voice_url: str = ""
    voice_fallback_url: str = ""
    status_callback: str = ""
    sms_application_sid: str = ""
    voice_application_sid: str = ""
    trunk_sid: str = ""

    @property
    def shown(self) -> dict[str, Any]:
        """Its resource."""
        return msgspec.structs.asdict(self) | {"capabilities": {"voice": True, "sms": True, "mms": True}}
