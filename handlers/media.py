"""What a provider fetches of us: the attachments of messages on their way out, at addresses that end."""

from litestar import Router, get
from litestar.params import FromPath
from litestar.response import Stream

from comms.media.publishing import PATH, NotPublished
from handlers.given import Here
from handlers.guards import anybody
from models.communications import MessageAttachment


@get("/{token:str}", operation_id="get_published_attachment", guards=[anybody])
async def published(service: Here, token: FromPath[str]) -> Stream:
    """An attachment of a message that we send, for whoever knows this address, until it ends."""
    workspace_id, attachment_id = service.publishing.read(token)
    async with service.database.workspace(workspace_id) as db:
        row = await db.get(MessageAttachment, (workspace_id, attachment_id))
    if row is None or row.state != "stored":
        raise NotPublished
    chunks, content_type, size = await service.media.open(row)
    return Stream(
        chunks,
        media_type=content_type,
        headers={
            "Content-Disposition": f'attachment; filename="{row.id}"',
            "Content-Length": str(size),
            "X-Content-Type-Options": "nosniff",
            "Cache-Control": "private, no-store",
        },
    )


routes = Router(PATH, tags=["operations"], route_handlers=[published])
