"""The pages of docs/: every call they show exists, and is sent as the API wants it."""

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import parse_qsl

import pytest

from tests.handlers.descriptions import Operation, described, mistakes, operations

pytestmark = described

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
# What is not described by the API's document: the providers' own calls, the websocket, the document itself.
ELSEWHERE = ("/webhooks/", "/simulators/", "/ws", "/schema")
AN_ID = "0198c0de-5000-7b44-96c0-086bed0401d7"


class Call(NamedTuple):
    """A curl command of a page."""

    page: str
    method: str
    path: str
    query: str
    body: str | None
    headers: list[str]

    def __str__(self) -> str:
        return f"{self.page}: {self.method} {self.path}"


def commands(text: str) -> Iterator[list[str]]:
    """The words of every command in the shell blocks of a page."""
    for block in re.findall(r"^```(?:sh|bash|shell|console)\n(.*?)^```", text, re.M | re.S):
        waiting = ""
        for line in block.replace("\\\n", " ").splitlines():
            waiting += line + "\n"
            try:
                words = shlex.split(waiting, comments=True)
            except ValueError:  # a quotation goes on
                continue
            waiting = ""
            yield words


def call_of(page: str, words: list[str]) -> Call:
    """What a curl command asks."""
    method, body, url, headers = "", None, "", []
    rest = iter(words[1:])
    for word in rest:
        if word in ("-X", "--request"):
            method = next(rest)
        elif word in ("-d", "--data", "--data-raw", "--json", "--data-binary"):
            body = next(rest)
            headers += ["Content-Type: application/json"] if word == "--json" else []
        elif word in ("-H", "--header"):
            headers.append(next(rest))
        elif word in ("-o", "-u", "-F", "--output"):
            next(rest)
        elif word in ("|", ">", "&&"):
            break
        elif not word.startswith("-"):
            url = word
    address, _, query = url.partition("?")
    path = re.sub(r"^(https?://[^/]+|\$\{?[A-Z_]+\}?)", "", address)
    return Call(page, method or ("POST" if body is not None else "GET"), path, query, body, headers)


def calls() -> list[Call]:
    """Every call of every page, those in running text too."""
    found = []
    for page in PAGES:
        text = page.read_text()
        found += [call_of(page.name, words) for words in commands(text) if words and words[0] == "curl"]
        for method, path in re.findall(r"`(GET|POST|PUT|PATCH|DELETE) (/api/v1/[^`\s?]*)", text):
            found.append(Call(page.name, method, path, "", None, []))
    return [call for call in found if not call.path.startswith(ELSEWHERE)]


def operation_of(call: Call) -> Operation | None:
    """The operation that a call is; a word for an id fits wherever the address has one."""
    asked = call.path.strip("/").split("/")
    fitting = []
    for operation in operations():
        template = operation.path.strip("/").split("/")
        is_one = len(template) == len(asked) and operation.method == call.method.lower()
        if is_one and all(part == word or _is_id(part, word) for part, word in zip(template, asked, strict=True)):
            fitting.append(operation)
    return max(fitting, key=lambda operation: -operation.path.count("{"), default=None)


def _is_id(part: str, word: str) -> bool:
    return part.startswith("{") and not re.fullmatch(r"[a-z-]+", word)


def without_names(body: str) -> Any:
    """The body with an id wherever the shell would put one."""
    return json.loads(re.sub(r"\$\{?\w+\}?", AN_ID, body.replace("$FENCE", "1")))


CALLS = calls()


def test_there_are_calls_to_look_at() -> None:
    assert len([call for call in CALLS if call.headers]) > 30


@pytest.mark.parametrize("call", CALLS, ids=str)
def test_a_call_of_a_page_is_one_of_the_api(call: Call) -> None:
    operation = operation_of(call)
    assert operation is not None, f"there is no {call.method} {call.path}"
    parameters = {parameter["name"] for parameter in operation.said.get("parameters", ())}
    assert {name for name, _ in parse_qsl(call.query, keep_blank_values=True)} <= parameters
    if operation.said.get("security") and call.headers:
        assert any("AUTH" in header or "Authorization" in header for header in call.headers), "it needs a token"
    if call.body is None:
        return
    content = operation.said["requestBody"]["content"]
    if "application/json" in content:
        assert any("application/json" in header for header in call.headers), "curl would send a form: say it is JSON"
        assert mistakes(content["application/json"]["schema"], without_names(call.body)) == []
