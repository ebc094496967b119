"""The OpenAPI description of the API, and its page for browsers, at `/schema`."""

from base64 import b64encode
from dataclasses import dataclass
from hashlib import sha256
from importlib.util import find_spec
from inspect import getdoc
from pathlib import Path
from typing import Any, cast

from litestar import Litestar, Response, Router
from litestar.enums import MediaType, OpenAPIMediaType, RequestEncodingType
from litestar.exceptions import NotFoundException
from litestar.handlers import HTTPRouteHandler
from litestar.openapi import OpenAPIConfig, ResponseSpec, spec
from litestar.openapi.plugins import JsonRenderPlugin, OpenAPIRenderPlugin
from litestar.params import BodyKwarg
from litestar.routes import HTTPRoute
from litestar.serialization import encode_json
from litestar.static_files import create_static_files_router
from msgspec import UNSET, Struct, UnsetType, convert, defstruct, inspect, structs, to_builtins
from msgspec.json import schema_components

from . import __version__
from .formats import FORMATS
from .models.responses import Problem
from .problems import MEDIA_TYPE, AnyRequest

SCHEMA_PATH = "/schema"
JSON_PATH = f"{SCHEMA_PATH}/openapi.json"
ASSETS_PATH = "/schema-assets"

SECURITY: dict[str, list[dict[str, list[str]]] | None] = {
    "off": None,
    "optional": [{"key": []}, {}],
    "required": [{"key": []}],
}
"""Security requirement of the frontend endpoints for each value of ARXIV_API_KEYS."""
OPERATIONS_BY_QUERY_ID = {
    "search": "getQuery",
    "changes": "getQueryChanges",
    "feed": "getQueryFeed",
    "results": "listResults",
}


def _describe_problem(description: str) -> ResponseSpec:
    return ResponseSpec(
        Problem, description=description, media_type=MEDIA_TYPE, generate_examples=False
    )


INVALID_PARAMETER = {400: _describe_problem("A parameter is invalid. Nothing is recorded.")}
DATABASE_PROBLEMS = INVALID_PARAMETER | {
    503: _describe_problem(
        "PostgreSQL or the backend is unavailable, there is a cooldown, or too many searches are"
        " waiting. Retry after the time in Retry-After."
    )
}
API_KEY_PROBLEMS = {
    401: _describe_problem("The API key is missing or invalid."),
    429: _describe_problem("The quota is used up. Retry after the time in Retry-After."),
}
FRONTEND_PROBLEMS = DATABASE_PROBLEMS | API_KEY_PROBLEMS
UPSTREAM_PROBLEMS = DATABASE_PROBLEMS | {
    502: _describe_problem("arXiv's response is unusable. `query_id` identifies the record."),
    504: _describe_problem("arXiv did not respond in time. `query_id` identifies the record."),
}
BACKEND_PROBLEMS = DATABASE_PROBLEMS | {
    401: _describe_problem("The backend token is missing or invalid.")
}
NOT_FOUND = {404: _describe_problem("The search or paper is not recorded.")}
NOT_ACCEPTABLE = {406: _describe_problem("No available format matches the Accept header.")}
NOT_COMPARABLE = {409: _describe_problem("The search has no usable response to compare.")}
BODY_PROBLEMS = {
    413: _describe_problem("The body is too large."),
    415: _describe_problem("The body is not declared as application/json."),
}
WRITE_PROBLEMS = (
    BACKEND_PROBLEMS | BODY_PROBLEMS | {409: _describe_problem("Another record has this query_id.")}
)


def describe_json(
    response_type: Any,  # noqa: ANN401 - a struct, or a list of one
    description: str,
    *,
    status: int = 200,
    example: Any = None,  # noqa: ANN401 - of that type
) -> dict[int, ResponseSpec]:
    """Describe a JSON response; its example is built from those of its fields by default."""
    response = ResponseSpec(
        response_type,
        description=description,
        examples=[spec.Example(value=to_builtins(example or create_example(response_type)))],
        generate_examples=False,
    )
    return {status: response}


