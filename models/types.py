"""Column types that normalise, so that every door into a table obeys the same law.

A type with a ``normalise`` method is asked by the API before anything is written; what it raises as ``ValueError``
becomes a 400 that names the field.
"""

import re
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any
from zoneinfo import available_timezones

import idna
import phonenumbers
from croniter import croniter
from croniter.croniter import CroniterError
from sqlalchemy import CheckConstraint, Text
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeDecorator

_E164 = re.compile(r"\+[1-9][0-9]{1,14}")
_SHORT_CODE = re.compile(r"[0-9]{3,8}")
_CHANNEL_ADDRESS = re.compile(r"(messenger|rcs):\S{1,200}")
_SLUG = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_LONGEST_SLUG = 100
_HOST = re.compile(r"\.?[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*(:[1-9][0-9]{0,4})?")
_LONGEST_CRON = 200
_HIGHEST_PORT = 65_535
# What every cron knows; the random and hashed values of this library would come due at another time each time.
_CRON_FIELD = re.compile(
    r"(?:[\d*/,#L-]|jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec|sun|mon|tue|wed|thu|fri|sat)+", re.IGNORECASE
)
_CRON_STEP = re.compile(r"/(\d+)")
_CRON_VALUES = (60, 24, 31, 12, 7)
_CURRENCY = re.compile(r"[A-Z]{3}")
_LONGEST_EMAIL = 320
_EMAIL = re.compile(r"[^@\s\x00-\x1f]{1,64}@[^@\s\x00-\x1f]{1,255}")


class _Normalised(TypeDecorator[str]):
    impl = Text
    cache_ok = True

    def normalise(self, value: str) -> str:
        raise NotImplementedError

    def kept(self, value: str) -> str:
        """``value`` as the column has it, whoever it comes from; ``ValueError`` where it cannot."""
        return self.normalise(value)

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        return None if value is None else self.kept(value)

    def coerce_compared_value(self, op: Any, value: Any) -> Any:
        return Text() if isinstance(value, str) else super().coerce_compared_value(op, value)


class Phone(_Normalised):
    """A person's phone number in E.164.

    People give one that is as long as its country's are. Providers name others, and what is in E.164 is kept.
    """

    cache_ok = True

    def kept(self, value: str) -> str:
        """``value`` in E.164, however long it is."""
        return value if _E164.fullmatch(value) else self.normalise(value)

    def normalise(self, value: str) -> str:
        """``value`` in E.164; ``ValueError`` says what a phone number looks like."""
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
    """An e-mail address with its domain in lower case and as DNS writes it; the local part is kept as written."""

    cache_ok = True

    def normalise(self, value: str) -> str:
        """``value`` trimmed, its domain as DNS writes it (RFC 5891); ``ValueError`` when it is no address."""
        value = value.strip()
        local, _, domain = value.rpartition("@")
        domain = domain.strip(".").lower()
        try:
            if not domain.isascii():
                domain = idna.encode(domain, uts46=True).decode("ascii")
        except UnicodeError:
            domain = ""
        if not _EMAIL.fullmatch(f"{local}@{domain}"):
            raise ValueError("is not an e-mail address, such as jane@example.com")
        return f"{local}@{domain}"


class Cron(_Normalised):
    """When something comes due: minute, hour, day of month, month, day of week."""

    cache_ok = True

    def normalise(self, value: str) -> str:
        """``value`` with single spaces; ``ValueError`` when it is no such expression, or never comes due."""
        fields = value.split()
        expression = " ".join(fields)
        is_cron = len(fields) == 5 and len(expression) <= _LONGEST_CRON and all(map(_CRON_FIELD.fullmatch, fields))
        if not is_cron or not croniter.is_valid(expression):
            raise ValueError("is not a cron expression of five fields, such as 30 9 * * 1-5")
        for field, most in zip(fields, _CRON_VALUES, strict=True):
            if any(int(step) > most for step in _CRON_STEP.findall(field)):
                raise ValueError(f"must not step over more than there is: {field} is one of {most}")
        try:
            croniter(expression, datetime(2026, 1, 1, tzinfo=UTC)).get_next(datetime)
        except CroniterError:
            raise ValueError("never comes due") from None
        return expression


