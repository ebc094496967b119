"""The parameters of pages: read leniently for the form, and strictly, as by the API, for the rest.

Empty fields of a form are left out, and so are parameters that a page does not have.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import fields
from functools import cache
from types import NoneType, UnionType
from typing import Annotated, Any, TypeVar, Union, get_args, get_type_hints
from urllib.parse import parse_qs

import msgspec
from litestar.params import QueryParameter
from msgspec import Meta, Struct, structs

from ..context import Context
from ..errors import InvalidParameter, ServiceError
from ..middleware.query_params import check_parameter, parse_query_string
from ..problems import AnyRequest

T = TypeVar("T")
Values = dict[str, list[str]]
"""The values of parameters by name."""

MAX_PAGE_SIZE = 100

_CONTROLS = dict.fromkeys({*range(32), 127} - {9, 10, 13}, "�")


def read_values(request: AnyRequest, names: Collection[str]) -> Values:
    """Return what a form shows again, even if it is invalid."""
    query = request.scope["query_string"].decode("ascii", "replace")
    values = parse_qs(query, errors="replace")
    shown = {
        name: [replace_controls(text) for text in texts if text.strip()]
        for name, texts in values.items()
        if name in names
    }
    return {name: texts for name, texts in shown.items() if texts}


def replace_controls(text: str) -> str:
    """Replace the characters that HTML cannot contain."""
    return text.translate(_CONTROLS)


def parse_values(
    request: AnyRequest, context: Context, query_type: Callable[..., T], names: Collection[str]
) -> T:
    """Return the parameters as a class of `handlers.params`. Raises InvalidParameter."""
    values: Values = {}
    for name, value in parse_query_string(request.scope["query_string"]):
        if name in names and value.strip():
            values.setdefault(name, []).append(value)
    definitions = _list_definitions(query_type)
    for name, texts in values.items():
        for text in texts:
            check_parameter(name, text, definitions[name], len(texts))
    single = {
        name: texts if definitions[name].max_items else texts[0] for name, texts in values.items()
    }
    try:
        converted = msgspec.convert(single, _create_struct(query_type), strict=False)
    except msgspec.ValidationError as error:
        reason, _, path = str(error).partition(" - at `$.")
        raise InvalidParameter(path.strip("`").partition("[")[0], reason) from None
    return query_type(context=context, **structs.asdict(converted))


def choose_page_size(chosen: int | None, default: int) -> int:
    """Return the number of papers on a page, whose rendering blocks other requests.

    Raises InvalidParameter.
    """
    if chosen and chosen > MAX_PAGE_SIZE:
        raise InvalidParameter("items_per_page", f"pages have at most {MAX_PAGE_SIZE}")
    return chosen or min(default, MAX_PAGE_SIZE)


def place_errors(error: ServiceError, names: Collection[str]) -> dict[str, str]:
    """Return the message at the first of the fields that it is about, and an empty one at others.

    The result is empty if the form has none of them.
    """
    invalid = [name for name in (error.parameter or "").split(", ") if name in names]
    return dict.fromkeys(invalid, "") | dict.fromkeys(invalid[:1], error.detail)


def _list_definitions(query_type: Any) -> Mapping[str, QueryParameter]:  # noqa: ANN401 - a dataclass
    return {name: definition for name, (_, definition) in _list_fields(query_type).items()}


@cache
def _list_fields(query_type: Any) -> dict[str, tuple[Any, QueryParameter]]:  # noqa: ANN401 - a dataclass
    """Return the types and the descriptions of the parameters by the names of the fields."""
    hints = get_type_hints(query_type, include_extras=True)
    annotated = {name: get_args(hint) for name, hint in hints.items()}
    return {
        name: (arguments[0], arguments[1])
        for name, arguments in annotated.items()
        if len(arguments) > 1 and isinstance(arguments[1], QueryParameter)
    }


@cache
def _create_struct(query_type: Any) -> type[Struct]:  # noqa: ANN401 - a dataclass
    """Return a struct with the fields of the parameters and their bounds, as Litestar does."""
    defaults = {field.name: field.default for field in fields(query_type)}
    return msgspec.defstruct(
        query_type.__name__,
        [
            (name, _add_bounds(value_type, definition), defaults[name])
            for name, (value_type, definition) in _list_fields(query_type).items()
        ],
        kw_only=True,
    )


def _add_bounds(value_type: Any, definition: QueryParameter) -> Any:  # noqa: ANN401 - types
    bounds: dict[str, Any] = {
        "ge": definition.ge,
        "le": definition.le,
        "max_length": definition.max_items or definition.max_length,
    }
    meta = Meta(**bounds)
    if not isinstance(value_type, UnionType):
        return Annotated[value_type, meta]
    members = (each for each in get_args(value_type) if each is not NoneType)
    return Union[None, *(Annotated[each, meta] for each in members)]
