"""Where the link of an invitation leads: one page that reads the invitation and accepts it through the API."""

import re
from base64 import b64encode
from hashlib import sha256
from pathlib import Path

from litestar import Response, get

from handlers.guards import anybody

PAGE = Path(__file__).with_suffix(".html").read_text(encoding="utf-8")


def _only(element: str) -> str:
    """The source of a Content-Security-Policy that allows what stands in the page's own element, and nothing else."""
    [content] = re.findall(rf"<{element}>(.*?)</{element}>", PAGE, re.DOTALL)
    return f"'sha256-{b64encode(sha256(content.encode()).digest()).decode()}'"


HEADERS = {
    "Content-Security-Policy": f"default-src 'none'; script-src {_only('script')}; style-src {_only('style')};"
    " connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    # The address is as good as a key: it is neither kept nor handed on.
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


@get("/invitations/{token:str}", include_in_schema=False, guards=[anybody])
async def page() -> Response[str]:
    """The same page for every link: what it is for, the page asks the API."""
    return Response(PAGE, media_type="text/html", headers=HEADERS)
