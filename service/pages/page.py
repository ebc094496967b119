"""What all pages have in common: the template engine, the headers, errors as pages."""

from collections.abc import Callable, Collection
from hashlib import blake2b
from http import HTTPStatus
from pathlib import Path
from sys import getsizeof
from typing import Any

import msgspec
from cachetools import LRUCache, cached
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from litestar import Router
from litestar.enums import MediaType
from litestar.plugins.jinja import JinjaTemplateEngine
from litestar.response import Template
from litestar.static_files import create_static_files_router
from litestar.template import TemplateConfig
from markupsafe import Markup

from ..context import Context
from ..errors import ServiceError
from ..middleware.query_params import IS_LENIENT
from ..middleware.static_cache import StaticCacheMiddleware
from ..problems import AnyRequest, handle_service_error
from ..sessions import Session, get_session
from ..settings import Settings
from .csrf import FormToken
from .page_params import place_errors
from .template_filters import FILTERS

FOLDER = Path(__file__).parent
STATIC_PATH = "/static"


def _compute_digest(path: Path) -> str:
    return blake2b(path.read_bytes(), digest_size=8).hexdigest()


STATIC_URLS = {
    path.name: f"{STATIC_PATH}/{path.name}?{_compute_digest(path)}"
    for path in (FOLDER / "static").iterdir()
}
"""The URLs of the static files by name."""
POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self';"
    " form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
"""Everything comes from the service itself, and nothing is inline."""
HEADERS = {"content-security-policy": POLICY, "vary": "Accept, Cookie"}
MAX_CACHED_BYTES = 8 * 2**20
"""Size of the rendered papers in memory; one takes about three kilobytes."""


def create_environment() -> Environment:
    """Return the environment of the templates: all values are escaped, and none may be missing."""
    environment = Environment(
        loader=FileSystemLoader(FOLDER / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,  # the templates of a running service do not change
    )
    environment.filters |= FILTERS
    environment.globals["static"] = STATIC_URLS
    render_paper = environment.get_template("_paper.html").module.paper  # type: ignore[attr-defined]
    environment.globals["render_paper"] = _cache_rendered(render_paper)
    return environment


def _cache_rendered(render_paper: Callable[..., Markup]) -> Callable[..., Markup]:
    """Keep rendered papers in memory: rendering them takes most of the time of a page."""

    def compute_digest(*arguments: object) -> bytes:
        return blake2b(msgspec.msgpack.encode(arguments), digest_size=16).digest()

    return cached(LRUCache(MAX_CACHED_BYTES, getsizeof=getsizeof), key=compute_digest)(render_paper)


def create_template_config() -> TemplateConfig[JinjaTemplateEngine]:
    """Return the configuration of Litestar's template engine."""
    return TemplateConfig(instance=JinjaTemplateEngine.from_environment(create_environment()))


def create_static_router() -> Router:
    """Return the route of the style sheet, the script and the icon."""
    return create_static_files_router(
        STATIC_PATH,
        [FOLDER / "static"],
        name="static",
        include_in_schema=False,
        opt=IS_LENIENT,
        middleware=[StaticCacheMiddleware(STATIC_URLS.values())],
    )


def create_page(
    request: AnyRequest,
    context: Context,
    template: str,
    *,
    status_code: int = HTTPStatus.OK,
    headers: dict[str, str] | None = None,
    form_token: FormToken | None = None,
    **values: Any,  # noqa: ANN401 - of any template
) -> Template:
    """Return a page; `values` are the variables of its template.

    A page with `form_token` is for one browser only. Its template has the value as `token`.
    """
    scope = request.scope
    common = create_common_values(scope["path"], get_session(scope), context.settings)
    token = {"token": form_token.value} if form_token else {}
    private = {"cache-control": "private, no-cache"} if form_token else {}
    return Template(
        template,
        context={**common, **token, **values},
        status_code=status_code,
        headers={**HEADERS, **private, **(headers or {})},
        cookies=[form_token.cookie] if form_token and form_token.cookie else None,
        media_type=MediaType.HTML,
    )


def get_base_url(request: AnyRequest, context: Context) -> str:
    """Return the URL under which users reach the service, without a slash at its end."""
    return (context.settings.public_url or str(request.base_url)).rstrip("/")


def create_common_values(path: str, session: Session | None, settings: Settings) -> dict[str, Any]:
    """Return the variables that all templates have."""
    return {
        "path": path,
        "session": session,
        "uses_keys": settings.api_keys != "off",
        "problem": None,
        "errors": {},
    }


def create_problem_page(
    request: AnyRequest,
    context: Context,
    error: ServiceError,
    template: str,
    *,
    fields: Collection[str] = (),
    **values: Any,  # noqa: ANN401 - of any template
) -> Template:
    """Return a page that shows an error, with the status and the headers that the API sends.

    `fields` are those with a place for the error; their template has it as `errors`.
    """
    response = handle_service_error(request, error)
    return create_page(
        request,
        context,
        template,
        status_code=response.status_code or HTTPStatus.INTERNAL_SERVER_ERROR,
        headers={name: value for name, value in response.headers.items() if name != "content-type"},
        problem=response.content,
        errors=place_errors(error, fields),
        **values,
    )
