"""What a process holds in memory while it takes in a mail as large as SendGrid sends: taken apart, and raw."""

import asyncio
import os
import sys
import time
import uuid
from base64 import encodebytes
from pathlib import Path
from typing import Any, Literal

import httpx
import msgspec

from bench import machine
from bench.stage import PUBLIC_URL, Server, Stage, free_port
from comms import connections, settings
from comms.cli.running import with_keys
from comms.database import Database
from comms.providers import read_credentials
from comms.providers.base import Request
from comms.simulators import sendgrid
from comms.vault import Vault
from models.base import now
from models.communications import WorkspaceMailAddress

TOWN = "post"
SIZE = 30 * 1024 * 1024  # of the whole mail, the most that SendGrid takes
ADDRESS = "support@inbound.bench.example"
Mode = Literal["parsed", "raw"]


class Mail(msgspec.Struct, frozen=True):
    """Bytes: of the mail, and what the process held at most beyond what it held before, until its file was stored."""

    mode: Mode
    size: int
    above_idle: int
    answered_seconds: float
    stored_seconds: float


async def measure(stage: Stage) -> list[Mail]:
    """The process is web and worker in one; it has taken in a small mail before."""
    secret = await _prepare(stage)
    port = free_port()
    command = [sys.executable, "-c", "from comms.cli import main; main()", "serve", "--port", str(port)]
    environment = {"COMMS_DATA_DIR": str(stage.folder), "PUBLIC_URL": PUBLIC_URL}
    measured = []
    with stage.process(command, stage.cores.service, "listening", environment) as process:
        server = Server(process.pid, port)
        for mode in ("parsed", "raw"):
            await _post(stage, server, secret, mode, 64 * 1024)
            await asyncio.sleep(1)
            measured.append(await _post(stage, server, secret, mode, SIZE))
    return measured


async def _prepare(stage: Stage) -> dict[str, Any]:
    """The town has a connection to SendGrid and a mail address."""
    (event_public, event_private), (parse_public, parse_private) = sendgrid.new_keys(), sendgrid.new_keys()
    secret = {
        "eventPublicKey": event_public,
        "eventPrivateKey": event_private,
        "parsePublicKey": parse_public,
        "parsePrivateKey": parse_private,
    }
    (workspace_id,) = stage.towns[TOWN].ids
    read = with_keys(settings.read({"COMMS_DATA_DIR": str(stage.folder)}))
    database = Database(stage.urls(), pool_size=1)
    try:
        async with database.everywhere() as db:
            row = await connections.connect(
                db, Vault(read.security), workspace_id=workspace_id, provider="sendgrid", name="bench", secret=secret
            )
            db.add(WorkspaceMailAddress(workspace_id=workspace_id, address=ADDRESS, connection_id=row.id))
            return {"connection": row.id, "secret": secret}
    finally:
        await database.close()


async def _post(stage: Stage, server: Server, prepared: dict[str, Any], mode: Mode, size: int) -> Mail:
    request = _mail(prepared, mode, size)
    before = machine.resident_bytes(server.pid)
    _forget_peak(server.pid)
    began = time.monotonic()
    url = f"http://127.0.0.1:{server.port}{request.url.removeprefix(PUBLIC_URL)}"
    async with httpx.AsyncClient(timeout=120) as client:
        answer = await client.post(url, content=request.body, headers=dict(request.headers))
    answer.raise_for_status()
    answered = time.monotonic() - began
    while await stage.admin.fetchval("SELECT EXISTS (SELECT FROM message_attachments WHERE state = 'pending')"):  # noqa: ASYNC110  # the database does not tell
        await asyncio.sleep(0.02)
    stored = time.monotonic() - began
    failed = await stage.admin.fetchval("SELECT count(*) FROM message_attachments WHERE state <> 'stored'")
    if failed:
        raise RuntimeError(f"{failed} attachments were not stored")
    return Mail(mode, len(request.body), _peak(server.pid) - before, answered, stored)


def _mail(prepared: dict[str, Any], mode: Mode, size: int) -> Request:
    """A signed mail of this size with one file that nothing can be saved on."""
    credentials: Any = read_credentials("sendgrid", msgspec.json.encode(prepared["secret"]))
    url = f"{PUBLIC_URL}/webhooks/sendgrid/{prepared['connection']}/inbound"
    about: dict[str, Any] = {"sender": "Jane Doe <jane@example.com>", "recipients": [ADDRESS]}
    if mode == "parsed":
        file = ("plan.bin", "application/octet-stream", os.urandom(size - 4096))
        return sendgrid.inbound(url, credentials, now(), attachments=[file], **about)
    content = encodebytes(os.urandom((size - 4096) * 57 // 77)).replace(b"\n", b"\r\n")
    return sendgrid.inbound_raw(url, credentials, now(), mail=_raw(content), **about)


def _raw(content: bytes) -> bytes:
    head = (
        f"From: Jane Doe <jane@example.com>\r\nTo: {ADDRESS}\r\nSubject: The plan\r\n"
        f"Message-ID: <{uuid.uuid4().hex}@example.com>\r\nMIME-Version: 1.0\r\n"
        'Content-Type: multipart/mixed; boundary="b1"\r\n\r\n--b1\r\nContent-Type: text/plain\r\n\r\nHere it is.\r\n'
        '--b1\r\nContent-Type: application/octet-stream; name="plan.bin"\r\nContent-Transfer-Encoding: base64\r\n\r\n'
    )
    return head.encode() + content + b"\r\n--b1--\r\n"


def _forget_peak(pid: int) -> None:
    """The kernel counts the most memory held from now on."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")


def _peak(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError("this kernel does not tell a process's peak")
