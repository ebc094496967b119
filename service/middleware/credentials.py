"""API keys and tokens in the headers of a request."""

import binascii
import re
from base64 import b64decode

from litestar.types import Scope

from .scope import get_header

_USER_PASS = re.compile(r"[^:\x00-\x1f\x7f]*:([^\x00-\x1f\x7f]*)")  # RFC 7617, 2


def find_key(scope: Scope) -> str | None:
    """Return the API key or token of a request: that of Bearer, or the password of Basic.

    It is in Authorization, or else in Proxy-Authorization: clients that use the service as their
    proxy can send no other. None without either, and for other schemes. Malformed credentials are
    an empty key, which is never valid.
    """
    value = get_header(scope, b"authorization") or get_header(scope, b"proxy-authorization") or b""
    scheme, _, credentials = value.partition(b" ")
    match scheme.lower():
        case b"bearer":
            return credentials.strip().decode("latin-1")
        case b"basic":
            return _decode_password(credentials.strip())
    return None


def _decode_password(credentials: bytes) -> str:
    try:
        match = _USER_PASS.fullmatch(b64decode(credentials, validate=True).decode())
    except (binascii.Error, UnicodeDecodeError):
        return ""
    return match[1] if match else ""
