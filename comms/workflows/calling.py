"""A call of a workflow to a host that its workspace allows. Nothing of ours is held meanwhile.

The call is kept before it is made. Whoever was killed in between has perhaps been heard, so that it is made again under
the same ``Idempotency-Key``, by which the other side knows it; or the step fails, where it says so.
"""

import asyncio
import uuid
from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Annotated, Any, Literal

import httpx
import msgspec

from comms import outside, reading
from comms.outside import Outside
from comms.vault import Unsealable, Vault
from comms.workflows import hosts
from comms.workflows.acting import Action, Calls, Crowded, Done, Failed, Here, Place
from models.base import now
from models.orchestration import AgentWorkflowExecution

SECONDS = 20
MOST_SECONDS = 60
MOST_BYTES = 64 * 1024
MOST_AT_ONCE, MOST_OF_ONE = 8, 4
"""So many calls a process makes at once, and of one workspace: half of its work is left to all that is quick."""
LONGEST_PAUSE = 3_600.0
"""Whoever asks to be asked later is asked again after so many seconds at the latest."""
_PASSING = frozenset({408, 425, 429})


class Request(msgspec.Struct, rename="camel"):
    """What is asked of whom; ``body`` is sent as JSON."""

    url: Annotated[str, msgspec.Meta(min_length=1, max_length=2_000)]
    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE"] = "POST"
    headers: Annotated[dict[str, str], msgspec.Meta(max_length=20)] = {}
    body: Any = None
    if_unclear: Literal["retry", "fail"] = "retry"


class Turns:
    """Whose calls are under way in this process: so many in all, and so many of one workspace."""

    def __init__(self) -> None:
        self._under_way: Counter[uuid.UUID] = Counter()
        self.is_line = False

    def take(self, workspace_id: uuid.UUID) -> bool:
        """Whether the workspace may make one more call; if not, there is a line from now on."""
        may = self._under_way.total() < MOST_AT_ONCE and self._under_way[workspace_id] < MOST_OF_ONE
        self._under_way[workspace_id] += may
        self.is_line = self.is_line or not may
        return may

    def give_back(self, workspace_id: uuid.UUID) -> None:
        """One call of the workspace is over."""
        self._under_way[workspace_id] -= 1
        self._under_way += Counter()  # which drops those that are at nought

    @property
    def full(self) -> list[uuid.UUID]:
        """The workspaces that may make none now."""
        return [workspace_id for workspace_id, calls in self._under_way.items() if calls >= MOST_OF_ONE]


class Turn:
    """One turn of a workspace, if it is taken; given back once."""

    def __init__(self, turns: Turns, workspace_id: uuid.UUID) -> None:
        self._turns = turns
        self._workspace_id = workspace_id
        self._is_taken = False

    def take(self) -> bool:
        """Whether there is one."""
        self._is_taken = self._is_taken or self._turns.take(self._workspace_id)
        return self._is_taken

    def give_back(self) -> bool:
        """Nothing is taken any more; whether something was."""
        was, self._is_taken = self._is_taken, False
        if was:
            self._turns.give_back(self._workspace_id)
        return was


class Calling:
    """Makes calls; ``allowed`` are hosts, as ``host:port``, that may lie in our own network, and be asked by http."""

    def __init__(self, asker: Outside, allowed: Iterable[str] = (), vault: Vault | None = None) -> None:
        self._outside = asker
        self._allowed = frozenset(allowed)
        self._vault = vault
        self.turns = Turns()

    async def make(self, call: Calls) -> Done:
        """What was answered, within the time that the call may take in all; raises ``Failed``."""
        try:
            url = outside.parsed(call.url)
        except outside.Refused as error:
            raise Failed("address", str(error)) from None
        host = outside.host_of(url)
        is_ours = outside.is_listed(url, self._allowed)
        if url.scheme != "https" and not is_ours:
            raise Failed("address", f"{host} is not asked by https://")
        secrets = self._opened(call)
        patience = httpx.Timeout(call.seconds, connect=min(5.0, call.seconds))
        try:
            async with (
                asyncio.timeout(call.seconds),
                self._outside.ask(
                    call.method,
                    url,
                    headers={**call.headers, **secrets},
                    patience=patience,
                    content=call.body,
                    may_be_private=is_ours,
                    whose=call.workspace_id,
                ) as response,
            ):
                content, is_whole = await _beginning(response)
        except outside.Refused as error:
            raise Failed("address", f"nothing is ever asked there: {error}") from None
        except outside.Crowded as error:
            raise Crowded(str(error)) from None
        except outside.Delayed as error:
            raise Failed("unreachable", str(error), may_pass=True) from None
        except (TimeoutError, httpx.TransportError) as error:
            words = f"nobody knows whether {host} has taken it: {type(error).__name__}"
            if isinstance(error, TimeoutError | httpx.TimeoutException):
                words = f"{host} was not done within {call.seconds:g} s: nobody knows whether it has taken it"
            raise Failed("unclear", words, may_pass=True) from None
        for secret in secrets.values():  # whoever repeats what they were sent
            content = content.replace(secret.encode(), b"***")
        return _read(response, content, is_whole, host)

    def _opened(self, call: Calls) -> dict[str, str]:
        if not call.sealed:
            return {}
        if self._vault is None:
            raise Failed("secret", "this process has no key to the headers of this host")
        try:
            return {one.name: hosts.opened(one, self._vault, call.workspace_id) for one in call.sealed}
        except Unsealable as error:
            raise Failed("secret", f"a secret header of this host cannot be read: {error}") from None