class TimeZone(_Normalised):
    """A time zone by its name in the IANA database."""

    cache_ok = True

    def normalise(self, value: str) -> str:
        """``value``; ``ValueError`` when there is no such zone."""
        if value not in time_zones():
            raise ValueError("is not a time zone of the IANA database, such as Europe/Berlin")
        return value


@lru_cache
def time_zones() -> frozenset[str]:
    """The names of all time zones, read once: asking for one by name would open files.

    This machine's own is none, nor is what a machine is delivered with that has not been told its own.
    """
    return frozenset(available_timezones()) - {"localtime", "Factory"}


class Host(_Normalised):
    """A host by its name, or ``.name`` for all below it, with a port where that is not 443."""

    cache_ok = True

    def normalise(self, value: str) -> str:
        """``value`` in lower case; ``ValueError`` says what a host looks like."""
        host = value.strip().lower().removesuffix(":443")
        name, _, port = host.partition(":")
        is_host = _HOST.fullmatch(host) and len(name) <= 253 and not name.rpartition(".")[2].isdecimal()
        if not is_host or int(port or 443) > _HIGHEST_PORT:
            raise ValueError("is not a host by its name, such as api.example.com or .example.com or example.com:8443")
        return host


class Slug(_Normalised):
    """A name that is part of an address."""

    cache_ok = True

    def normalise(self, value: str) -> str:
        """``value``; ``ValueError`` says what a slug is made of."""
        if len(value) > _LONGEST_SLUG or not _SLUG.fullmatch(value):
            raise ValueError("must be lower-case letters and digits in words joined by hyphens, such as sales-starter")
        return value


class Currency(_Normalised):
    """A currency's code of three letters (ISO 4217), in upper case."""

    cache_ok = True

    def normalise(self, value: str) -> str:
        """``value`` in upper case; ``ValueError`` when it is no code."""
        code = value.strip().upper()
        if not value.isascii() or not _CURRENCY.fullmatch(code):  # ß is SS in upper case
            raise ValueError("is not a currency code of three letters, such as USD")
        return code


_SMALL = str.maketrans("ABCDEFGHIJKLMNOPQRSTUVWXYZ", "abcdefghijklmnopqrstuvwxyz")


def spelt(email: str) -> str:
    """The e-mail address as its column keeps it; what is none, as it was written."""
    try:
        return Email().normalise(email)
    except ValueError:
        return email.strip()


def address_key(kind: str, value: str) -> str:
    """What all ways to write an address of this kind have in common: an e-mail address spelt in small letters."""
    return spelt(value).translate(_SMALL) if kind == "email" else value


def address_key_sql(kind: str, value: str) -> str:
    """The same in SQL, of a value as its column keeps it.

    The letters of ASCII only, so that it is the same in every database and in Python. Row security keeps it from being
    used with an index: as ``comms_web``, compare with what ``address_key`` has made.
    """
    return f"CASE {kind} WHEN 'email'::text THEN lower(({value} COLLATE \"C\")) ELSE {value} END"


def email_key(value: str) -> str:
    """What all ways to write an e-mail address have in common, as a column of its own has it for lists to find by."""
    return address_key("email", value)[:_LONGEST_EMAIL]


def email_key_sql(column: str) -> str:
    """The same in SQL: cut, for what a provider calls an address may be longer than an index has room for."""
    return f'lower(("left"({column}, {_LONGEST_EMAIL}) COLLATE "C"))'


def is_currency(column: str) -> CheckConstraint:
    """The column holds a currency's code, whoever writes it."""
    return CheckConstraint(f"{column} ~ '^[A-Z]{{3}}$'", name=f"{column}_code")
