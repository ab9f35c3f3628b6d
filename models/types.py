"""Column types that normalise, so that every door into a table obeys the same law.

A type with a ``normalise`` method is asked by the API before anything is written; what it raises as ``ValueError``
becomes a 400 that names the field.
"""

import re
from typing import Any

import phonenumbers
from sqlalchemy import CheckConstraint, Text
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeDecorator

_E164 = re.compile(r"\+[1-9]\d{1,14}")
_SHORT_CODE = re.compile(r"\d{3,8}")
_CHANNEL_ADDRESS = re.compile(r"(messenger|rcs):\S{1,200}")
_EMAIL = re.compile(r"[^@\s\x00-\x1f]{1,64}@[^@\s\x00-\x1f]{1,255}")
_CURRENCY = re.compile(r"[A-Z]{3}")


class _Normalised(TypeDecorator[str]):
    impl = Text
    cache_ok = True

    def normalise(self, value: str) -> str:
        raise NotImplementedError

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        return None if value is None else self.normalise(value)

    def coerce_compared_value(self, op: Any, value: Any) -> Any:
        return Text() if isinstance(value, str) else super().coerce_compared_value(op, value)


class Phone(_Normalised):
    """A person's phone number in E.164."""

    cache_ok = True

    def normalise(self, value: str) -> str:
        """``value`` in E.164; ``ValueError`` says what a phone number looks like."""
        if _E164.fullmatch(value):
            return value
        try:
            number = phonenumbers.parse(value, None)
        except phonenumbers.NumberParseException:
            number = None
        if number is None or not phonenumbers.is_possible_number(number):
            raise ValueError("is not a phone number in international form, such as +14155550123")
        return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)


class OurNumber(Phone):
    """A number of ours that people write to: E.164, a short code, or a messenger:/rcs: address."""

    cache_ok = True

    def normalise(self, value: str) -> str:
        """``value`` as webhooks name it; ``ValueError`` says what is allowed."""
        if _SHORT_CODE.fullmatch(value) or _CHANNEL_ADDRESS.fullmatch(value):
            return value
        return super().normalise(value)


class Email(_Normalised):
    """An e-mail address with its domain in lower case; the local part is kept as written."""

    cache_ok = True

    def normalise(self, value: str) -> str:
        """``value`` trimmed, domain lower-cased; ``ValueError`` when it is no address."""
        value = value.strip()
        if not _EMAIL.fullmatch(value):
            raise ValueError("is not an e-mail address, such as jane@example.com")
        local, _, domain = value.rpartition("@")
        return f"{local}@{domain.lower()}"


class Currency(_Normalised):
    """A currency's code of three letters (ISO 4217), in upper case."""

    cache_ok = True

    def normalise(self, value: str) -> str:
        """``value`` in upper case; ``ValueError`` when it is no code."""
        code = value.strip().upper()
        if not _CURRENCY.fullmatch(code):
            raise ValueError("is not a currency code of three letters, such as USD")
        return code


def is_currency(column: str) -> CheckConstraint:
    """The column holds a currency's code, whoever writes it."""
    return CheckConstraint(f"{column} ~ '^[A-Z]{{3}}$'", name=f"{column}_code")
