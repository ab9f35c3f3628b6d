"""A call of a workflow to a host that its workspace allows. Nothing of ours is held meanwhile.

The call is kept before it is made. Whoever was killed in between has perhaps been heard, so that it is made again under
the same ``Idempotency-Key``, by which the other side knows it; or the step fails, where it says so.
"""

import re
import uuid
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal

import httpx
import msgspec
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from comms import outside, reading
from comms.outside import Outside
from comms.workflows.acting import Action, Calls, Done, Failed, Here, Place
from models.orchestration import AgentWorkflowExecution, AgentWorkflowHost

SECONDS = 20
MOST_SECONDS = 60
MOST_BYTES = 64 * 1024
_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}")
_OURS = frozenset({"host", "content-length", "transfer-encoding", "connection", "idempotency-key", "user-agent"})
_PASSING = frozenset({408, 425, 429})


class Request(msgspec.Struct, rename="camel"):
    """What is asked of whom; ``body`` is sent as JSON."""

    url: Annotated[str, msgspec.Meta(min_length=1, max_length=2_000)]
    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE"] = "POST"
    headers: Annotated[dict[str, str], msgspec.Meta(max_length=20)] = {}
    body: Any = None
    if_unclear: Literal["retry", "fail"] = "retry"


class Calling:
    """Makes calls; ``hosts`` are those, as ``host:port``, that may lie in our own network, and be asked by http."""

    def __init__(self, asker: Outside, hosts: Iterable[str] = ()) -> None:
        self._outside = asker
        self._hosts = frozenset(hosts)

    async def make(self, call: Calls) -> Done:
        """What was answered; raises ``Failed``."""
        try:
            url = outside.parsed(call.url)
        except outside.Refused as error:
            raise Failed("address", str(error)) from None
        host = outside.host_of(url)
        is_ours = outside.is_listed(url, self._hosts)
        if url.scheme != "https" and not is_ours:
            raise Failed("address", f"{host} is not asked by https://")
        patience = httpx.Timeout(call.seconds, connect=min(5.0, call.seconds))
        try:
            async with self._outside.ask(
                call.method,
                url,
                headers=call.headers,
                patience=patience,
                content=call.body,
                may_be_private=is_ours,
                whose=call.workspace_id,
            ) as response:
                content, is_whole = await _beginning(response)
        except outside.Refused as error:
            raise Failed("address", f"nothing is ever asked there: {error}") from None
        except outside.Delayed as error:
            raise Failed("unreachable", str(error), may_pass=True) from None
        except httpx.TransportError as error:
            words = f"nobody knows whether {host} has taken it: {type(error).__name__}"
            raise Failed("unclear", words, may_pass=True) from None
        return _read(response, content, is_whole, host)


async def call(here: Here) -> Calls:
    """What will be asked; the host must still be allowed."""
    seen: Request = here.seen
    if (reason := await refusal_of(here.db, here.run.workspace_id, seen.url)) is not None:
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
    )


def key_of(run: AgentWorkflowExecution, step_id: str) -> str:
    """By what the other side knows this call from any other, however often it is made."""
    return f"{run.id}:{step_id}"


async def check(place: Place) -> dict[str, str]:
    """The host is named, and allowed; the headers can be sent."""
    errors: dict[str, str] = {}
    url = place.step.inputs.get("url")
    if isinstance(url, str) and (reason := await refusal_of(place.db, place.workspace_id, url)) is not None:
        errors[f"{place.place}.url"] = reason
    headers = place.said.get("headers")
    if isinstance(headers, dict):
        errors |= _wrong_headers(headers, f"{place.place}.headers")
    return errors


async def refusal_of(db: AsyncSession, workspace_id: uuid.UUID, address: str) -> str | None:
    """Why this address is not called, in words that follow its name; None when it may be.

    What comes after the host may depend on the run, the host itself may not.
    """
    begins, is_open, _ = address.partition("{{")
    if is_open and not re.match(r"[a-z]+://[^/?#]+[/?#]", begins):
        return "must name its host: only what comes after it may depend on the run"
    try:
        url = outside.parsed(begins)
    except outside.Refused:
        return "is no address"
    if url.scheme not in outside.PORTS or not outside.host_of(url):
        return "must begin with https://"
    if url.userinfo:
        return "must carry no user name: send a header"
    if outside.address_in(outside.host_of(url)) is not None:
        return "must name a host, not an address of the network"
    allowed = (
        await db.scalars(select(AgentWorkflowHost.host).where(AgentWorkflowHost.workspace_id == workspace_id))
    ).all()
    if not any(_covers(host, url) for host in allowed):
        return f"names {url.netloc.decode()}, which is not among the workspace's agent-workflow-hosts"
    return None


def _covers(allowed: str, url: httpx.URL) -> bool:
    name, _, port = allowed.partition(":")
    if (url.port or outside.PORTS[url.scheme]) != int(port or 443):
        return False
    host = outside.host_of(url)
    return host.endswith(name) if name.startswith(".") else host == name


def _wrong_headers(headers: Mapping[str, Any], place: str) -> dict[str, str]:
    errors: dict[str, str] = {}
    for name, value in headers.items():
        if not _TOKEN.fullmatch(name):
            errors[f"{place}.{name}"] = "is no name of a header"
        elif name.lower() in _OURS:
            errors[f"{place}.{name}"] = "is set by comms"
        elif not isinstance(value, str) or not value.isascii() or not value.isprintable() or len(value) > 2_000:
            errors[f"{place}.{name}"] = "must be printable ASCII of 2,000 characters at most"
    return errors


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
        raise Failed(f"http_{status}", f"{host} answered {status}", may_pass=status in _PASSING or status >= 500)
    body: Any = content.decode(errors="replace").replace("\x00", "")
    if is_whole and "json" in response.headers.get("content-type", "") and content:
        try:
            found = msgspec.json.decode(content)
            reading.refuse_unstorable(found)
            body = found
        except (ValueError, RecursionError):
            pass  # it is kept as the text it is
    return Done({"status": status, "body": body, **({} if is_whole else {"isTruncated": True})})


ACTIONS = {"http": Action(Request, call, check)}
