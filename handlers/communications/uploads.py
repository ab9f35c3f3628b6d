"""Files that are brought here, to be sent along with messages."""

from typing import Annotated

from litestar import Router, delete, get, post
from litestar.params import QueryParameter
from litestar.response import Stream
from sqlalchemy import ColumnElement, or_

from comms.credentials import Identity
from comms.media import uploading
from comms.settings import MediaSettings
from handlers import forms
from handlers.communications.messages import downloaded
from handlers.given import Asker, Db, Here, Request, RowId
from handlers.guards import reader, writer
from handlers.resource import READ, crud
from models.communications import Upload, UploadView


def seen_by(identity: Identity) -> ColumnElement[bool]:
    """Private ones are there for who has brought them."""
    return or_(~Upload.is_private, Upload.uploaded_by == identity.user_id)


uploads = crud(
    "/uploads",
    Upload,
    UploadView,
    search=("file_name",),
    filters=("uploaded_by", "content_type"),
    verbs=READ,
    whose=seen_by,
)

IsPrivate = Annotated[
    bool, QueryParameter(name="isPrivate", description="Only you see it, until a message carries it.")
]
FileName = Annotated[
    str | None,
    QueryParameter(name="fileName", description="The name of the file, where the body is the file itself."),
]


@post(
    "/",
    operation_id="upload_file",
    guards=[writer],
    request_max_body_size=MediaSettings().max_bytes,
    consumes="application/octet-stream",
    example="(the bytes of a picture)",
)
async def upload(
    request: Request, service: Here, identity: Asker, file_name: FileName = None, is_private: IsPrivate = False
) -> UploadView:
    """Keep a file, 25 MiB at most: its `id` is then one of the `attachmentIds` of what is sent.

    The body is the file, or a form with it as `file`. It stays until it is deleted; messages that carry it keep it.
    What is meant for a private team channel is brought with `isPrivate`: nobody else sees it.
    """
    kind, parameters = request.content_type
    content, name = await request.body(), forms.name_of(file_name)
    if kind == "multipart/form-data":
        content, name = forms.file_in(content, parameters.get("boundary", "")) or (b"", None)
    return await uploading.upload(
        service.database, service.media, identity.workspace_id, identity.user_id, content, name, is_private=is_private
    )


@get("/{row_id:uuid}/content", operation_id="get_upload_content", guards=[reader])
async def content(service: Here, identity: Asker, row_id: RowId) -> Stream:
    """The file. Always a download, never shown under our address."""
    async with service.database.workspace(identity.workspace_id) as db:
        row = await uploads.find(db, identity, row_id)
    return downloaded(await service.media.read(row.storage_key), row)


@delete("/{row_id:uuid}", operation_id="delete_upload", guards=[writer])
async def remove(db: Db, identity: Asker, row_id: RowId) -> None:
    """The upload is gone; what has been sent with it keeps its file."""
    await uploads.find(db, identity, row_id, to_change=True)
    await uploading.remove(db, identity.workspace_id, row_id)


routes: list[Router] = [uploads.router(upload, content, remove)]
