"""The documents as they are served: made by another process, for it takes seconds that no webhook should wait for.

A thread would not do: it would have to share the interpreter with the event loop.
"""

import asyncio
import sys
from asyncio.subprocess import DEVNULL, PIPE
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import structlog
from litestar import MediaType, Request, Response, Router, get
from litestar.static_files import create_static_files_router

from comms.errors import Unavailable

log = structlog.get_logger(__name__)

PATH = "/schema/openapi.json"
LIVE_PATH = "/schema/asyncapi.json"
ASSETS = "/assets/docs"
SECONDS = 120
MAKE = "import sys, handlers.app; sys.stdout.buffer.write(handlers.app.encoded_description())"
MAKE_LIVE = "import sys, handlers.app, handlers.asyncapi; sys.stdout.buffer.write(handlers.asyncapi.encoded())"
_PAGE = f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1"><title>comms</title>
<link rel="icon" href="data:,"><link rel="stylesheet" href="{ASSETS}/swagger-ui.css">
</head>
<body>
<div id="document"></div>
<script src="{ASSETS}/swagger-ui-bundle.js"></script>
<script>SwaggerUIBundle({{url: "{PATH}", dom_id: "#document", deepLinking: true}})</script>
</body>
</html>
"""


class Served:
    """A document of this process: whoever asks first has it made, and whoever asks meanwhile waits for the same."""

    def __init__(self, program: str) -> None:
        self._program = program
        self._making: asyncio.Task[bytes] | None = None

    async def document(self) -> bytes:
        """The document as JSON; raises ``Unavailable`` when it could not be made."""
        if self._making is None or (self._making.done() and (self._making.cancelled() or self._making.exception())):
            self._making = asyncio.create_task(_made(self._program))
        return await asyncio.shield(self._making)  # who asked may go away: others still want it

    async def stop(self) -> None:
        """Nothing is being made any more."""
        if self._making is not None:
            self._making.cancel()
            await asyncio.gather(self._making, return_exceptions=True)


async def _made(program: str) -> bytes:
    # Nobody looks for garbage in a process that ends at once: that would be a fifth of its work.
    command = (sys.executable, "-c", f"import gc; gc.disable(); {program}")
    process = await asyncio.create_subprocess_exec(*command, stdin=DEVNULL, stdout=PIPE, stderr=PIPE)
    try:
        made, said = await asyncio.wait_for(process.communicate(), SECONDS)
    except BaseException:
        process.kill()
        await process.wait()
        raise
    if process.returncode != 0:
        log.error("openapi.not_made", said=said.decode(errors="replace")[-2_000:])
        raise Unavailable("The description cannot be made right now: try again.")
    return made


@get("/schema", include_in_schema=False, media_type=MediaType.HTML, sync_to_thread=False)
def page() -> str:
    """The description for people; it needs nothing from another server."""
    return _PAGE


@get(PATH, include_in_schema=False)
async def document(request: Request[Any, Any, Any]) -> Response[bytes]:
    """The API's description for programs."""
    served: Served = request.app.state.description
    return Response(await served.document(), media_type=MediaType.JSON)


@get(LIVE_PATH, include_in_schema=False)
async def live_document(request: Request[Any, Any, Any]) -> Response[bytes]:
    """The live socket's description for programs."""
    served: Served = request.app.state.live_description
    return Response(await served.document(), media_type=MediaType.JSON)


def routes() -> list[Any]:
    """The documents, the page of the API's, and what the page is made of."""
    assets = create_static_files_router(ASSETS, directories=[_assets()], include_in_schema=False)
    return [Router("/", route_handlers=[page, document, live_document]), assets]


def _assets() -> Path:
    """Swagger UI's files, which ``fastapi-offline`` carries."""
    found = find_spec("fastapi_offline")
    assert found is not None
    assert found.origin is not None
    return Path(found.origin).parent / "static"
