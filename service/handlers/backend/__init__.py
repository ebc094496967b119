"""The paths of the split deployment; each does one thing, for the frontend and operators."""

import hmac
from typing import Any

from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler

from ...errors import Unauthorized
from ...settings import Settings

AnyConnection = ASGIConnection[Any, Any, Any, Any]


async def check_token(connection: AnyConnection, _: BaseRouteHandler) -> None:
    """Refuse a call without the token, where ARXIV_BACKEND_TOKEN sets one. A guard."""
    settings: Settings = connection.app.state.settings
    if not settings.tokens:
        return
    scheme, __, given = connection.headers.get("authorization", "").partition(" ")
    sent = given.encode("utf-8", "replace")
    same = [hmac.compare_digest(sent, token.encode()) for token in settings.tokens]
    if scheme.lower() != "bearer" or not any(same):
        raise Unauthorized("send the header Authorization: Bearer and ARXIV_BACKEND_TOKEN")
