"""The description of the API at `/schema`: JSON for programs, a page for people, no CDN."""

import re
from base64 import b64encode
from dataclasses import dataclass
from hashlib import sha256
from http import HTTPStatus
from importlib.util import find_spec
from pathlib import Path
from typing import Any, cast

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
    Parameter,
    Schema,
    SecurityScheme,
    Tag,
)
from litestar.openapi.spec import Link as OpenAPILink
from litestar.openapi.spec import OpenAPIMediaType as MediaType
from litestar.params import BodyKwarg
from litestar.serialization import encode_json
from litestar.static_files import create_static_files_router
from msgspec import UNSET, Struct, UnsetType, defstruct, structs, to_builtins
from msgspec.json import schema_components

from . import __version__, problems
from .formats import FORMATS
from .models.responses import Problem

SCHEMA = "/schema"
ASSETS = "/schema-assets"


KEY_IS: dict[str, list[dict[str, list[str]]] | None] = {
    "off": None,
    "optional": [{"key": []}, {}],
    "required": [{"key": []}],
}
"""What ARXIV_API_KEYS means to who reads the description."""
RECORDED = {
    "search": "QueriesQueryIdShowQuery",
    "changes": "QueriesQueryIdChangesShowChanges",
    "feed": "QueriesQueryIdFeedShowFeed",
    "results": "ResultsListResults",
}
"""The operations that take the number of a recorded search."""


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
KEY_PROBLEMS = {
    401: _problem("ARXIV_API_KEYS asks for a key and the request carries none that counts."),
    429: _problem("The key's rate is used up, or that of callers without one; see Retry-After."),
}
FRONTEND_PROBLEMS = STORE_PROBLEMS | KEY_PROBLEMS
UPSTREAM_PROBLEMS = STORE_PROBLEMS | {
    502: _problem("arXiv's answer is unusable; the attempt is recorded under `query_id`."),
    504: _problem("arXiv did not answer in time; the attempt is recorded under `query_id`."),
}
BACKEND_PROBLEMS = STORE_PROBLEMS | {
    401: _problem("ARXIV_BACKEND_TOKEN is set and the request does not carry it.")
}
NOT_FOUND = {404: _problem("Nothing of this name is recorded.")}
NOT_ACCEPTABLE = {406: _problem("The Accept header takes none of the formats.")}
NOT_COMPARABLE = {409: _problem("The search has no usable answer.")}
BODY_PROBLEMS = {
    413: _problem("The body is too large."),
    415: _problem("The body is not said to be application/json."),
}
WRITE_PROBLEMS = (
    BACKEND_PROBLEMS
    | BODY_PROBLEMS
    | {409: _problem("Something else is recorded under this query_id.")}
)


def answer(
    example: Struct | list[Any], status: int = 200, kind: type[Any] | None = None
) -> dict[int, ResponseSpec]:
    """Describe the answer of a path by an example of it: a struct, or a list of one.

    `kind` is the type, where it is not the example's.
    """
    own: Any = list[type(example[0])] if isinstance(example, list) else type(example)  # type: ignore[misc]
    shown = Example(value=to_builtins(example))
    description = "done" if status == HTTPStatus.CREATED else "found"
    return {
        status: ResponseSpec(
            kind or own, description=description, examples=[shown], generate_examples=False
        )
    }


def listed(example: list[Any]) -> dict[int, ResponseSpec]:
    """Describe the JSON of a list that has the other formats too; see InAllFormats."""
    return answer(example, kind=rows(type(example[0]))) | NOT_ACCEPTABLE


def rows(kind: type[Struct]) -> type[list[Any]]:
    """A list of such structs, each with those columns alone that `fields` picks."""
    columns = [(each.name, each.type | UnsetType, UNSET) for each in structs.fields(kind)]
    found: Any = list[defstruct(f"{kind.__name__}Columns", columns)]  # type: ignore[misc]
    return cast("type[list[Any]]", found)


def feed() -> dict[int, ResponseSpec]:
    """Describe an Atom feed."""
    media_type = FORMATS["atom"].media_type
    spec = ResponseSpec(str, description="found", media_type=media_type, generate_examples=False)
    return {200: spec}