def describe_list(row_type: type[Struct], description: str) -> dict[int, ResponseSpec]:
    """Describe the JSON of a list; ListOperation adds the other formats."""
    return describe_json(list_with_optional_fields(row_type), description) | NOT_ACCEPTABLE


def create_example(value_type: Any) -> Any:  # noqa: ANN401 - a struct, or a list of one
    """Build an example of a type from the examples of its fields (msgspec.Meta)."""
    # fails if a field has a wrong example
    return convert(_create_example(inspect.type_info(value_type)), value_type)


def _create_example(type_info: inspect.Type) -> Any:  # noqa: ANN401 - of that type
    if isinstance(type_info, inspect.Metadata):
        examples = (type_info.extra_json_schema or {}).get("examples")
        return examples[0] if examples else _create_example(type_info.type)
    if isinstance(type_info, inspect.UnionType):  # nullable
        return _create_example(type_info.types[0])
    if isinstance(type_info, inspect.ListType):
        return [_create_example(type_info.item_type)]
    assert isinstance(type_info, inspect.StructType), f"{type_info} has no example"  # noqa: S101 - at import
    return {field.encode_name: _create_example(field.type) for field in type_info.fields}


def list_with_optional_fields(row_type: type[Struct]) -> type[list[Any]]:
    """Create the type of a list whose rows have only the columns in the parameter `fields`."""
    columns = [(field.name, field.type | UnsetType, UNSET) for field in structs.fields(row_type)]
    name, namespace = f"{row_type.__name__}Columns", {"__doc__": row_type.__doc__}
    list_type: Any = list[defstruct(name, columns, namespace=namespace)]  # type: ignore[misc]
    return cast("type[list[Any]]", list_type)


def describe_feed(description: str) -> dict[int, ResponseSpec]:
    """Describe an Atom feed."""
    media_type = FORMATS["atom"].media_type
    feed = ResponseSpec(
        str, description=description, media_type=media_type, generate_examples=False
    )
    return {200: feed}


def describe_api_feed(media_type: str) -> dict[int, ResponseSpec]:
    """Describe the responses of arXiv's API: all of them are Atom feeds."""
    descriptions = {
        200: "The feed of arXiv.",
        400: "A parameter or the query is invalid. Only what arXiv itself rejected is recorded.",
        401: API_KEY_PROBLEMS[401].description,
        429: API_KEY_PROBLEMS[429].description,
        500: "arXiv reports an error of its own.",
        502: UPSTREAM_PROBLEMS[502].description,
        503: UPSTREAM_PROBLEMS[503].description,
        504: UPSTREAM_PROBLEMS[504].description,
    }
    return {
        status: ResponseSpec(
            str, description=description, media_type=media_type, generate_examples=False
        )
        for status, description in descriptions.items()
    }


def describe_body(
    body_type: type[Struct], example: Struct | None = None, description: str | None = None
) -> BodyKwarg:
    """Describe a JSON body, by default by the docstring of its type and examples of its fields."""
    return BodyKwarg(
        media_type=RequestEncodingType.JSON,
        description=description or getdoc(body_type),
        examples=[spec.Example(value=to_builtins(example or create_example(body_type)))],
    )


def create_operation_id(handler: HTTPRouteHandler, *_: object) -> str:
    """Return the name of the handler function in camel case."""
    first, *others = handler.handler_name.split("_")
    return first + "".join(map(str.capitalize, others))


@dataclass
class CacheableOperation(spec.Operation):
    """An operation whose responses have an ETag, which middleware adds and compares."""

    def __post_init__(self) -> None:
        if_none_match = spec.Parameter(
            "If-None-Match",
            "header",
            spec.Schema(type=spec.OpenAPIType.STRING),
            description="ETags of responses that the client has stored",
            examples={"one": spec.Example(value='"a39ca174c1ff04d3730e8ad291e63fc9"')},
        )
        self.parameters = [*(self.parameters or []), if_none_match]
        not_modified = spec.OpenAPIResponse("The response has one of the ETags in If-None-Match.")
        self.responses = (self.responses or {}) | {"304": not_modified}

    @property
    def success(self) -> spec.OpenAPIResponse:
        """The response with status 200."""
        return cast("spec.OpenAPIResponse", (self.responses or {})["200"])


