"""What providers play to callers."""

from litestar import Response, get

from comms.calls import music
from comms.calls.twiml import HOLD_MUSIC
from handlers.guards import anybody


@get(HOLD_MUSIC, include_in_schema=False, guards=[anybody], sync_to_thread=True)
def hold() -> Response[bytes]:
    """The music of a queue that names none."""
    return Response(music.hold(), media_type="audio/wav", headers={"Cache-Control": "public, max-age=86400"})


routes = hold