@dataclass
class Kept(Operation):
    """The operation of a path whose answers have an ETag, by which clients may keep them."""

    def __post_init__(self) -> None:
        """Add what service.layers.representations does to what Litestar describes."""
        known = Parameter(
            "If-None-Match",
            "header",
            Schema(type=OpenAPIType.STRING),
            description="ETags of answers that the client has",
            examples={"one": Example(value='"a39ca174c1ff04d3730e8ad291e63fc9"')},
        )
        self.parameters = [*(self.parameters or []), known]
        unchanged = OpenAPIResponse("The answer has one of the ETags of If-None-Match.")
        self.responses = (self.responses or {}) | {"304": unchanged}

    @property
    def found(self) -> OpenAPIResponse:
        """The answer where all is well."""
        found = (self.responses or {})["200"]
        assert isinstance(found, OpenAPIResponse)  # noqa: S101 - no reference
        return found


@dataclass
class Recording(Kept):
    """The operation of a path that records a search, and names it."""

    def __post_init__(self) -> None:
        """Add where to go with the number of the search."""
        super().__post_init__()
        search = {"query_id": "$response.body#/query_id"}
        self.found.links = {
            name: OpenAPILink(operation_id=operation, parameters=search)
            for name, operation in RECORDED.items()
        }


@dataclass
class InAllFormats(Kept):
    """The operation of a path whose answers are to be had in every format."""

    def __post_init__(self) -> None:
        """Add the formats that are not JSON to what Litestar describes."""
        super().__post_init__()
        found = self.found
        text = MediaType(schema=Schema(type=OpenAPIType.STRING))
        for each in FORMATS.values():
            found.content = {each.media_type: text} | (found.content or {})


def body(example: Struct) -> BodyKwarg:
    """Describe a JSON body by an example of it.

    msgspec describes what it takes itself: Litestar leaves out bounds of what may be null or is in
    a list, rounds those of integers, and does not tell that other names are refused.
    """
    [_], schemas = schema_components([type(example)], ref_template="#/components/schemas/{name}")
    own = schemas[type(example).__name__]
    return BodyKwarg(
        media_type=RequestEncodingType.JSON,
        examples=[Example(value=to_builtins(example))],
        schema_extra={name: own[name] for name in ("properties", "additionalProperties")},
    )


PAGE = SwaggerRenderPlugin(
    js_url=f"{ASSETS}/swagger-ui-bundle.js",
    css_url=f"{ASSETS}/swagger-ui.css",
    standalone_preset_js_url=f"{ASSETS}/swagger-ui-standalone-preset.js",
    favicon="",
    path="/",
)
_SCRIPT = re.compile(rb"<script type='text/javascript'>(.*?)</script>", re.DOTALL)


def config() -> OpenAPIConfig:
    """What Litestar describes, and how it shows it."""
    return OpenAPIConfig(
        title="arxiv-gateway",
        version=__version__,
        description="One polite door to the arXiv API, with a memory."
        " Thank you to arXiv for use of its open access interoperability.",
        path=SCHEMA,
        render_plugins=[PAGE, JsonRenderPlugin()],
        use_handler_docstrings=True,
        tags=[
            Tag("frontend", "for API consumers"),
            Tag("backend", "for the frontend and for operators"),
            Tag("operation", "for those who keep it running"),
        ],
        components=Components(
            security_schemes={
                "token": SecurityScheme(
                    type="http", scheme="bearer", description="ARXIV_BACKEND_TOKEN"
                ),
                "key": SecurityScheme(
                    type="http", scheme="bearer", description="an API key, where they are asked for"
                ),
            }
        ),
        openapi_router=Router(
            SCHEMA,
            route_handlers=[],
            include_in_schema=False,
            before_request=_for_both,
            response_headers={"vary": "Accept"},
        ),
    )


def _for_both(request: problems.AnyRequest) -> Response[Any]:
    """The JSON for whoever does not ask for a page; the page is for browsers."""
    if request.url.path.rstrip("/") not in {SCHEMA, f"{SCHEMA}/openapi.json"}:
        raise NotFoundException
    state = request.app.state
    if "description" not in state:  # made once: it takes longer than most answers
        schema = request.app.openapi_schema.to_schema()
        state.description = encode_json(schema), PAGE.render(request, schema)
    json, page = state.description
    if "text/html" in request.headers.get("accept", ""):
        policy = {"content-security-policy": _policy(page)}
        return Response(page, media_type="text/html", headers=policy)
    return Response(json, media_type=OpenAPIMediaType.OPENAPI_JSON)


def _policy(page: bytes) -> str:
    """What the page may do: run its own script and our assets, and ask this service."""
    [script] = _SCRIPT.findall(page)
    own = b64encode(sha256(script).digest()).decode()
    return (
        f"default-src 'none'; script-src 'self' 'sha256-{own}'; style-src 'self' 'unsafe-inline';"
        " img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none';"
        " frame-ancestors 'none'"
    )


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
