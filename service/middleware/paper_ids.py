"""The identifier of a paper in a path, which may have slashes."""

import re
from typing import cast

from litestar.middleware import ASGIMiddleware
from litestar.types import ASGIApp, HTTPScope, Receive, Scope, Send

_PAPERS, _SIMILAR = "/papers/", "/similar"
_SLASHES = re.compile("/+")


class PaperIdMiddleware(ASGIMiddleware):
    """Encode the slashes of an identifier, so that it is one segment of the path.

    Litestar has parameters with slashes only at the end of a path, but a paper has more than one.
    """

    async def handle(self, scope: Scope, receive: Receive, send: Send, next_app: ASGIApp) -> None:
        path = scope["path"]
        if path.startswith(_PAPERS):
            request = cast("HTTPScope", scope).copy()
            paper = path.removeprefix(_PAPERS).rstrip("/")
            arxiv_id = paper.removesuffix(_SIMILAR).strip("/")
            rest = _SIMILAR if paper.endswith(_SIMILAR) else ""
            request["path"] = f"{_PAPERS}{_SLASHES.sub('%2F', arxiv_id)}{rest}"
            scope = request
        await next_app(scope, receive, send)
