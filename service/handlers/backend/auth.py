"""Authentication of the backend endpoints by ARXIV_BACKEND_TOKEN."""

import hmac
from typing import Any

from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler

from ...errors import Unauthorized
from ...middleware.credentials import find_key
from ...settings import Settings


async def check_token(connection: ASGIConnection[Any, Any, Any, Any], _: BaseRouteHandler) -> None:
    """Raise Unauthorized if the request lacks a required token. A guard."""
    settings: Settings = connection.app.state.context.settings
    if not settings.tokens:
        return
    token = (find_key(connection.scope) or "").encode("utf-8", "replace")
    # all are compared, so that the time does not depend on the position of the match
    matches = [hmac.compare_digest(token, valid.encode()) for valid in settings.tokens]
    if not any(matches):
        raise Unauthorized(
            "send the token in ARXIV_BACKEND_TOKEN in the header Authorization: Bearer TOKEN, or as"
            " the password of HTTP Basic"
        )
