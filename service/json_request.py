"""Decoding of JSON bodies: the class of all requests."""

import json
import re
from collections import Counter
from math import isfinite
from typing import Any, NoReturn

from litestar import Request

from .errors import InvalidParameter

MAX_DIGITS = 100
"""Digits of an integer. Python's conversion takes quadratic time."""

_UNSTORABLE = re.compile("[\\0\ud800-\udfff]")
_MAY_BE_UNSTORABLE = re.compile(r"\\u(?:0000|[dD][89A-Fa-f])")


class JsonRequest(Request[Any, Any, Any]):
    """A request whose body is decoded by `decode_body`."""

    async def json(self) -> Any:  # noqa: ANN401 - as Litestar declares it
        """Return the decoded body. Raises InvalidParameter."""
        return decode_body(await self.body())


def decode_body(body: bytes) -> Any:  # noqa: ANN401 - any JSON
    """Return the value of a JSON text that PostgreSQL can store, with unique names in objects.

    Raises InvalidParameter, which names the field concerned, or else the body.
    """
    try:
        text = body.decode()
        value = _DECODER.decode(text)
        if _MAY_BE_UNSTORABLE.search(text):
            _check_texts(value, "")
    except UnicodeDecodeError as error:
        raise InvalidParameter("body", f"is not valid UTF-8 at byte {error.start}") from error
    except RecursionError as error:
        reason = "is nested too deeply: simplify the JSON"
        raise InvalidParameter("body", reason) from error
    except ValueError as error:
        raise InvalidParameter("body", f"is not valid JSON ({error})") from error
    return value


def _check_texts(value: Any, path: str) -> None:  # noqa: ANN401 - any JSON
    """Raise InvalidParameter for a text with a NUL character or a lone surrogate."""
    if isinstance(value, str) and _UNSTORABLE.search(value):
        raise InvalidParameter(path or "body", "contains a NUL character or a lone surrogate")
    if isinstance(value, list):
        for number, item in enumerate(value):
            _check_texts(item, f"{path}[{number}]")
    elif isinstance(value, dict):
        for name, item in value.items():
            _check_texts(name, path)
            _check_texts(item, f"{path}.{name[:100]}" if path else name[:100])


def _create_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        [(repeated, _)] = Counter(name for name, _ in pairs).most_common(1)
        raise InvalidParameter(repeated[:100], "is given more than once; give it once")
    return members


def _parse_integer(text: str) -> int:
    if len(text) > MAX_DIGITS:
        raise ValueError(f"the number {text[:20]}... is out of range")
    return int(text)


def _parse_float(text: str) -> float:
    if not isfinite(value := float(text)):
        raise ValueError(f"the number {text[:20]} is out of range")
    return value


def _reject_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a number in JSON")


_DECODER = json.JSONDecoder(
    object_pairs_hook=_create_object,
    parse_int=_parse_integer,
    parse_float=_parse_float,
    parse_constant=_reject_constant,
)
