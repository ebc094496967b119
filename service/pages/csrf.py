"""Forms that change something are accepted from pages of this service only.

Each has a token, which is the signature of the session's cookie. A browser without a session gets
a cookie with a random secret in its place.
"""

import hmac
import re
import secrets
from urllib.parse import urlsplit

from litestar.datastructures import Cookie
from msgspec import Struct

from ..context import Context
from ..cookies import FORM_COOKIE, create_cookie, find_cookies
from ..errors import FormRejected
from ..problems import AnyRequest
from ..sessions import create_form_token, get_session
from ..settings import Settings

FIELD = "csrf_token"
"""The name of the hidden field."""

_SECRET = re.compile("[A-Za-z0-9_-]{43}")
_FOREIGN = "the form comes from another site: send it from a page of this service"


class FormToken(Struct, frozen=True):
    """The token of the forms in a page, for their hidden field `FIELD`."""

    value: str
    cookie: Cookie | None = None
    """The cookie that belongs to it, if the browser does not have it yet."""


async def create_token(request: AnyRequest, context: Context) -> FormToken:
    """Return the token of the forms in a page. Raises ServiceError without the signing key."""
    if session := get_session(request.scope):
        return FormToken(session.form_token)
    secret, cookie = _find_secret(request, context.settings), None
    if secret is None:
        secret = secrets.token_urlsafe(32)
        cookie = create_cookie(request.scope, context.settings, FORM_COOKIE, secret)
    return FormToken(await create_form_token(context.signing_key, secret), cookie)


async def check_token(request: AnyRequest, context: Context, form: dict[str, str]) -> None:
    """Raise FormRejected unless a page of this service has sent this form.

    Raises ServiceError if the signing key cannot be read.
    """
    _check_origin(request, context.settings)
    if session := get_session(request.scope):
        token = session.form_token
    elif secret := _find_secret(request, context.settings):
        token = await create_form_token(context.signing_key, secret)
    else:
        raise FormRejected(
            "the form has expired, or cookies are disabled: send it again from its page"
        )
    if not hmac.compare_digest(token.encode(), form.get(FIELD, "").encode()):
        raise FormRejected("the form has expired: send it again from its page")


def _find_secret(request: AnyRequest, settings: Settings) -> str | None:
    values = find_cookies(request.scope, settings, FORM_COOKIE)
    return next(filter(_SECRET.fullmatch, values), None)


def _check_origin(request: AnyRequest, settings: Settings) -> None:
    """Raise FormRejected if the browser states that the form comes from another origin."""
    if site := request.headers.get("sec-fetch-site"):
        if site not in {"same-origin", "none"}:
            raise FormRejected(_FOREIGN)
    elif not _is_own_origin(request, settings):  # an older browser, or no TLS
        raise FormRejected(
            f"{_FOREIGN}. Behind a proxy that changes the Host header, the operator sets"
            " ARXIV_PUBLIC_URL"
        )


def _is_own_origin(request: AnyRequest, settings: Settings) -> bool:
    # with Referrer-Policy: no-referrer, browsers send `null` for all forms
    origin = request.headers.get("origin", "null")
    own = {request.headers.get("host", ""), urlsplit(settings.public_url or "").netloc}
    return origin == "null" or origin.partition("://")[2] in own - {""}