@dataclass
class SearchOperation(CacheableOperation):
    """An operation that records a search, with links to those that take its query_id."""

    def __post_init__(self) -> None:
        super().__post_init__()
        parameters = {"query_id": "$response.body#/query_id"}
        self.success.links = {
            name: spec.Link(operation_id=operation_id, parameters=parameters)
            for name, operation_id in OPERATIONS_BY_QUERY_ID.items()
        }


_API_PARAMETERS = {
    "search_query": ("query in arXiv's language", "all:electron AND cat:hep-th"),
    "id_list": ("arXiv identifiers separated by commas", "2101.00001,hep-th/9901001v1"),
    "start": ("number of papers to skip; default: 0", "0"),
    "max_results": ("maximum number of papers, at most 2,000; default: 10", "10"),
    "sortBy": ("relevance, lastUpdatedDate or submittedDate; default: relevance", "relevance"),
    "sortOrder": ("ascending or descending; default: descending", "descending"),
    "raw": ("1 makes arXiv execute the query without correcting it", "1"),
}
_TEXT = spec.Schema(type=spec.OpenAPIType.STRING)


@dataclass
class ApiQueryOperation(CacheableOperation):
    """An operation with the parameters of arXiv's API, which its handler parses itself."""

    def __post_init__(self) -> None:
        super().__post_init__()
        parameters = [
            spec.Parameter(
                name,
                "query",
                _TEXT,
                description=description,
                examples={"one": spec.Example(value=example)},
            )
            for name, (description, example) in _API_PARAMETERS.items()
        ]
        self.parameters = [*parameters, *(self.parameters or [])]


@dataclass
class ApiFormOperation(spec.Operation):
    """An operation with the parameters of arXiv's API in a form."""

    def __post_init__(self) -> None:
        properties: dict[str, spec.Reference | spec.Schema] = {
            name: spec.Schema(type=spec.OpenAPIType.STRING, description=description)
            for name, (description, _) in _API_PARAMETERS.items()
        }
        example = {"search_query": "all:electron", "max_results": "10"}
        form = spec.Schema(type=spec.OpenAPIType.OBJECT, properties=properties, examples=[example])
        self.request_body = spec.RequestBody(
            {RequestEncodingType.URL_ENCODED: spec.OpenAPIMediaType(schema=form)},
            description="The parameters of `GET /api/query`.",
        )


@dataclass
class ListOperation(CacheableOperation):
    """An operation that responds in any of FORMATS."""

    def __post_init__(self) -> None:
        super().__post_init__()
        text = spec.OpenAPIMediaType(schema=spec.Schema(type=spec.OpenAPIType.STRING))
        others = {other.media_type: text for other in FORMATS.values()}
        self.success.content = others | (self.success.content or {})


SCRIPT = f"""
const ui = SwaggerUIBundle({{url: "{JSON_PATH}", dom_id: "#swagger-ui", deepLinking: true}});
ui.layoutActions.show(["operations-tag", "internal"], false);
"""
"""Starts Swagger UI with the group of internal operations collapsed."""
PAGE = f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>arxiv-gateway</title>
<link rel="stylesheet" href="{ASSETS_PATH}/swagger-ui.css">
</head>
<body>
<div id="swagger-ui"></div>
<script src="{ASSETS_PATH}/swagger-ui-bundle.js"></script>
<script>{SCRIPT}</script>
</body>
</html>
""".encode()
PAGE_POLICY = (
    "default-src 'none'; script-src 'self'"
    f" 'sha256-{b64encode(sha256(SCRIPT.encode()).digest()).decode()}';"
    " style-src 'self' 'unsafe-inline'; img-src 'self' data:; connect-src 'self';"
    " base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""Content-Security-Policy of the page: its own script and assets, requests to this service."""


