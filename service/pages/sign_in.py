"""`/sign-in`, `/sign-out`: sessions, if API keys are used."""

from http import HTTPStatus

from litestar import Response, get, post
from litestar.di import NamedDependency
from litestar.response import Redirect, Template

from .. import sessions
from ..context import Context
from ..errors import NotFound
from ..middleware.api_keys import INVALID_KEY
from ..middleware.credentials import find_cookies
from ..middleware.sign_in import SIGN_IN, is_local_target
from ..problems import AnyRequest
from ..sessions import get_session
from . import csrf
from .page import PAGE, create_page

START = "/"


@get("/sign-in", opt=PAGE, include_in_schema=False)
async def show_sign_in(
    request: AnyRequest, context: NamedDependency[Context]
) -> Template | Redirect:
    """Return the form that accepts an API key, or redirect to its target if it is not needed."""
    _check_keys_are_used(context)
    target = _choose_target(request.query_params.get("next", START))
    if await context.sessions.find(find_cookies(request.scope, sessions.COOKIE)):
        return Redirect(target, status_code=303, headers={"cache-control": "no-store"})
    return await _create_form(request, context, target)


@post("/sign-in", opt=PAGE, include_in_schema=False)
async def sign_in(
    request: AnyRequest, context: NamedDependency[Context]
) -> Template | Response[None]:
    """Begin a session and redirect to the page that was asked for, or show what is wrong."""
    _check_keys_are_used(context)
    form = await csrf.read_form(request)
    await csrf.check_token(request, context, form)
    target = _choose_target(form.get("next", START))
    value = await context.sessions.create(form.get("key", "").strip())
    if value is None:
        return await _create_form(request, context, target, error=INVALID_KEY)
    return _redirect(request, context, target, value, sessions.LIFETIME)


@post("/sign-out", opt=PAGE, include_in_schema=False)
async def sign_out(request: AnyRequest, context: NamedDependency[Context]) -> Response[None]:
    """End the session of this browser; signing out twice is harmless.

    A form from another site comes without the cookie of the session, which must stay.
    """
    _check_keys_are_used(context)
    target = f"/{SIGN_IN}" if context.settings.api_keys == "required" else START
    if get_session(request.scope) is None:
        return Redirect(target, status_code=303, headers={"cache-control": "no-store"})
    await csrf.check_token(request, context, await csrf.read_form(request))
    return _redirect(request, context, target, "", 0)


def _check_keys_are_used(context: Context) -> None:
    if context.settings.api_keys == "off":
        raise NotFound("this service does not use API keys: use it without signing in")


def _choose_target(target: str) -> str:
    """Return where to go after signing in: never to another site."""
    return target if is_local_target(target) else START


async def _create_form(
    request: AnyRequest, context: Context, target: str, *, error: str | None = None
) -> Template:
    return create_page(
        request,
        "sign_in.html",
        status_code=HTTPStatus.BAD_REQUEST if error else HTTPStatus.OK,
        token=await csrf.create_token(request, context),
        target=target,
        error=error,
        is_required=context.settings.api_keys == "required",
        days=sessions.LIFETIME // 86_400,
    )


def _redirect(
    request: AnyRequest, context: Context, target: str, value: str, max_age: int
) -> Response[None]:
    cookie = csrf.create_cookie(request, context.settings, sessions.COOKIE, value, max_age)
    headers = {"cache-control": "no-store"}
    return Redirect(target, status_code=303, cookies=[cookie], headers=headers)
