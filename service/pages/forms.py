"""The bodies of forms that are sent by POST."""

from urllib.parse import parse_qsl

from litestar.enums import RequestEncodingType

from ..errors import InvalidParameter, UnsupportedMediaType
from ..problems import AnyRequest

FORM_TYPE = RequestEncodingType.URL_ENCODED.value
MAX_FIELDS = 100


async def read_form(request: AnyRequest) -> dict[str, str]:
    """Return the fields of a form by name.

    Raises UnsupportedMediaType, and InvalidParameter for fields that no form of a page has.
    """
    content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if content_type != FORM_TYPE:
        raise UnsupportedMediaType(f"send the form as Content-Type: {FORM_TYPE}")
    fields = _parse_fields(await request.body())
    form = dict(fields)
    if len(form) < len(fields):
        raise InvalidParameter("form", "contains a field twice")
    return form


def _parse_fields(body: bytes) -> list[tuple[str, str]]:
    try:
        text = body.decode("ascii")
        fields = parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=MAX_FIELDS)
    except ValueError:
        reason = f"is not percent-encoded UTF-8, or has more than {MAX_FIELDS} fields"
        raise InvalidParameter("form", reason) from None
    if "\0" in "".join(value for _, value in fields):
        raise InvalidParameter("form", "contains a NUL character")
    return fields