class PageRenderPlugin(OpenAPIRenderPlugin):
    """Swagger UI from local files.

    Litestar's own plugin loads the same files, but it has neither an option to collapse a group
    nor a Content-Security-Policy that permits its inline script alone.
    """

    def render(self, request: AnyRequest, openapi_schema: dict[str, Any]) -> bytes:  # noqa: ARG002 - the page loads it
        """Return the page."""
        return PAGE


def create_config() -> OpenAPIConfig:
    """Configure Litestar's description of the API."""
    return OpenAPIConfig(
        title="arxiv-gateway",
        version=__version__,
        description="A caching, rate-limiting HTTP gateway to the arXiv API that records every"
        " search in PostgreSQL. Thank you to arXiv for use of its open access interoperability.",
        operation_id_creator=create_operation_id,
        render_plugins=[PageRenderPlugin(path="/"), JsonRenderPlugin()],
        use_handler_docstrings=True,
        tags=[
            spec.Tag("frontend", "Search arXiv, and read what was recorded."),
            spec.Tag("backend", "Search without recording, record, and read stored rows."),
            spec.Tag("operations", "Health of the service."),
            spec.Tag("internal", "Calls of a frontend to its backend in a split deployment."),
        ],
        components=spec.Components(
            security_schemes={
                "token": spec.SecurityScheme(
                    type="http", scheme="bearer", description="the token in ARXIV_BACKEND_TOKEN"
                ),
                "key": spec.SecurityScheme(type="http", scheme="bearer", description="an API key"),
            }
        ),
        openapi_router=Router(
            SCHEMA_PATH,
            route_handlers=[],
            include_in_schema=False,
            before_request=_negotiate,
            response_headers={"vary": "Accept", "content-security-policy": PAGE_POLICY},
        ),
    )


def _negotiate(request: AnyRequest) -> Response[bytes] | None:
    """Respond with JSON to clients other than browsers, and to unknown paths with a problem."""
    path = request.url.path.rstrip("/")
    if path not in {SCHEMA_PATH, JSON_PATH}:
        raise NotFoundException
    if path == SCHEMA_PATH and MediaType.HTML in request.headers.get("accept", ""):
        return None
    state = request.app.state
    if "openapi_json" not in state:  # encoding it takes 0.1 s
        state.openapi_json = encode_json(create_schema(request.app))
    return Response(state.openapi_json, media_type=OpenAPIMediaType.OPENAPI_JSON)


def create_schema(app: Litestar) -> dict[str, Any]:
    """Return Litestar's description of the paths, with msgspec's of the structs.

    Litestar's lacks docstrings, the bounds of nullable fields and of list items, and that unknown
    fields are rejected; it rounds the bounds of integers.
    """
    schema = app.openapi_schema.to_schema()
    routes = [route for route in app.routes if isinstance(route, HTTPRoute)]
    handlers = [handler for route in routes for handler, _ in route.route_handler_map.values()]
    bodies = [handler.parsed_data_field for handler in handlers]
    responses = [each for handler in handlers for each in (handler.responses or {}).values()]
    types = [body.annotation for body in bodies if body] + [
        each.data_container for each in responses
    ]
    _, components = schema_components(types, ref_template="#/components/schemas/{name}")
    for component in components.values():  # the tag of a struct has no description
        component.get("properties", {}).get("type", {}).setdefault("description", "kind of object")
    schema["components"]["schemas"] = components
    for operation in (each for path in schema["paths"].values() for each in path.values()):
        if body := operation.get("requestBody"):
            [content] = body["content"].values()
            body.setdefault("description", content["schema"].pop("description", ""))
    return schema


def create_assets_router() -> Router:
    """Serve the files of Swagger UI, from the package swagger-ui-py."""
    package = find_spec("swagger_ui")
    if package is None or package.origin is None:
        raise ModuleNotFoundError("swagger-ui-py is not installed")
    return create_static_files_router(
        ASSETS_PATH,
        directories=[Path(package.origin).parent / "static"],
        include_in_schema=False,
        name="schema-assets",
    )
