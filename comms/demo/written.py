"""What demo.json holds: all that a client of the demo needs, and nothing that takes a database to read."""

import os
import sys
import tempfile
import uuid
from pathlib import Path
from typing import Any

import msgspec

from comms.errors import CannotRun
from comms.settings import MediaSettings, ProviderSettings, Settings
from comms.simulators.sent_mail import FOLDER

CUSTOMER = "+14155550199"
CORRESPONDENT = "Jane Doe <jane@customer.example>"
SIMULATORS = "/simulators"
SINKS = ("127.0.0.1:1025", "localhost:1025")
"""Where ``comms sink`` listens unless it is told otherwise: a mail server that the demo may send by."""


class DemoConnection(msgspec.Struct, rename="camel"):
    """A connection of the demo, with its secret: only ever of test accounts that exist nowhere."""

    id: uuid.UUID
    provider: str
    secret: dict[str, Any]
    phone_number: str | msgspec.UnsetType = msgspec.UNSET
    email_address: str | msgspec.UnsetType = msgspec.UNSET
    phone_number_id: uuid.UUID | None = None


class Demo(msgspec.Struct, rename="camel"):
    """What ``<data-dir>/demo.json`` holds."""

    base_url: str
    public_url: str
    workspace_id: uuid.UUID
    user_id: uuid.UUID
    email: str
    access_token: str
    connections: list[DemoConnection]

    def connection(self, provider: str) -> DemoConnection:
        """The demo's connection to that provider."""
        return next(connection for connection in self.connections if connection.provider == provider)


def path_in(data_dir: Path) -> Path:
    """Where the demo of a data folder is written."""
    return data_dir / "demo.json"


def read(data_dir: Path) -> Demo | None:
    """The demo of that folder, if there is a readable one."""
    try:
        return msgspec.json.decode(path_in(data_dir).read_bytes(), type=Demo)
    except (OSError, msgspec.MsgspecError):
        return None


def make_room(data_dir: Path) -> None:
    """There is a folder that demo.json can be written to."""
    try:
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=data_dir).close()
    except OSError as error:
        raise CannotRun(
            f"comms may not write {data_dir} ({error.strerror}), where demo.json goes: choose another with --data-dir,"
            " or leave the demo out with --no-demo."
        ) from error


def write(made: Demo, data_dir: Path) -> None:
    """demo.json says how to use it: whole or not at all, and readable by nobody else, for it holds a token."""
    descriptor, name = tempfile.mkstemp(dir=data_dir, prefix=".demo-")
    with os.fdopen(descriptor, "wb") as file:
        file.write(msgspec.json.format(msgspec.json.encode(made), indent=2) + b"\n")
    Path(name).replace(path_in(data_dir))


def base_url(settings: Settings) -> str:
    """How this machine reaches us."""
    host = settings.server.host
    reachable = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)
    return f"http://{reachable}:{settings.server.port}"


def with_simulators(settings: Settings) -> Settings:
    """The settings with our own simulators in the providers' place."""
    port = settings.server.port
    hosts = (base_url(settings).removeprefix("http://"), f"localhost:{port}")
    media: MediaSettings = msgspec.structs.replace(
        settings.media,
        twilio_url=base_url(settings) + SIMULATORS,
        extra_hosts=(*settings.media.extra_hosts, *hosts),
    )
    place = base_url(settings) + SIMULATORS
    providers: ProviderSettings = msgspec.structs.replace(
        settings.providers,
        twilio_url=place,
        signalwire_url=place,
        sendgrid_url=place,
        smtp_hosts=(*settings.providers.smtp_hosts, *SINKS),
    )
    return msgspec.structs.replace(settings, media=media, providers=providers)


def introduction(made: Demo, settings: Settings) -> str:
    """Three things to try next, and how to answer."""
    program = os.path.relpath(Path(sys.executable).parent / "comms")
    folder = "" if settings.data_dir == Path(".comms").absolute() else f" --data-dir {settings.data_dir}"
    token = f'$(sed -n \'s/.*"accessToken": "\\(.*\\)",/\\1/p\' {os.path.relpath(path_in(settings.data_dir))})'
    return (
        f"\ncomms is running on {made.base_url} with a demo workspace. Try next, in another terminal:\n"
        f'  1. {program} simulate sms{folder} --body "Is the 3pm slot still open?"\n'
        f'  2. curl -H "Authorization: Bearer {token}" {made.base_url}/api/v1/conversations\n'
        f"  3. open {made.base_url}/schema in a browser: the whole API\n"
        f"And answer it; a moment later it is delivered:\n"
        f'  curl -H "Authorization: Bearer {token}" -H "Content-Type: application/json" \\\n'
        f'    -d \'{{"to": "{CUSTOMER}", "content": "Yes, it is!"}}\' {made.base_url}/api/v1/messages\n'
        f"Mail that leaves reaches nobody, and lies in {os.path.relpath(settings.data_dir / FOLDER)}.\n"
    )
