"""The description of the API at `/schema`: JSON for programs, a page for people, no CDN."""

from dataclasses import dataclass
from http import HTTPStatus
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from litestar import Response, Router
from litestar.enums import OpenAPIMediaType, RequestEncodingType
from litestar.exceptions import NotFoundException
from litestar.openapi import OpenAPIConfig, ResponseSpec
from litestar.openapi.plugins import JsonRenderPlugin, SwaggerRenderPlugin
from litestar.openapi.spec import (
    Components,
    Example,
    OpenAPIResponse,
    OpenAPIType,
    Operation,
    Schema,
    SecurityScheme,
    Tag,
)
from litestar.openapi.spec import OpenAPIMediaType as MediaType
from litestar.params import BodyKwarg
from litestar.static_files import create_static_files_router
from msgspec import Struct, to_builtins

from service import __version__, problems
from service.formats import FORMATS
from service.models import Problem

SCHEMA = "/schema"
ASSETS = "/schema-assets"


def _problem(description: str) -> ResponseSpec:
    return ResponseSpec(
        Problem, description=description, media_type=problems.MEDIA_TYPE, generate_examples=False
    )


BAD_INPUT = {
    400: _problem("A parameter is wrong; `detail` begins with its name. Nothing is recorded.")
}
STORE_PROBLEMS = BAD_INPUT | {
    503: _problem("The database is not available, or arXiv asks for patience; see Retry-After.")
}
UPSTREAM_PROBLEMS = STORE_PROBLEMS | {
    502: _problem("arXiv's answer is unusable; the attempt is recorded under `query_id`."),
    504: _problem("arXiv did not answer in time; the attempt is recorded under `query_id`."),
}
BACKEND_PROBLEMS = STORE_PROBLEMS | {
    401: _problem("ARXIV_BACKEND_TOKEN is set and the request does not carry it.")
}
NOT_FOUND = {404: _problem("Nothing of this name is recorded.")}
NOT_COMPARABLE = {409: _problem("The search has no usable answer.")}
WRITE_PROBLEMS = BACKEND_PROBLEMS | {
    409: _problem("Something else is recorded under this query_id."),
    413: _problem("The body is too large."),
}


def answer(example: Struct | list[Any], status: int = 200) -> dict[int, ResponseSpec]:
    """Describe the answer of a path by an example of it: a struct, or a list of one."""
    kind: Any = list[type(example[0])] if isinstance(example, list) else type(example)  # type: ignore[misc]
    shown = Example(value=to_builtins(example))
    description = "done" if status == HTTPStatus.CREATED else "found"
    return {status: ResponseSpec(kind, description=description, examples=[shown])}


def listed(example: Struct | list[Any]) -> dict[int, ResponseSpec]:
    """Describe the JSON of a path that has the other formats too; see InAllFormats."""
    return answer(example) | {406: _problem("The Accept header takes none of the formats.")}


def feed() -> dict[int, ResponseSpec]:
    """Describe an Atom feed."""
    media_type = FORMATS["atom"].media_type
    spec = ResponseSpec(str, description="found", media_type=media_type, generate_examples=False)
    return {200: spec}


@dataclass
class InAllFormats(Operation):
    """The operation of a path whose answers are to be had in every format."""

    def __post_init__(self) -> None:
        """Add the formats that are not JSON to what Litestar describes."""
        found = (self.responses or {})["200"]
        assert isinstance(found, OpenAPIResponse)  # noqa: S101 - no reference
        text = MediaType(schema=Schema(type=OpenAPIType.STRING))
        for each in FORMATS.values():
            found.content = {each.media_type: text} | (found.content or {})


def body(example: Struct) -> BodyKwarg:
    """Describe a JSON body by an example of it."""
    shown = Example(value=to_builtins(example))
    return BodyKwarg(media_type=RequestEncodingType.JSON, examples=[shown])


def config() -> OpenAPIConfig:
    """What Litestar describes, and how it shows it."""
    page = SwaggerRenderPlugin(
        js_url=f"{ASSETS}/swagger-ui-bundle.js",
        css_url=f"{ASSETS}/swagger-ui.css",
        standalone_preset_js_url=f"{ASSETS}/swagger-ui-standalone-preset.js",
        favicon="",
        path="/",
    )
    return OpenAPIConfig(
        title="arxiv-gateway",
        version=__version__,
        description="One polite door to the arXiv API, with a memory."
        " Thank you to arXiv for use of its open access interoperability.",
        path=SCHEMA,
        render_plugins=[page, JsonRenderPlugin()],
        use_handler_docstrings=True,
        tags=[
            Tag("frontend", "for API consumers"),
            Tag("backend", "for the frontend and for operators"),
            Tag("operation", "for those who keep it running"),
        ],
        components=Components(
            security_schemes={"token": SecurityScheme(type="http", scheme="bearer")}
        ),
        openapi_router=Router(
            SCHEMA,
            route_handlers=[],
            include_in_schema=False,
            before_request=_for_programs,
            response_headers={"vary": "Accept"},
        ),
    )


def _for_programs(request: problems.AnyRequest) -> Response[Any] | None:
    """The JSON for whoever does not ask for a page; the page is for browsers."""
    if request.url.path.rstrip("/") not in {SCHEMA, f"{SCHEMA}/openapi.json"}:
        raise NotFoundException
    if "text/html" in request.headers.get("accept", ""):
        return None
    schema = request.app.openapi_schema.to_schema()
    return Response(schema, media_type=OpenAPIMediaType.OPENAPI_JSON)


def assets() -> Router:
    """The scripts and styles of the page, from the package swagger-ui-py."""
    package = find_spec("swagger_ui")
    if package is None or package.origin is None:
        raise ModuleNotFoundError("swagger-ui-py is not installed")
    return create_static_files_router(
        ASSETS,
        directories=[Path(package.origin).parent / "static"],
        include_in_schema=False,
        name="schema-assets",
    )
