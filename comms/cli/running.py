"""The processes: ``up``, ``serve`` and ``worker``."""

import argparse
import asyncio
import base64
import contextlib
import gc
import os
import resource
import secrets
import signal
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

import msgspec
import uvicorn
import uvloop

from comms import demo, logs, migrations, sockets
from comms.cli.imports import imported, undisturbed
from comms.database import Database, Urls, as_role, urls_of
from comms.demo import outside, workspace
from comms.embedded import Embedded
from comms.errors import CannotRun
from comms.service import Service
from comms.settings import Secret, SecuritySettings, Settings
from models.tenancy import WEB, WORKER

# The web layer is above this one: it is named here, never imported.
_APPLICATION = "handlers.app:create_app"


def up(settings: Settings, chosen: argparse.Namespace) -> int:
    """Everything in one process, the demo included unless it is declined."""
    with listening(settings) as listener, running_database(settings) as (urls, embedded):
        asyncio.run(migrations.upgrade(urls))
        settings = with_keys(settings)
        introduction = ""
        simulators = None
        if not chosen.no_demo:
            settings = demo.with_simulators(settings)
            made = asyncio.run(_demo(settings, urls))
            simulators = outside.simulators(made, settings)
            introduction = demo.introduction(made, settings)
        service = Service(settings, urls, embedded=embedded)
        service.simulators = simulators
        return _serve(service, listener, introduction or f"comms is listening on {settings.server.public_url}")


def serve(settings: Settings, chosen: argparse.Namespace) -> int:
    """The web process; with ``COMMS_WORKER=embedded`` it works off jobs too."""
    with listening(settings) as listener, running_database(settings) as (urls, embedded):
        if chosen.migrate or embedded is not None:
            asyncio.run(migrations.upgrade(urls))
        settings = with_keys(settings)
        service = Service(settings, urls, embedded=embedded, worker=settings.embedded_worker)
        return _serve(service, listener, f"comms is listening on http://{settings.server.host}:{settings.server.port}")


def work(settings: Settings, chosen: argparse.Namespace) -> int:
    """The worker process."""
    with running_database(settings) as (urls, embedded):
        if embedded is not None:
            asyncio.run(migrations.upgrade(urls))
        settings = with_keys(settings)
        logs.configure(settings.log_level)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(_work(Service(settings, urls, embedded=embedded)))


async def _work(service: Service) -> int:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for signal_number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signal_number, stopping.set)
    await service.start()
    print("comms worker is working; stop it with Ctrl-C", flush=True)
    await stopping.wait()
    await service.stop()
    return 0


MOST_FILES = 65_536


def room_for_sockets() -> None:
    """As many files may be open as the system allows us: each socket is one, and 1024, or 256, are soon all taken."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, MOST_FILES)
    if soft != resource.RLIM_INFINITY and soft < most:
        with contextlib.suppress(ValueError, OSError):  # macOS has a smaller limit besides
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def _serve(service: Service, listener: socket.socket, introduction: str) -> int:
    settings = service.settings
    room_for_sockets()
    logs.configure(settings.log_level)
    with undisturbed():
        application = imported(_APPLICATION)(service)
    config = uvicorn.Config(
        application,
        loop="uvloop",
        http="httptools",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=settings.server.drain_seconds,
        **sockets.uvicorn_options(),
    )
    server = _Server(config)
    server.introduction = introduction
    with contextlib.suppress(KeyboardInterrupt):
        server.run(sockets=[listener])
    return 0 if server.started else 1


LAST_ANSWER_SECONDS = 0.5


class _Server(uvicorn.Server):
    """Says that it is there when it is, and leaves nobody without an answer when it goes."""

    introduction = ""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        if self.started:
            # What is here now stays: left out of collections, it does not stop the loop for a tenth of a second.
            gc.collect()
            gc.freeze()
            print(self.introduction, flush=True)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Whoever is still served hears that it is the last answer; only then do connections close.

        uvicorn alone closes a kept-alive connection as soon as it is idle, though the next webhook may be on the wire.
        """
        for server in self.servers:
            server.close()
        for listener in sockets or []:
            listener.close()
        self.server_state.default_headers.append((b"connection", b"close"))
        await asyncio.sleep(LAST_ANSWER_SECONDS)
        await super().shutdown(sockets=sockets)


@contextlib.contextmanager
def listening(settings: Settings) -> Iterator[socket.socket]:
    """The port is ours before anything else is begun."""
    host, port = settings.server.host, settings.server.port
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(2048)
        listener.setblocking(False)
    except OSError as error:
        listener.close()
        raise CannotRun(
            f"cannot listen on {host} port {port}: {error.strerror}. Stop what uses it, or choose another with --port."
        ) from error
    with listener:
        yield listener


@contextlib.contextmanager
def running_database(settings: Settings) -> Iterator[tuple[Urls, Embedded | None]]:
    """The database runs as long as we do: the configured one, or our own."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # else uvicorn ends us by it, and nothing below is done
    if settings.database.url is not None:
        yield urls_of(settings.database), None
        return
    embedded = Embedded(settings.data_dir, user=settings.postgres_user)
    embedded.start()
    try:
        owner = Secret(embedded.dsn())
        yield Urls(owner=owner, web=as_role(owner, WEB), worker=as_role(owner, WORKER)), embedded
    finally:
        embedded.stop()


def with_keys(settings: Settings) -> Settings:
    """The settings with a key to encrypt under: the configured ones, or one of the data folder's own."""
    if settings.security.keys:
        return settings
    path = settings.data_dir / "secret.key"
    if not path.exists():
        _write_once(path, base64.b64encode(secrets.token_bytes(32)))
    try:
        key = base64.b64decode(path.read_bytes(), validate=True)
    except ValueError:
        key = b""
    if len(key) != 32:
        raise CannotRun(f"{path} does not hold a key of 32 bytes in base64: restore it, or set COMMS_SECRET_KEY")
    return msgspec.structs.replace(settings, security=SecuritySettings(keys=(("local", key),)))


def _write_once(path: Path, content: bytes) -> None:
    """The file is there, whole and on the disk; whoever else made it at the same time was first."""
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=".secret-")
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    with contextlib.suppress(FileExistsError):
        os.link(name, path)
    Path(name).unlink()


async def _demo(settings: Settings, urls: Urls) -> demo.Demo:
    database = Database(urls, pool_size=2)
    try:
        return await workspace.make(settings, database)
    finally:
        await database.close()
