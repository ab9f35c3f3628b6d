"""The API's description as the tests read it: made once, without a server."""

from collections.abc import Iterator
from functools import cache
from typing import Any, NamedTuple

import pytest
from jsonschema import Draft202012Validator, FormatChecker
from litestar import Litestar

from handlers import openapi
from handlers.app import create_api

described = pytest.mark.xdist_group("description")
"""On one of xdist's workers: to make the document takes three seconds."""
METHODS = ("get", "put", "post", "patch", "delete")


class Operation(NamedTuple):
    """One method of one address."""

    path: str
    method: str
    said: dict[str, Any]

    @property
    def name(self) -> str:
        return str(self.said["operationId"])


@cache
def api() -> Litestar:
    """The API as it is served: it is the same in every test, and to make it takes a second."""
    return create_api()


@cache
def document() -> dict[str, Any]:
    """The document, which needs the routes and no running service."""
    return openapi.document_of(create_api(to_be_described=True))


def operations() -> list[Operation]:
    """All there are."""
    return [
        Operation(path, method, said)
        for path, item in document()["paths"].items()
        for method, said in item.items()
        if method in METHODS
    ]


def resolved(found: dict[str, Any]) -> dict[str, Any]:
    """What a reference refers to, or the thing itself."""
    while "$ref" in found:
        place: Any = document()
        for step in found["$ref"].removeprefix("#/").split("/"):
            place = place[step]
        found = place
    return found


def mistakes(schema: dict[str, Any], value: Any) -> list[str]:
    """Why a value is not what its schema says."""
    within = schema | {"components": document()["components"]}
    validator = Draft202012Validator(within, format_checker=FormatChecker())
    return [f"{error.json_path}: {error.message}" for error in validator.iter_errors(value)]


def walk(value: Any, place: str = "#") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every object of the document with its place."""
    if isinstance(value, dict):
        yield place, value
        for key, inner in value.items():
            yield from walk(inner, f"{place}/{key}")
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from walk(inner, f"{place}/{number}")
