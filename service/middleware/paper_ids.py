"""The identifier of a paper in a path, which may have slashes."""

import re
from typing import cast

from litestar.middleware import ASGIMiddleware
from litestar.types import ASGIApp, HTTPScope, Receive, Scope, Send

_PATH = re.compile(r"(?P<before>/papers/)(?P<arxiv_id>.+?)(?P<after>(?:/similar)?/*)", re.DOTALL)

_SLASHES = re.compile("/+")


class PaperIdMiddleware(ASGIMiddleware):
    """Encode the slashes of an identifier, so that it is one segment of the path.

    Litestar has parameters with slashes only at the end of a path, but a paper has more than one.
    """

    async def handle(self, scope: Scope, receive: Receive, send: Send, next_app: ASGIApp) -> None:
        if match := _PATH.fullmatch(scope["path"]):
            request = cast("HTTPScope", scope).copy()
            arxiv_id = _SLASHES.sub("%2F", match["arxiv_id"].strip("/"))
            request["path"] = f"{match['before']}{arxiv_id}{match['after']}"
            scope = request
        await next_app(scope, receive, send)
