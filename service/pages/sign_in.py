"""`/sign-in`, `/sign-out`: sessions, if API keys are used."""

from http import HTTPStatus

from litestar import get, post
from litestar.datastructures import Cookie
from litestar.di import NamedDependency
from litestar.response import Redirect, Template
from litestar.status_codes import HTTP_303_SEE_OTHER

from ..context import Context
from ..errors import NotFound
from ..middleware.api_keys import INVALID_KEY
from ..problems import AnyRequest
from ..sessions import LIFETIME, get_session
from ..sign_in_redirect import SIGN_IN, is_local_target
from .csrf import check_token, create_token
from .forms import read_form
from .page import create_page

START = "/"


@get("/sign-in")
async def show_sign_in(
    request: AnyRequest, context: NamedDependency[Context]
) -> Template | Redirect:
    """Return the form that accepts an API key, or redirect to its target if it is not needed."""
    _check_keys_are_used(context)
    target = _choose_target(request.query_params.get("next", START))
    if await context.sessions.find(request.scope):
        return _redirect(target)
    return await _create_form(request, context, target)


@post("/sign-in")
async def sign_in(request: AnyRequest, context: NamedDependency[Context]) -> Template | Redirect:
    """Begin a session and redirect to the page that was asked for, or show what is wrong."""
    _check_keys_are_used(context)
    form = await read_form(request)
    await check_token(request, context, form)
    target = _choose_target(form.get("next", START))
    cookie = await context.sessions.create(request.scope, form.get("key", "").strip())
    if cookie is None:
        return await _create_form(request, context, target, error=INVALID_KEY)
    return _redirect(target, cookie)


@post("/sign-out")
async def sign_out(request: AnyRequest, context: NamedDependency[Context]) -> Redirect:
    """End the session of this browser; signing out twice is harmless.

    A form from another site comes without the cookie of the session, which must stay.
    """
    _check_keys_are_used(context)
    target = f"/{SIGN_IN}" if context.settings.api_keys == "required" else START
    if get_session(request.scope) is None:
        return _redirect(target)
    await check_token(request, context, await read_form(request))
    return _redirect(target, context.sessions.create_expired(request.scope))


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
        context,
        "sign_in.html",
        status_code=HTTPStatus.BAD_REQUEST if error else HTTPStatus.OK,
        form_token=await create_token(request, context),
        target=target,
        error=error,
        is_required=context.settings.api_keys == "required",
        days=LIFETIME // 86_400,
    )


def _redirect(target: str, *cookies: Cookie) -> Redirect:
    headers = {"cache-control": "no-store"}
    return Redirect(target, status_code=HTTP_303_SEE_OTHER, cookies=cookies, headers=headers)