async def call(here: Here) -> Calls:
    """What will be asked; the host must still be allowed."""
    seen: Request = here.seen
    if (reason := await hosts.refusal_of(here.db, here.run.workspace_id, seen.url)) is not None:
        raise Failed("address", f"the url {reason}")
    headers = {name.lower(): value for name, value in seen.headers.items()}
    wrong = _wrong_headers(headers, f"{here.place}.headers")
    if wrong:
        raise Failed("headers", next(iter(wrong.values())))
    body = None if seen.method in ("GET", "DELETE") and seen.body is None else msgspec.json.encode(seen.body)
    return Calls(
        workspace_id=here.run.workspace_id,
        method=seen.method,
        url=seen.url,
        headers={
            **({} if body is None else {"content-type": "application/json"}),
            "accept": "application/json",
            "accept-encoding": "identity",
            **headers,
            "idempotency-key": key_of(here.run, here.step.id),
        },
        body=body,
        seconds=float(min(here.step.timeout_seconds or SECONDS, MOST_SECONDS)),
        sealed=await hosts.secrets_for(here.db, here.run.workspace_id, seen.url),
    )


def key_of(run: AgentWorkflowExecution, step_id: str) -> str:
    """By what the other side knows this call from any other, however often it is made."""
    return f"{run.id}:{step_id}"


async def check(place: Place) -> dict[str, str]:
    """The host is named, and allowed; the headers can be sent."""
    errors: dict[str, str] = {}
    url = place.step.inputs.get("url")
    if isinstance(url, str) and (reason := await hosts.refusal_of(place.db, place.workspace_id, url)) is not None:
        errors[f"{place.place}.url"] = reason
    headers = place.said.get("headers")
    if isinstance(headers, dict):
        errors |= _wrong_headers(headers, f"{place.place}.headers")
    return errors


def _wrong_headers(headers: Mapping[str, Any], place: str) -> dict[str, str]:
    wrong = {
        name: "is a secret, which a workflow would show to all who may see it: give it to the host, with"
        f" PUT /agent-workflow-hosts/{{id}}/secret-headers/{name.lower()}"
        if hosts.is_secret(name)
        else hosts.wrong_header(name, value)
        for name, value in headers.items()
    }
    return {f"{place}.{name}": reason for name, reason in wrong.items() if reason is not None}


async def _beginning(response: httpx.Response) -> tuple[bytes, bool]:
    content = bytearray()
    async for chunk in response.aiter_raw(MOST_BYTES):
        content += chunk
        if len(content) > MOST_BYTES:
            return bytes(content[:MOST_BYTES]), False
    return bytes(content), True


def _read(response: httpx.Response, content: bytes, is_whole: bool, host: str) -> Done:
    status = response.status_code
    if 300 <= status < 400:
        raise Failed("redirected", f"{host} answered {status}: redirects are not followed")
    if status >= 400:
        may_pass = status in _PASSING or status >= 500
        raise Failed(f"http_{status}", f"{host} answered {status}", may_pass=may_pass, after=_after(response))
    body: Any = content.decode(errors="replace").replace("\x00", "")
    if is_whole and "json" in response.headers.get("content-type", "") and content:
        try:
            found = msgspec.json.decode(content)
            reading.refuse_unstorable(found)
            body = found
        except (ValueError, RecursionError):
            pass  # it is kept as the text it is
    return Done({"status": status, "body": body, **({} if is_whole else {"isTruncated": True})})


def _after(response: httpx.Response) -> float:
    """How many seconds they ask us to wait: ``Retry-After``, in seconds or as a date (RFC 9110, 10.2.3)."""
    said = response.headers.get("retry-after", "").strip()
    if said.isdecimal():
        return min(float(said), LONGEST_PAUSE)
    try:
        at = parsedate_to_datetime(said)
    except ValueError:
        return 0.0
    seconds = (at.replace(tzinfo=at.tzinfo or UTC) - now()).total_seconds()
    return max(0.0, min(seconds, LONGEST_PAUSE))


ACTIONS = {"http": Action(Request, call, check, right="agents")}
